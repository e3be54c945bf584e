"""The main score of a kind of task: its name, its direction and its formatting."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from metarun.errors import printable

LONGEST = 40  # maximum length of a score's name; a title may have twice this length


@dataclass(frozen=True)
class Headline:
    """The main score of a kind of task, by which learners are compared.

    Two headlines are equal if their values can be compared; the title does not matter.

    Attributes:
        score: name of the score in files; empty if unknown.
        higher_is_better: direction of the score.
        percent: show the score, which is a fraction in files, as a percentage.
        title: label of axes and table columns; by default the name of the score.
    """

    score: str
    higher_is_better: bool
    percent: bool = False
    title: str = field(default="", compare=False)

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> Headline:
        """Return the headline of a `result.json`, whose content may be malformed.

        Results of older versions do not contain a headline; it is derived from their scores.
        """
        protocol = result.get("protocol")
        entry = protocol.get("headline") if isinstance(protocol, Mapping) else None
        if isinstance(entry, Mapping):
            score, higher = entry.get("score"), entry.get("higher_is_better")
            percent, title = entry.get("percent", False), entry.get("title", "")
            valid = isinstance(score, str) and score.isprintable() and 0 < len(score) <= LONGEST
            if valid and isinstance(higher, bool) and isinstance(percent, bool):
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
        """Return the predefined headline whose score is in `scores`, or `UNKNOWN`."""
        return next((headline for headline in KNOWN if headline.score in scores), UNKNOWN)

    def __bool__(self) -> bool:
        return bool(self.score)

    def as_dict(self) -> dict[str, Any]:
        """Return the entry for the protocol in `result.json`."""
        return asdict(self)

    @property
    def name(self) -> str:
        """Title, or name of the score if there is no title."""
        return self.title or self.score

    @property
    def selection(self) -> str:
        """Criterion by which the tested checkpoint was selected, in words."""
        return f"{'best' if self.higher_is_better else 'lowest'} validation {self.score}"

    @property
    def factor(self) -> int:
        """Factor of displayed values."""
        return 100 if self.percent else 1

    @property
    def digits(self) -> int:
        """Number of decimals of displayed values."""
        return 2 if self.percent else 4

    @property
    def unit(self) -> str:
        """Unit of the difference of two values, with a leading space."""
        return " points" if self.percent else ""

    def worth(self, mean: float) -> float:
        """Return the mean, negated if lower is better."""
        return mean if self.higher_is_better else -mean

    def better(self, new: float, old: float) -> bool:
        """Return whether the mean `new` is better than `old`; `False` for equal means.

        Any number is better than `nan`.
        """
        return not math.isnan(new) if math.isnan(old) else self.worth(new) > self.worth(old)

    def text(self, mean: float) -> str:
        """Format a mean briefly: `98.4 %`, `0.1234`."""
        return f"{100 * mean:.1f} %" if self.percent else f"{mean:.4f}"

    def figure(self, stat: Any) -> str:
        """Format a mean with its interval: `98.41 ± 0.30 %`, `0.1234 ± 0.0012`, or `–` for none.

        Args:
            stat: mapping with `mean` and `ci95`, as in `result.json`.
        """
        return self._formatted(stat, lambda value: f"{value:.{self.digits}f}")

    def published(self, stat: Any) -> str:
        """Format a published figure with the digits of the source: `98.7 ± 0.4 %`, or `–`."""
        return self._formatted(stat, lambda value: f"{round(value, 6):g}")

    def _formatted(self, stat: Any, as_text: Callable[[float], str]) -> str:
        stat = stat if isinstance(stat, Mapping) else {}
        mean, ci95 = (_number(stat.get(key)) for key in ("mean", "ci95"))
        if mean is None:
            return "–"
        interval = "" if ci95 is None else f" ± {as_text(self.factor * ci95)}"
        return f"{as_text(self.factor * mean)}{interval}{' %' * self.percent}"

    def figure_in(self, scores: Any) -> str:
        """Format this score from the section `test` or `val` of a `result.json`."""
        return self.figure(scores.get(self.score) if isinstance(scores, Mapping) else None)


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        return float(value) if is_number and not math.isnan(value) else None
    except OverflowError:  # an integer too large for a float
        return None


ACCURACY = Headline("accuracy", higher_is_better=True, percent=True)
MSE = Headline("mse", higher_is_better=False, title="mean squared error")
KNOWN = (ACCURACY, MSE)  # for results that do not name their headline
UNKNOWN = Headline("", higher_is_better=True)
