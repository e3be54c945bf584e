"""The score that tasks of a kind are judged by, and how it is written."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Headline:
    """Placeholder until the branch `headline` is merged."""

    score: str
    higher_is_better: bool
    percent: bool = False
    title: str = ""


ACCURACY = Headline("accuracy", True, percent=True)
MSE = Headline("mse", False, title="mean squared error")
