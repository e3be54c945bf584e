"""The score that learners are judged by: which it is, which way is better, how it is written."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from metarun.errors import printable

LONGEST = 40  # letters of a score's name; a title has twice as many


@dataclass(frozen=True)
class Headline:
    """The score that learners are judged by on tasks of a kind, and how it is written.

    Two are equal where figures of one can be compared with figures of the other.

    Attributes:
        score: its name in files; empty where nothing says which it is.
        percent: a fraction in files, and a percentage on screens.
        title: for axes and tables; by default the score's name.
    """

    score: str
    higher_is_better: bool
    percent: bool = False
    title: str = field(default="", compare=False)

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> Headline:
        """That of a `result.json`, which may be a stranger's; older ones name none."""
        protocol = result.get("protocol")
        said = protocol.get("headline") if isinstance(protocol, Mapping) else None
        if isinstance(said, Mapping):
            score, higher = said.get("score"), said.get("higher_is_better")
            percent, title = said.get("percent", False), said.get("title", "")
            named = isinstance(score, str) and score.isprintable() and 0 < len(score) <= LONGEST
            if named and isinstance(higher, bool) and isinstance(percent, bool):
                return cls(
                    score,
                    higher,
                    percent,
                    printable(title, 2 * LONGEST) if isinstance(title, str) else "",
                )
        parts = [part for part in (result.get("test"), result.get("val")) if part]
        return cls.among({name for part in parts if isinstance(part, Mapping) for name in part})

    @classmethod
    def among(cls, scores: Container[str]) -> Headline:
        """The known one whose score is there, for files that do not say."""
        return next((known for known in KNOWN if known.score in scores), UNKNOWN)

    def __bool__(self) -> bool:
        return bool(self.score)

    def as_dict(self) -> dict[str, Any]:
        """As the protocol of a result holds it."""
        return asdict(self)

    @property
    def name(self) -> str:
        """The score in words."""
        return self.title or self.score

    @property
    def selection(self) -> str:
        """What the checkpoint that is tested was chosen by."""
        return f"{'best' if self.higher_is_better else 'lowest'} validation {self.score}"

    @property
    def factor(self) -> int:
        """What a figure is multiplied by on screens."""
        return 100 if self.percent else 1

    @property
    def digits(self) -> int:
        """Places after the point, on screens."""
        return 2 if self.percent else 4

    @property
    def unit(self) -> str:
        """What follows the difference of two figures."""
        return " points" if self.percent else ""

    def worth(self, mean: float) -> float:
        """What a search maximises."""
        return mean if self.higher_is_better else -mean

    def better(self, new: float, old: float) -> bool:
        """Is the mean `new` better than `old`? A tie keeps the old one.

        Any number is better than none (`nan`, which no number can be compared with).
        """
        return not math.isnan(new) if math.isnan(old) else self.worth(new) > self.worth(old)

    def text(self, mean: float) -> str:
        """A mean in short: `98.4 %`, `0.1234`."""
        return f"{100 * mean:.1f} %" if self.percent else f"{mean:.4f}"

    def figure(self, stat: Any) -> str:
        """A mean with its interval: `98.41 ± 0.30 %`, `0.1234 ± 0.0012`, or `–` for none.

        Args:
            stat: `mean` and `ci95` as files hold them.
        """
        stat = stat if isinstance(stat, Mapping) else {}
        mean, ci95 = (_number(stat.get(key)) for key in ("mean", "ci95"))
        if mean is None:
            return "–"
        interval = "" if ci95 is None else f" ± {self.factor * ci95:.{self.digits}f}"
        return f"{self.factor * mean:.{self.digits}f}{interval}{' %' * self.percent}"

    def figure_in(self, scores: Any) -> str:
        """The figure in `test` or `val` of a result."""
        return self.figure(scores.get(self.score) if isinstance(scores, Mapping) else None)


def _number(value: Any) -> float | None:
    fits = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        return float(value) if fits else None
    except OverflowError:  # a stranger's, of a thousand digits
        return None


ACCURACY = Headline("accuracy", higher_is_better=True, percent=True)
MSE = Headline("mse", higher_is_better=False, title="mean squared error")
KNOWN = (ACCURACY, MSE)  # what results are of that do not say
UNKNOWN = Headline("", higher_is_better=True)
