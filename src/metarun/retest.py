"""A trained run, tested under another protocol."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from metarun import checkpoint, plots, results, saved
from metarun.algorithms import Algorithm, Task
from metarun.backbones.norm import BatchNorm
from metarun.display import Display
from metarun.drawing import drawn
from metarun.episodes import Sampler
from metarun.errors import Refused
from metarun.evaluation import evaluate, interval
from metarun.files import new_folder
from metarun.interruption import Stop
from metarun.parts import Parts, assemble
from metarun.protocol import protocol, record

OTHER = {"transductive": "inductive", "inductive": "transductive"}


def retest(
    config: dict[str, Any],
    run: Path,
    split: str,
    name: str | None,
    command: str,
    folders: Sequence[Path] = (),
) -> tuple[Path, dict[str, Any]]:
    """Test the best checkpoint of `run` on frozen episodes of `split`.

    Where batch normalisation can make a difference, both kinds of statistics are reported.

    Args:
        config: the run's saved configuration with what was typed.
        name: of the folder under `evaluations/`; by default it is made from the protocol.

    Returns:
        The new folder and what its `result.json` holds.
    """
    refuse_taken(run, name)
    state = checkpoint.best(run / "checkpoints")
    parts = restored(config, run, state, {split: ""}, folders)
    episodes = config["test_episodes"]
    default = f"{split}_{config['ways']}w{config['shots']}s{config['queries']}q_{episodes}"
    began = time.monotonic()
    with Stop() as stop, Display() as display:
        proceed = display.during("test", episodes, stop)
        by_statistics = by_batch_norm(parts, parts.frozen(split), episodes, proceed)
    scores = by_statistics[parts.learner.batch_norm]
    folder = new_folder(run / "evaluations", name, default)
    results.write_episodes(folder, scores)
    drawn("episodes", lambda: plots.tested(folder, parts.learner, parts.frozen(split)))
    result = {
        "status": "completed",
        "test": {**{n: interval(v) for n, v in scores.items()}, "episodes": episodes},
        "test_by_batch_norm": {
            name: {score: interval(values) for score, values in found.items()}
            for name, found in by_statistics.items()
        },
        "val": state["best"],
        "protocol": protocol(parts, split, episodes, state["trained_on"]),
        "run": record(parts, command, time.monotonic() - began, checkpoint_step=state["step"]),
    }
    results.write(folder, result)
    return folder, result


def refuse_taken(run: Path, name: str | None) -> None:
    """Refuse a typed name of an evaluation that is there already."""
    if name is not None and (run / "evaluations" / name).exists():
        raise Refused(f"name={name}: {run / 'evaluations' / name} is there already")


def restored(
    config: dict[str, Any],
    run: Path,
    state: Mapping[str, Any],
    used: Mapping[str, str],
    folders: Sequence[Path],
) -> Parts:
    """The parts of a run with the weights of its checkpoint.

    Args:
        state: the checkpoint.
        used: the splits that episodes are drawn from, as `metarun.parts.assemble` has it.
    """
    kept = OmegaConf.to_container(saved.load(run, "run"), resolve=True)
    changed = saved.differences(state["config"], kept)
    if changed:  # the file of another run, say
        raise Refused(*(f"{run / 'config.yaml'}: {line}" for line in changed))
    parts = assemble(config, folders, used=used, task=Task(*state["task"]))
    try:
        parts.learner.load_state_dict(state["learner"])
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise Refused(f"run={run}: its weights do not fit what was asked for: {reason}") from error
    return parts


def by_batch_norm(
    parts: Parts, sampler: Sampler, episodes: int, proceed: Callable[[int], None]
) -> dict[str, dict[str, np.ndarray]]:
    """The learner's scores under its own batch norm, and under the other where that may differ."""
    learner = parts.learner
    own = learner.batch_norm
    found = {own: evaluate(learner, sampler, episodes, proceed)}
    if "batch_norm" in parts.config["algo"] and _normalises(learner):
        learner.batch_norm = other = OTHER[own]
        found[other] = evaluate(learner, sampler, episodes, proceed)
        learner.batch_norm = own
    return found


def _normalises(learner: Algorithm) -> bool:
    return any(isinstance(module, BatchNorm) for module in learner.modules())
