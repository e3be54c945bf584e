"""The `protocol` and `run` parts of `result.json`: everything that a test figure depends on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from metarun.config.explanation import show
from metarun.config.published import cell_of
from metarun.config.schema import RunConfig
from metarun.data.classes import Split
from metarun.data.duplicates import repeats
from metarun.data.recordings import Recordings
from metarun.data.scaled import Scaled
from metarun.runs import results
from metarun.stats import interval
from metarun.tasks.augmentation import none
from metarun.tasks.headline import Headline
from metarun.tasks.sampler import Sampler
from metarun.tasks.tensors import NORMALISATION
from metarun.training.parts import Parts
from metarun.training.processes import size_of

HIDDEN = ("root", "file", "cache", "train_on")  # keys of the data that are not its settings


def protocol(
    parts: Parts, split: str, episodes: int, trained: Mapping[str, Any], finished: bool = True
) -> dict[str, Any]:
    """The `protocol` part: what a figure on the first `episodes` episodes of `split` depends on.

    Args:
        trained: the `train_data` and `train_split_sha256` of the run, as `trained_on` returns them.
        finished: whether the figure exists; if so, the episodes are drawn again to hash them.
    """
    c, tasks = parts.config, parts.splits[split]
    headline = parts.spec.objective.headline
    return {
        "data": c.choices.data,
        "data_name": c.data_name,
        "data_settings": {k: v for k, v in c.data.items() if k not in HIDDEN},
        "split": split,
        "split_sha256": tasks.sha256,
        "episodes": episodes,
        "episodes_sha256": parts.frozen(split).sha256(episodes) if finished else None,
        "eval_seed": c.eval_seed,
        "ways": c.ways,
        "shots": c.shots,
        "queries": c.queries,
        "batch_norm": parts.learner.batch_norm,
        "augmentation": _augmentation(c),
        "normalisation": getattr(tasks, "normalisation", NORMALISATION),
        "pixels": _pixels(getattr(tasks, "notes", {})),
        "copies": repeats(tasks).counts if isinstance(tasks, Split) else None,
        "headline": headline.as_dict(),
        "selection": "last step" if trained.get("train_on") == "trainval" else headline.selection,
        "interval": "95 %, Student's t over episodes",
        "precision": c.precision,
        "engine": c.engine,
        "algo": c.algo,
        "backbone": c.backbone,
        "published": _published(c, episodes, parts.learner.batch_norm, headline),
        **({"scaled": tasks.scaled} if isinstance(tasks, Scaled) else {}),
        **(_best_possible(parts.frozen(split), episodes) if finished else {}),
        **trained,
    }


def _published(
    config: RunConfig, episodes: int, batch_norm: str, headline: Headline
) -> dict[str, Any] | str | None:
    """The published figure beside this test and how the two differ; `None` without a preset."""
    preset = config.preset
    if preset is None:
        return None
    same_cell = preset.cell == cell_of(config.ways, config.shots)
    same_data = preset.experiment.endswith(f"/{config.choices.data}")
    same_score = preset.score == headline.score
    if preset.published is None or not (same_cell and same_data and same_score):
        return "no published setting"
    reached = {
        "batch_norm": batch_norm,
        "queries": config.queries,
        "rotations": config.data.get("rotations"),
        "eval_rotations": config.data.get("eval_rotations") or config.data.get("rotations"),
        "resize": config.data.get("resize"),
        "test_episodes": episodes,
        "train_on": config.train_on,
    }
    differences = [
        f"{key}={show(reached[key])} (published: {value})"
        for key, value in preset.protocol.items()
        if value not in ("unstated", reached[key])
    ]
    compared = tuple(
        f"{prefix}{key}=" for key in preset.protocol for prefix in ("", "algo.", "data.")
    )
    differences += [word for word in preset.changes if not word.startswith(compared)]
    differences += [f"paper: {note}" for note in preset.notes]
    figure = {key: value / headline.factor for key, value in preset.published.items()}
    return {headline.score: figure, "source": preset.source, "differences": differences}


def _best_possible(sampler: Sampler, episodes: int) -> dict[str, Any]:
    """The entry `best_possible`, for tasks that follow a known law.

    Their source defines `best_possible(choices)`: the best expected scores on a task, by name.
    """
    if not hasattr(sampler.source, "best_possible"):
        return {}
    best = [sampler.source.best_possible(sampler.choose(i)) for i in range(episodes)]
    return {"best_possible": {k: interval(np.array([b[k] for b in best])) for k in best[0]}}


def _pixels(notes: Mapping[str, Any]) -> dict[str, Any] | None:
    """The pixel values of black and white, and the number of pictures for each bit depth."""
    if "bits" not in notes:
        return None
    counts = {depth: count for depth, (count, _) in notes["bits"].items()}
    return {"range": notes["range"], **counts}


def _augmentation(config: RunConfig) -> Any:
    """The augmentation of training pictures and its settings; `none` without one."""
    keys = dict(config.augmentation)
    if keys.pop("_target_") == f"{none.__module__}.{none.__name__}":
        return "none"
    return {config.choices.augmentation: keys}


def _scale(split: Any) -> dict[str, Any]:
    """The mean and deviation of spectrograms, for predictions."""
    return {"spectrograms": split.scale._asdict()} if isinstance(split, Recordings) else {}


def trained_on(parts: Parts) -> dict[str, Any]:
    """The training data of a run with these parts: its name, the hash of its split, and that of the
    weights that its backbone started from."""
    return {
        "train_data": parts.config.data_name,
        "train_split_sha256": parts.splits["train"].sha256,
        "train_on": parts.config.train_on,
        "steps_from": parts.config.steps_from,
        "pretraining": parts.pretraining,
    }


def record(parts: Parts, command: str, seconds: float, **more: Any) -> dict[str, Any]:
    """The `run` part.

    Args:
        seconds: wall time of the run.
        more: further keys of the record.
    """
    c = parts.config
    return {
        "command": command,
        **c.choices.model_dump(include={"algo", "backbone", "optimizer"}),
        "parameters": sum(p.numel() for p in parts.learner.parameters()),
        "seed": c.seed,
        "steps": c.steps,
        "meta_batch": c.meta_batch,
        "train_ways": c.train_ways,
        "train_shots": c.train_shots,
        "train_queries": c.train_queries,
        "wall_seconds": round(seconds, 2),
        **more,
        **_scale(parts.splits["train"]),
        "device": str(parts.device),
        "threads": c.threads,
        "workers": size_of(c),
        "versions": results.versions(),
    }
