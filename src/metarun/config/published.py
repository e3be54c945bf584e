"""The published figure that a preset names for the ways and shots of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from metarun.config.schema import PLACES

BATCH_NORMS = ("transductive", "inductive", "unstated")  # tables of published figures
KEEP_THE_SETTING = (  # words that leave a run comparable with the published figure
    *("experiment=", "ways=", "shots=", "quick=", "seed=", "eval_seed=", "device=", "threads="),
    *("workers=", "engine=", "tasks_at_once=", "out=", "tags=", "logger", "log_every=", "audit="),
    *("data_home=", "eval_every=", "val_episodes=", "steps_from=", *(f"{key}=" for key in PLACES)),
)


def cell_of(ways: Any, shots: Any) -> str:
    """The name of a cell in a preset's tables, such as `5way_1shot`, or `10shot` without ways."""
    return f"{ways}way_{shots}shot" if ways != 1 else f"{shots}shot"


def table_of(cfg: DictConfig, key: str, resolve: bool = False) -> dict[str, Any]:
    """A table of a preset or an algorithm as plain values; empty where there is none."""
    node = OmegaConf.select(cfg, key)
    return OmegaConf.to_container(node, resolve=resolve) if isinstance(node, DictConfig) else {}


def published_preset(cfg: DictConfig) -> dict[str, Any] | None:
    """The node `preset`; `None` without published figures, or with other data or algorithm."""
    choices, published = cfg.hydra.runtime.choices, table_of(cfg, "published", resolve=True)
    experiments = choices.get("experiment")
    experiments = [experiments] if isinstance(experiments, str) else list(experiments or ())
    name = f"{choices.get('algo')}/{choices.get('data')}"
    if not published or name not in experiments:
        return None
    cell = cell_of(cfg.get("ways"), cfg.get("shots"))
    tables = {key: published[key] for key in BATCH_NORMS if key in published}
    batch_norm = OmegaConf.select(cfg, "algo.batch_norm")
    batch_norm = batch_norm if batch_norm in tables else next(iter(tables))
    figure = tables[batch_norm].get(cell)
    quick = table_of(cfg, "quick_cells").get(cell, {}) if cfg.get("quick") is True else {}
    changes = [f"{key}={value}" for key, value in quick.items()] + list(cfg.hydra.overrides.task)
    return {
        "experiment": name,
        "cell": cell,
        "published": None if figure is None else _stat(figure),
        "reruns": [
            {**_stat(cells[cell]), "source": source}
            for source, cells in published.get("reruns", {}).items()
            if cell in cells
        ],
        "score": published.get("score", "accuracy"),
        "source": published["source"],
        "protocol": {"batch_norm": batch_norm, **published.get("protocol", {})},
        "notes": published.get("notes", []),
        "changes": [word for word in changes if not word.lstrip("+").startswith(KEEP_THE_SETTING)],
    }


def _stat(figure: Sequence[float]) -> dict[str, float]:
    """The mean, and the half-width of the interval where it is published."""
    return dict(zip(("mean", "ci95"), figure, strict=False))
