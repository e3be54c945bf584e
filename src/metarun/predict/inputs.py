"""What a user typed for a prediction, and the items that it names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from metarun.runs import results

LISTED = {
    "pictures": (picture_classes, picture_query),
    "sentences": (sentence_classes, sentence_query),
}


@dataclass(frozen=True)
class Places:
    """What the user typed.

    Attributes:
        run: the folder of the run.
        support: the labelled items.
        query: the items to label.
        truth: the same items by class, if the true classes are known.
        out: the new folder; by default one in `predictions` in the run folder.
        unknown_below: items with a smaller probability are labelled `unknown`.
    """

    run: Path
    support: Path
    query: Path
    truth: Path | None = None
    out: Path | None = None
    unknown_below: float = 0.0


def data_of(config: RunConfig, run: Path, folders: Sequence[Path]) -> tuple[Any, str]:
    """The data set of the run, whose files are not read, and the kind of its items."""
    make = blueprint("data", config.data, folders)
    kind = getattr(target_of(make), "own_items", None)
    if kind not in LISTED:
        raise Refused(
            f"run={run}: was trained on data={config.choices.data}, which cannot prepare items of "
            "your own; pictures of data=image_folder and sentences of data=banking77 can be"
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


def reader(data: Any, kind: str, run: Path, files: Sequence[str]) -> tuple[Read, Span | None]:
    """Prepares items as the run's data set does, with its range of values of more than 8 bits.

    If the run had no such pictures, their range is that of the support.

    Args:
        files: the pictures of the support.
    """
    if kind != "pictures":
        return data.prepare_own, None
    protocol = (results.read_result(run) or {}).get("protocol")
    pixels = protocol.get("pixels") if isinstance(protocol, Mapping) else None
    match pixels.get("range") if isinstance(pixels, Mapping) else None:
        case [int() | float() as low, int() | float() as high] if low < high:
            span = Span(low, high)
        case _:
            span = common_span(depth for depth in depths(files) if isinstance(depth, Depth))
    return partial(data.prepare_own, span=span), span
