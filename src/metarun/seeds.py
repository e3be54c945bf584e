"""What another training would come out at: runs that differ in nothing but their seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from rich import box
from rich.markup import escape
from rich.table import Table

from metarun.results import figure, setting


def over_seeds(runs: Iterable[tuple[Sequence[str], Mapping[str, Any]]]) -> Table | None:
    """A line for each setting that finished under several seeds; `None` where there is none.

    The interval is Student's t over the seeds' means: how far another training would come out, on
    the same episodes. That of a single run is over its episodes, and says nothing of that.

    Args:
        runs: what was typed for each, and its result.
    """
    settings: dict[tuple[str, ...], dict[int, Mapping[str, Any]]] = {}
    for words, result in runs:
        if result.get("status") == "completed":
            others = tuple(w for w in words if w.lstrip("+").partition("=")[0] != "seed")
            settings.setdefault(others, {})[result["run"]["seed"]] = result
    settings = {others: own for others, own in settings.items() if len(own) > 1}
    if not settings:
        return None
    shared = set.intersection(*map(set, settings))
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("over seeds", "algo", "data", "task", "test ± 95 % over seeds", "validation"):
        grid.add_column(title, overflow="fold")
    grid.add_column("seeds")
    for others, own in settings.items():
        first = next(iter(own.values()))
        protocol = first["protocol"]
        grid.add_row(
            escape(" ".join(w for w in others if w not in shared)),
            str(first["run"]["algo"]),
            str(protocol["data"]),
            setting(protocol["ways"], protocol["shots"]),
            *(figure(_mean([result[part] for result in own.values()])) for part in ("test", "val")),
            " ".join(map(str, sorted(own))),
        )
    return grid


def _mean(scores: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The headline of several runs, with its interval over them."""
    from metarun.evaluation import interval  # imports torch: only where there is a figure

    name = "accuracy" if "accuracy" in scores[0] else "mse"
    return {name: interval(np.array([one[name]["mean"] for one in scores], dtype=float))}
