"""What a user typed for a prediction, and the items that it names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from metarun.config.instantiate import blueprint, target_of
from metarun.config.schema import RunConfig
from metarun.data.preparation.kinds import PICTURES, SOUNDS
from metarun.data.preparation.picture_classes import common_span
from metarun.data.preparation.pictures import depths
from metarun.data.preparation.pixels import Broken, Depth, Span
from metarun.data.preparation.spectrograms import Scale
from metarun.errors import Mistakes, Refused
from metarun.predict.files import file_classes, file_query, why_unusable
from metarun.predict.given import Given, on_files
from metarun.predict.query import UNKNOWN, UNREADABLE
from metarun.predict.sentences import sentence_classes, sentence_query
from metarun.predict.support import Read
from metarun.predict.vectors import vector_classes, vector_query

LISTED = {
    "pictures": (partial(file_classes, PICTURES), partial(file_query, PICTURES)),
    "recordings": (partial(file_classes, SOUNDS), partial(file_query, SOUNDS)),
    "sentences": (sentence_classes, sentence_query),
    "vectors": (vector_classes, vector_query),
}


@dataclass(frozen=True)
class Places:
    """What the user typed, or gave in Python.

    Attributes:
        support: the labelled items: a path, or what `Given.classes` takes.
        query: the items to label: a path, or what `Given.query` takes.
        truth: the same items by class, if the true classes are known.
        out: the new folder; by default one in `predictions`, in the run folder or, without a run,
            in the working directory.
        unknown_below: items with a smaller probability are labelled `unknown`.
    """

    support: Any
    query: Any
    truth: Path | None = None
    out: Path | None = None
    unknown_below: float = 0.0

    def path(self, key: str) -> str | None:
        """The path of the support or the query; `None` if its items were given in Python."""
        place = getattr(self, key)
        return str(place) if isinstance(place, Path) else None

    def typed(self, key: str) -> str:
        """The word that the user typed for the support or the query, for messages."""
        return key if self.path(key) is None else f"{key}={self.path(key)}"


@dataclass(frozen=True)
class Items:
    """The items of a prediction: paths or sentences, or names of pictures in memory.

    Attributes:
        support: the items of each class.
        query: the items to label.
        unusable: those of the query that cannot be used, with the reason.
        truth: items by their true classes, if these are known.
        pictures: name → picture in memory.
        labels: name of a class → the label that the caller gave in Python.
    """

    support: Mapping[str, Sequence[str]]
    query: Sequence[str]
    unusable: Mapping[str, str]
    truth: Mapping[str, Sequence[str]] | None = None
    pictures: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, Any] = field(default_factory=dict)


def own_data(config: RunConfig, folders: Sequence[Path], subject: str) -> tuple[Any, str]:
    """The data set, whose files are not read, and the kind of its items.

    Raises:
        Refused: it cannot prepare items of the user.
    """
    make = blueprint("data", config.data, folders)
    kind = getattr(target_of(make), "own_items", None)
    if kind not in LISTED:
        raise Refused(
            f"{subject} cannot prepare items of your own; pictures of data=image_folder, "
            "recordings of data=audio_folder, sentences of data=text_table and features of "
            "data=vectors can be"
        )
    return make(), kind


def listed(kind: str, places: Places, columns: tuple[str, str] | None = None) -> Items:
    """The items that a user names.

    Args:
        kind: one of `LISTED`.
        columns: names of the items and the labels in a table or a file of features.

    Raises:
        Refused: a place cannot be used; one line for each mistake.
    """
    list_classes, list_query = LISTED[kind]
    if columns is not None:
        list_classes = partial(list_classes, columns=columns)
    if columns is not None and kind == "vectors":
        list_query = partial(list_query, features=columns[0])
    mistakes, given = Mistakes(), Given(kind)
    if places.path("support"):
        classes = mistakes.catch(list_classes, places.support, "support")
    else:
        classes = mistakes.catch(given.classes, places.support)
    if places.path("query"):
        query = mistakes.catch(list_query, places.query)
    elif (names := mistakes.catch(given.query, places.query)) is not None:
        query = names, _unusable(kind, [name for name in names if name not in given.pictures])
    truth = places.truth and mistakes.catch(list_classes, places.truth, "truth")
    reserved = {UNREADABLE} | ({UNKNOWN} if places.unknown_below else set())
    if taken := sorted(reserved & set(classes or ())):
        mistakes.lines.append(
            f"{places.typed('support')}: a class is called {taken[0]}, the label of items that "
            "are; give it another name"
        )
    mistakes.settle()
    return Items(classes, *query, truth, given.pictures, given.labels)


def _unusable(kind: str, sources: Sequence[str]) -> dict[str, str]:
    if kind == "sentences":
        return {"": "empty"}
    return {source: why for source in sources if (why := why_unusable(source))}


def reader(
    data: Any, kind: str, known: Span | Scale | None, items: Items
) -> tuple[Read, Span | Scale | None]:
    """Prepares items as the data set does, and what their values are scaled by.

    Args:
        known: the range of values of more than 8 bits of pictures, or the scale of spectrograms;
            `None`: that of the support.
    """
    support = [source for sources in items.support.values() for source in sources]
    if kind == "recordings":
        if known is None:
            clips = [clip for clip in data.prepare_own(support) if not isinstance(clip, Broken)]
            known = Scale.of(clips) if clips else Scale(0.0, 1.0)
        return partial(data.prepare_own, scale=known), known
    if kind == "vectors":
        (first,) = data.prepare_own(support[:1])
        return partial(data.prepare_own, width=len(first)), None
    if kind != "pictures":
        return data.prepare_own, None
    if known is None:
        found = on_files(depths, items.pictures)(support)
        known = common_span(depth for depth in found if isinstance(depth, Depth))
    return on_files(partial(data.prepare_own, span=known), items.pictures), known
