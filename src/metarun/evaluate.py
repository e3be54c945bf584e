"""Tests a trained run under another protocol or on the tasks of a published challenge."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from metarun.config.instantiate import blueprint, target_of
from metarun.config.schema import RunConfig
from metarun.data.duplicates import named
from metarun.errors import Mistakes, Refused
from metarun.plots.figure import drawn
from metarun.plots.tested import draw_tested
from metarun.runs import checkpoint, config_file
from metarun.runs.evaluations import new_folder
from metarun.tasks.any_size import ANY
from metarun.tasks.gathered import source_of
from metarun.tasks.sampler import Sampler
from metarun.training.other_data import prepared_as_trained
from metarun.training.parts import Parts
from metarun.training.protocol import protocol, trained_on
from metarun.training.restored import restored
from metarun.training.seen import Training
from metarun.training.tested import refuse_existing, scores_of, write_test
from metarun.training.workers import workers_of

log = logging.getLogger(__name__)

# Keys that change neither the kind of the tasks nor the learner.
SAME_TASK = (*config_file.MAY_DIFFER, "test_episodes", "eval_seed", "data.url", "data.name")


class InOrder(Sampler):
    """A sampler whose task i is the i-th task of its source; nothing is drawn at random."""

    def choose(self, number: int) -> tuple[np.ndarray]:
        return (np.array(number),)


def retest(
    config: RunConfig,
    run: Path,
    split: str,
    name: str | None,
    command: str,
    folders: Sequence[Path] = (),
    typed: Iterable[str] = (),
) -> tuple[Path, dict[str, Any]]:
    """Test the best checkpoint of `run` on fixed episodes of `split`.

    A learner with batch normalisation is tested with both kinds of statistics. Another data set
    than that of the run is prepared to the shape of items that the learner was trained on.

    Args:
        config: the run's saved configuration with the user's overrides.
        name: of the folder under `evaluations/`; by default derived from the protocol.
        command: the command that the user typed, for `result.json`.
        folders: the user's config folders.
        typed: the keys that the user typed.

    Returns:
        The new folder and the content of its `result.json`.

    Raises:
        Refused: the folder exists, or checkpoint, configuration and data do not fit each other.
    """
    refuse_existing(run, name)
    state = checkpoint.best(run / "checkpoints")
    own_data = config.choices.data == state["config"]["choices"]["data"]
    if split == "val" and own_data and state["trained_on"].get("train_on", "train") != "train":
        raise Refused(f"split=val: {run} was trained on its classes (data.train_on=trainval)")
    config = prepared_as_trained(config, state, typed, folders)
    parts = restored(config, run, state, {split: ""}, folders)
    episodes = config.test_episodes
    default = f"{split}_{config.ways}w{config.shots}s{config.queries}q_{episodes}"
    if config.ways is None:  # the tasks determine their sizes
        default = f"{split}_{episodes}"
    if (config.ways, config.shots, config.queries) == (ANY,) * 3:
        default = f"{split}_any_{episodes}"
    same_data = _trained_on_split_of(parts, state)
    seen = {} if same_data else _seen(parts, state, split, folders)
    began, sampler = time.monotonic(), parts.frozen(split)
    with workers_of(parts, folders, {split: ""}, state["task"]) as workers:
        scores = scores_of(parts, sampler, episodes, "test", workers)
    test_protocol = {**protocol(parts, split, episodes, state["trained_on"]), **seen}
    changed = config_file.differences(state["config"], config.model_dump(), SAME_TASK)
    same_task = same_data and not changed
    with new_folder(run / "evaluations", name, default) as folder:
        result = write_test(
            *(folder, parts, state, scores, sampler.classes(episodes), test_protocol),
            *(command, began, same_task),
        )
    drawn("episodes", lambda: draw_tested(folder, parts.learner, sampler))
    return folder, result


def run_challenge(
    challenge: ModuleType,
    config: RunConfig,
    run: Path,
    name: str | None,
    command: str,
    folders: Sequence[Path] = (),
) -> tuple[Path, dict[str, Any]]:
    """Test the best checkpoint of `run` on the tasks of a published challenge.

    Args:
        challenge: a module of `metarun.challenges`.
        config, command, folders: see `retest`.
        name: of the folder under `evaluations/`; by default the name of the challenge.

    Returns:
        The new folder and the content of its `result.json`.

    Raises:
        Refused: the run does not meet the conditions of the challenge, or was trained on another
            split than its configuration says.
    """
    title, episodes = challenge.__name__.rpartition(".")[2], challenge.TASK["episodes"]
    task = {key: challenge.TASK[key] for key in ("ways", "shots", "queries")}
    refuse_existing(run, name)
    state = checkpoint.best(run / "checkpoints")
    mistakes = Mistakes([f"run={run}: {line}" for line in challenge.admit(config)])
    learner = mistakes.catch(blueprint, "algo", config.algo, folders)
    heads = state["task"]["outputs"]
    if getattr(target_of(learner), "per_label_head", False) and heads != task["ways"]:
        mistakes.lines.append(
            f"run={run}: {config.choices.algo} has a head for each label, and this run has "
            f"{heads}; protocol={title} needs a run trained with train_ways={task['ways']} "
            f"ways={task['ways']}"
        )
    mistakes.settle()
    fixed = config.model_copy(update={**task, "test_episodes": episodes})
    parts = restored(fixed, run, state, {}, folders)
    _check_training(parts, run, state)
    tasks = challenge.load(config)
    if (shape := parts.spec.inputs) != tasks.shape:
        raise Refused(f"run={run}: trained on items {shape}; items of {title} are {tasks.shape}")
    source = source_of(tasks, list(task.values()), parts.device, parts.dtype)
    sampler = InOrder(source, key=())
    began = time.monotonic()
    scores = scores_of(parts, sampler, episodes, title)
    for values in scores.values():
        values["error_rate"] = 1 - values["accuracy"]
    test_protocol = {
        **protocol(parts, "test", episodes, state["trained_on"], finished=False),
        **{"protocol": title, "split_sha256": tasks.sha256, "pixels": None, "copies": None},
        "episodes_sha256": sampler.sha256(episodes),
        "eval_seed": 0,  # nothing is drawn at random, so the seed has no effect
    }
    with new_folder(run / "evaluations", name, title) as folder:
        result = write_test(folder, parts, state, scores, None, test_protocol, command, began)
    return folder, result


def _trained_on_split_of(parts: Parts, state: Mapping[str, Any]) -> bool:
    """Whether the checkpoint was trained on the training split of these parts."""
    key = "train_split_sha256"
    return trained_on(parts)[key] == state["trained_on"][key]


def _seen(
    parts: Parts, state: Mapping[str, Any], split: str, folders: Sequence[Path]
) -> dict[str, Any]:
    """What the run has seen in training of another data set, for the protocol; warns of it."""
    seen = Training(state, parts.config, folders).in_(parts.splits[split])
    for kind, names in {"classes": seen.classes, "items": seen.items}.items():
        if names:
            log.warning(
                "%s %s: %d %s were in the training of the run (%s)",
                *(parts.config.data_name, split, len(names), kind, named(names)),
            )
    return {"seen_in_training": seen.record()}


def _check_training(parts: Parts, run: Path, state: dict[str, Any]) -> None:
    """Compare the training split with the one in the checkpoint: `config.yaml` can be edited."""
    if not _trained_on_split_of(parts, state):
        raise Refused(
            f"run={run}: its weights were trained on another split than that of config.yaml "
            f"(sha256 {state['trained_on']['train_split_sha256'][:12]}…, not "
            f"{trained_on(parts)['train_split_sha256'][:12]}…)"
        )
