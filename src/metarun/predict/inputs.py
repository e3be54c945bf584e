"""What a user typed for a prediction, and the items that it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from metarun.config.instantiate import blueprint, target_of
from metarun.config.schema import RunConfig
from metarun.data.preparation.picture_classes import common_span
from metarun.data.preparation.pictures import depths
from metarun.data.preparation.pixels import Depth, Span
from metarun.errors import Mistakes, Refused
from metarun.predict.pictures import picture_classes, picture_query
from metarun.predict.query import UNKNOWN, UNREADABLE
from metarun.predict.sentences import sentence_classes, sentence_query
from metarun.predict.support import Read

LISTED = {
    "pictures": (picture_classes, picture_query),
    "sentences": (sentence_classes, sentence_query),
}


@dataclass(frozen=True)
class Places:
    """What the user typed.

    Attributes:
        support: the labelled items.
        query: the items to label.
        truth: the same items by class, if the true classes are known.
        out: the new folder; by default one in `predictions`, in the run folder or, without a run,
            in the working directory.
        unknown_below: items with a smaller probability are labelled `unknown`.
    """

    support: Path
    query: Path
    truth: Path | None = None
    out: Path | None = None
    unknown_below: float = 0.0


def own_data(config: RunConfig, folders: Sequence[Path], subject: str) -> tuple[Any, str]:
    """The data set, whose files are not read, and the kind of its items.

    Raises:
        Refused: it cannot prepare items of the user.
    """
    make = blueprint("data", config.data, folders)
    kind = getattr(target_of(make), "own_items", None)
    if kind not in LISTED:
        raise Refused(
            f"{subject} cannot prepare items of your own; pictures of data=image_folder and "
            "sentences of data=banking77 can be"
        )
    return make(), kind


def listed(
    kind: str, places: Places
) -> tuple[dict[str, list[str]], list[str], dict[str, str], dict[str, list[str]] | None]:
    """Classes of the support, items of the query, those that cannot be used, and true classes."""
    list_classes, list_query = LISTED[kind]
    mistakes = Mistakes()
    classes = mistakes.catch(list_classes, places.support, "support")
    query = mistakes.catch(list_query, places.query)
    truth = places.truth and mistakes.catch(list_classes, places.truth, "truth")
    reserved = {UNREADABLE} | ({UNKNOWN} if places.unknown_below else set())
    if taken := sorted(reserved & set(classes or ())):
        mistakes.lines.append(
            f"support={places.support}: a class is called {taken[0]}, the label of items that are; "
            "give it another name"
        )
    mistakes.settle()
    return classes, *query, truth


def reader(
    data: Any, kind: str, span: Span | None, files: Sequence[str]
) -> tuple[Read, Span | None]:
    """Prepares items as the data set does, and the range of values of more than 8 bits.

    Args:
        span: that range; `None`: that of the support.
        files: the pictures of the support.
    """
    if kind != "pictures":
        return data.prepare_own, None
    span = span or common_span(depth for depth in depths(files) if isinstance(depth, Depth))
    return partial(data.prepare_own, span=span), span
