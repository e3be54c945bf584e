"""What a figure depends on, in words and hashes; and the figure itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metarun.config.schema import RunConfig
from metarun.data.classes import Split
from metarun.data.duplicates import repeats
from metarun.runs import results
from metarun.tasks.augmentation import none
from metarun.tasks.gathered import NORMALISATION
from metarun.training.parts import Parts


def protocol(
    parts: Parts, split: str, episodes: int, trained: Mapping[str, Any], finished: bool = True
) -> dict[str, Any]:
    """Everything that the figure on the first `episodes` episodes of `split` depends on.

    Args:
        trained: `train_data` and `train_split_sha256` of the run.
        finished: there is a figure, so its episodes are identified, which means drawing them anew.
    """
    c, tasks = parts.config, parts.splits[split]
    headline = parts.spec.objective.headline
    return {
        "data": c.choices.data,
        "data_settings": {k: v for k, v in c.data.items() if k not in ("root", "cache")},
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
        "normalisation": NORMALISATION,
        "pixels": _pixels(getattr(tasks, "notes", {})),
        "copies": repeats(tasks).counts if isinstance(tasks, Split) else None,
        "headline": headline.as_dict(),
        "selection": headline.selection,
        "interval": "95 %, Student's t over episodes",
        "precision": c.precision,
        "algo": c.algo,
        "backbone": c.backbone,
        **trained,
    }


def _pixels(notes: Mapping[str, Any]) -> dict[str, Any] | None:
    """What numbers of the picture files are black and white, and how many bits they use."""
    if "bits" not in notes:
        return None
    return {"range": notes["range"], **{used: n for used, (n, _) in notes["bits"].items()}}


def _augmentation(config: RunConfig) -> Any:
    """What training pictures went through; evaluation leaves them as they are."""
    keys = dict(config.augmentation)
    if keys.pop("_target_") == f"{none.__module__}.{none.__name__}":
        return "none"
    return {config.choices.augmentation: keys}


def trained_on(parts: Parts) -> dict[str, str]:
    """What a run that is trained with these parts learns from."""
    return {
        "train_data": parts.config.choices.data,
        "train_split_sha256": parts.splits["train"].sha256,
    }


def record(parts: Parts, command: str, seconds: float, **more: Any) -> dict[str, Any]:
    """The `run` part of `result.json`."""
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
        "device": str(parts.device),
        "threads": c.threads,
        "versions": results.versions(),
    }
