"""A trained run, tested under another protocol, or on the tasks of a published test."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from metarun.algorithms import Learner
from metarun.backbones.norm import BatchNorm
from metarun.config.instantiate import blueprint, target_of
from metarun.config.schema import RunConfig
from metarun.errors import Mistakes, Refused
from metarun.files import new_folder
from metarun.plots.figure import drawn
from metarun.plots.tested import draw_tested
from metarun.runs import checkpoint, config_file, results
from metarun.stats import interval
from metarun.tasks.gathered import source_of
from metarun.tasks.sampler import Sampler
from metarun.training.display import Display
from metarun.training.evaluation import evaluate
from metarun.training.interruption import Stop
from metarun.training.parts import Parts, assemble
from metarun.training.protocol import protocol, record, trained_on

OTHER = {"transductive": "inductive", "inductive": "transductive"}


class InOrder(Sampler):
    """Task i is the one that is listed as i: nothing is drawn."""

    def choose(self, number: int) -> tuple[np.ndarray]:
        return (np.array(number),)


def retest(
    config: RunConfig,
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
    _refuse_taken(run, name)
    state = checkpoint.best(run / "checkpoints")
    parts = restored(config, run, state, {split: ""}, folders)
    episodes = config.test_episodes
    default = f"{split}_{config.ways}w{config.shots}s{config.queries}q_{episodes}"
    if config.ways is None:  # tasks have sizes of their own
        default = f"{split}_{episodes}"
    began, sampler = time.monotonic(), parts.frozen(split)
    found = _scores(parts, sampler, episodes, "test")
    folder = new_folder(run / "evaluations", name, default)
    drawn("episodes", lambda: draw_tested(folder, parts.learner, sampler))
    told = protocol(parts, split, episodes, state["trained_on"])
    return folder, _write(folder, parts, state, found, told, command, began)


def take(
    test: ModuleType,
    config: RunConfig,
    run: Path,
    name: str | None,
    command: str,
    folders: Sequence[Path] = (),
) -> tuple[Path, dict[str, Any]]:
    """Give the best checkpoint of `run` the tasks of a published test.

    Args:
        test: a module of `metarun.challenges`.
        config: the run's saved configuration with what was typed.
        name: of the folder under `evaluations/`; by default that of the test.

    Returns:
        The new folder and what its `result.json` holds.

    Raises:
        Refused: the run cannot take the test, or was not trained on what its configuration says.
    """
    called, episodes = test.__name__.rpartition(".")[2], test.TASK["episodes"]
    task = {key: test.TASK[key] for key in ("ways", "shots", "queries")}
    _refuse_taken(run, name)
    state = checkpoint.best(run / "checkpoints")
    mistakes = Mistakes([f"run={run}: {line}" for line in test.admit(config)])
    learner = mistakes.catch(blueprint, "algo", config.algo, folders)
    heads = state["task"]["outputs"]
    if getattr(target_of(learner), "per_label_head", False) and heads != task["ways"]:
        mistakes.lines.append(
            f"run={run}: {config.choices.algo} has a head for each label, and this one "
            f"{heads}; protocol={called} is for one trained with train_ways={task['ways']} "
            f"ways={task['ways']}"
        )
    mistakes.settle()
    fixed = config.model_copy(update={**task, "test_episodes": episodes})
    parts = restored(fixed, run, state, {}, folders)
    _check_training(parts, run, state)
    tasks = test.load(config)
    if (mine := parts.spec.inputs) != tasks.shape:
        raise Refused(f"run={run}: trained on items {mine}; those of {called} are {tasks.shape}")
    source = source_of(tasks, list(task.values()), parts.device, parts.dtype)
    sampler = InOrder(source, key=())
    began = time.monotonic()
    found = _scores(parts, sampler, episodes, called)
    for scores in found.values():
        scores["error_rate"] = 1 - scores["accuracy"]
    folder = new_folder(run / "evaluations", name, called)
    told = {
        **protocol(parts, "test", episodes, state["trained_on"], finished=False),
        **{"protocol": called, "split_sha256": tasks.sha256, "pixels": None, "copies": None},
        "episodes_sha256": sampler.sha256(episodes),
        "eval_seed": 0,  # nothing is drawn, so it is the same whatever was typed
    }
    return folder, _write(folder, parts, state, found, told, command, began)


def _scores(
    parts: Parts, sampler: Sampler, episodes: int, what: str
) -> dict[str, dict[str, np.ndarray]]:
    """By kind of batch norm, while a person sees how far it is and may stop it."""
    with Stop() as stop, Display() as display:
        return by_batch_norm(parts, sampler, episodes, display.progress(what, episodes, stop))


def _write(
    folder: Path,
    parts: Parts,
    state: Mapping[str, Any],
    found: Mapping[str, Mapping[str, np.ndarray]],
    told: Mapping[str, Any],
    command: str,
    began: float,
) -> dict[str, Any]:
    """Write the scores of each episode and `result.json` into the folder; returns the latter."""
    own, seconds = parts.learner.batch_norm, time.monotonic() - began
    figures = {
        kind: {score: interval(values) for score, values in scores.items()}
        for kind, scores in found.items()
    }
    result = {
        "status": "completed",
        "test": {**figures[own], "episodes": len(found[own]["loss"])},
        "test_by_batch_norm": figures,
        "val": state["best"],
        "protocol": told,
        "run": record(parts, command, seconds, checkpoint_step=state["step"]),
    }
    results.write_episodes(folder, found[own])
    results.write(folder, result)
    return result


def _refuse_taken(run: Path, name: str | None) -> None:
    """Refuse a typed name of an evaluation that is there already."""
    if name is not None and (run / "evaluations" / name).exists():
        raise Refused(f"name={name}: {run / 'evaluations' / name} is there already")


def restored(
    config: RunConfig,
    run: Path,
    state: Mapping[str, Any],
    used: Mapping[str, str],
    folders: Sequence[Path],
) -> Parts:
    """The parts of a run with the weights of its checkpoint.

    Args:
        state: the checkpoint.
        used: the splits that episodes are drawn from, as `metarun.training.parts.assemble` has it.
    """
    kept = OmegaConf.to_container(config_file.load_config(run, "run"), resolve=True)
    changed = config_file.differences(state["config"], kept)
    if changed:  # the file of another run, say
        raise Refused(*(f"{run / 'config.yaml'}: {line}" for line in changed))
    parts = assemble(config, folders, used=used, trained_spec=state["task"])
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
    if "batch_norm" in parts.config.algo and parts.spec.examples and _normalises(learner):
        learner.batch_norm = other = OTHER[own]
        found[other] = evaluate(learner, sampler, episodes, proceed)
        learner.batch_norm = own
    return found


def _normalises(learner: Learner) -> bool:
    return any(isinstance(module, BatchNorm) for module in learner.modules())


def _check_training(parts: Parts, run: Path, state: dict[str, Any]) -> None:
    """The checkpoint remembers what it was trained on; a configuration can be edited."""
    if trained_on(parts) != state["trained_on"]:
        raise Refused(
            f"run={run}: its weights were trained on another split than that of config.yaml "
            f"(sha256 {state['trained_on']['train_split_sha256'][:12]}…, and not "
            f"{trained_on(parts)['train_split_sha256'][:12]}…)"
        )
