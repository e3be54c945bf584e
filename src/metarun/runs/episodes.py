"""The figures of a test, and its files `test_episodes.csv` and `test_classes.csv`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from metarun.files import write_whole
from metarun.runs.results import csv_text
from metarun.stats import interval, over_classes
from metarun.tasks.sampler import Classes


def figures_of(scores: Mapping[str, np.ndarray], classes: Classes | None) -> dict[str, Any]:
    """The part `test` of a result: figures with their intervals over episodes and over classes.

    Args:
        scores: the name of each score and its values, (episodes).
        classes: the classes of the episodes; `None` for data without classes.
    """
    test: dict[str, Any] = {name: interval(values) for name, values in scores.items()}
    test["episodes"] = len(scores["loss"])
    if classes is not None:
        test["classes"] = len(classes.names)
        for name, values in scores.items():
            if not math.isnan(half_width := over_classes(values, classes.of_tasks)):
                test[name]["ci95_classes"] = half_width
    return test


def write_scores(
    folder: Path, scores: Mapping[str, np.ndarray], classes: Classes | None, headline: str
) -> None:
    """Write `test_episodes.csv` and, for data with classes, `test_classes.csv`.

    The first has one row for each episode, for paired comparisons of runs. The second has, for each
    class, its mean score and the numbers of its episodes, on which the interval over classes
    depends.

    Args:
        headline: the name of the score in `test_classes.csv`.
    """
    columns = [values.tolist() for values in scores.values()]
    rows = ([i, *row] for i, row in enumerate(zip(*columns, strict=True)))
    write_whole(folder / "test_episodes.csv", csv_text([["episode", *scores], *rows]))
    if classes is None:
        return
    flat, ways = classes.of_tasks.ravel(), classes.of_tasks.shape[1]
    ends = np.cumsum(np.bincount(flat))[:-1]
    episodes_of = np.split(np.argsort(flat, kind="stable") // ways, ends)
    rows = (
        [name, float(scores[headline][episodes].mean()), " ".join(map(str, episodes.tolist()))]
        for name, episodes in zip(classes.names, episodes_of, strict=True)
    )
    write_whole(folder / "test_classes.csv", csv_text([["class", headline, "episodes"], *rows]))
