"""The true classes of a query, where they are known, and the accuracy."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metarun.data.preparation.class_folders import printable
from metarun.data.preparation.pixels import Broken
from metarun.errors import Refused
from metarun.predict.query import UNKNOWN, Labelled, prepared_chunks
from metarun.predict.support import Read, digest

CHUNK = 64  # files that are read together


def by_folder(sources: Sequence[str], place: Path, names: Sequence[str]) -> list[str | None]:
    """The innermost folder of each path below `place` that has the name of a class."""
    found = []
    for source in sources:
        path = Path(source)
        folders = path.relative_to(place).parts[:-1] if path.is_relative_to(place) else ()
        parts = [unicodedata.normalize("NFC", printable(part)) for part in reversed(folders)]
        found.append(next((part for part in parts if part in names), None))
    return found


def by_content(
    classes: Mapping[str, Sequence[str]], read: Read, digests: Sequence[bytes], typed: str
) -> list[str | None]:
    """The class that holds the same item; `None` if none or several do.

    Args:
        classes: name → paths or sentences.
        read: prepares items.
        digests: of the items of the query.
        typed: `truth=…` as the user typed it, for messages.

    Raises:
        Refused: no class holds any item of the query.
    """
    known: dict[bytes, str | None] = {}
    for name, sources in classes.items():
        for _, chunk in prepared_chunks(sources, {}, read, CHUNK):
            for item in chunk:
                if not isinstance(item, Broken):
                    key = digest(item)
                    known[key] = name if known.get(key, name) == name else None
    found = [known.get(key) for key in digests]
    if not any(found):
        raise Refused(f"{typed}: holds no item of the query")
    return found


def accuracy_of(correct: Sequence[bool]) -> dict[str, float]:
    """The share of correct items and its 95 % interval (Wilson 1927).

    Args:
        correct: for each item, whether its label is right; at least one.

    Returns:
        `accuracy`, `low`, `high` and the number of `items`.
    """
    from scipy.stats import binomtest  # takes a second to import

    result = binomtest(sum(correct), len(correct))
    low, high = result.proportion_ci(0.95, "wilson")
    return {"accuracy": result.statistic, "low": low, "high": high, "items": len(correct)}


def judged(labelled: Labelled) -> dict[str, Any] | None:
    """The accuracy of the likeliest classes; `None` if no item has a known class of the support.

    `balanced` is the mean of the accuracies of the true classes, where these have unequal numbers
    of items. `of_named` is that of the items that are not labelled `unknown`, and `other_classes`
    the number of items whose true class is not in the support, which count nowhere else.
    """
    rows = list(zip(labelled.likeliest, labelled.truth, labelled.labels, strict=True))
    known = [(guess == truth, label) for guess, truth, label in rows if truth in labelled.names]
    known = [(right, label) for (right, label) in known if label != "unreadable"]
    if not known:
        return None
    named = [right for right, label in known if label != UNKNOWN]
    others = sum(truth is not None and truth not in labelled.names for _, truth, _ in rows)
    recalls: dict[str, list[bool]] = {}
    for guess, truth, label in rows:
        if truth in labelled.names and label != "unreadable":
            recalls.setdefault(truth, []).append(guess == truth)
    unequal = len({len(of_class) for of_class in recalls.values()}) > 1
    balanced = sum(sum(c) / len(c) for c in recalls.values()) / len(recalls)
    return {
        **accuracy_of([right for right, _ in known]),
        "balanced": balanced if unequal else None,
        "of_named": accuracy_of(named) if 0 < len(named) < len(known) else None,
        "other_classes": others,
    }
