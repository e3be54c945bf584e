"""The labels as a table, as CSV rows and as lines on the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from metarun.data.duplicates import named
from metarun.data.preparation.class_folders import printable
from metarun.predict.query import UNREADABLE, Labelled
from metarun.runs.grid import Column, fitted

FIRST = 10  # items in the table
PICTURE_COLUMNS = ("item", "label", "probability", "truth", "note")


def csv_rows(labelled: Labelled) -> Iterator[list[Any]]:
    """The rows of `predictions.csv`: a header, and a row for each item in the query's order."""
    yield [*PICTURE_COLUMNS, *(f"score:{name}" for name in labelled.names)]
    truths = labelled.truth or [None] * len(labelled.sources)
    for i, (source, truth) in enumerate(zip(labelled.sources, truths, strict=True)):
        readable = labelled.labels[i] != UNREADABLE
        yield [
            printable(source),
            labelled.labels[i],
            f"{labelled.confidence[i]:.6f}" if readable else "",
            truth or "",
            labelled.notes[i],
            *(f"{score:.8g}" if readable else "" for score in labelled.scores[i]),
        ]


def first_items(labelled: Labelled, width: int) -> Table:
    """A table of the first items.

    Args:
        width: of the terminal, in characters.
    """
    some = range(min(FIRST, len(labelled.sources)))
    confidence = labelled.confidence
    columns = [
        Column("item", [printable(labelled.sources[i]) for i in some]),
        Column("label", [labelled.labels[i] for i in some]),
        Column(
            "probability",
            ["–" if labelled.labels[i] == UNREADABLE else f"{confidence[i]:.2f}" for i in some],
            right=True,
            whole=True,
        ),
    ]
    return fitted("", columns, width)[0]


def counts(labelled: Labelled, width: int) -> Table:
    """A table of the number of items with each label."""
    numbers = counted_labels(labelled)
    columns = [
        Column("label", list(numbers)),
        Column("items", [f"{n:,}" for n in numbers.values()], right=True, whole=True),
    ]
    return fitted("", columns, width)[0]


def counted_labels(labelled: Labelled) -> dict[str, int]:
    """The number of items with each label; classes first, in their order."""
    found = Counter(labelled.labels)
    return {name: found[name] for name in dict.fromkeys([*labelled.names, *sorted(found)])}


def lines(labelled: Labelled, record: Mapping[str, Any]) -> list[str]:
    """What there is to say below the tables.

    Args:
        record: the content of `prediction.json`.
    """
    found = []
    for source, note in zip(labelled.sources, labelled.notes, strict=True):
        if note and not note.startswith("in the support"):
            found.append(f"unreadable: {printable(source)} ({note})")
    if len(found) > FIRST:
        found = [*found[:FIRST], f"{len(found) - FIRST} more unreadable items in predictions.csv"]
    copies = [
        f"{printable(source)} = {note.removeprefix('in the support: ')}"
        for source, note in zip(labelled.sources, labelled.notes, strict=True)
        if note.startswith("in the support")
    ]
    if copies:
        found.append(f"items that are in the support, too: {len(copies)} ({named(copies)})")
    if record["batch_norm"] != record["trained_batch_norm"]:
        found.append(
            "batch norm: inductive, so that no label depends on the other items "
            f"(the run is {record['trained_batch_norm']})"
        )
    shots, expected = record["support_items"].values(), record["expected_shots"]
    if expected and set(shots) != {expected}:
        numbers = " to ".join(str(n) for n in sorted({min(shots), max(shots)}))
        found.append(
            f"the support has {numbers} items of a class; {record['algo']} expects {expected}, as "
            "in its training, and may be less accurate with another number"
        )
    if pretraining := record.get("pretraining"):
        run, seen = pretraining.get("run"), pretraining.get("seen")
        if file := pretraining.get("file"):
            seen = f"unknown data ({file})"
        of = f"the run {run}" if run else seen
        found.append(f"features: {record['backbone']}, trained on {of}; nothing was trained here")
    calibration = record["calibration"]
    if calibration is None:
        found.append(
            "probabilities are not calibrated: a class of the support has a single item"
            if min(record["support_items"].values()) < 2
            else "probabilities are not calibrated"
        )
    else:
        found.append(
            f"leave-one-out on the support: {percent(calibration['left_out'])}; probabilities are "
            f"calibrated by it (temperature {calibration['temperature']:.3g})"
        )
    if accuracy := record["accuracy"]:
        line = f"accuracy: {percent(accuracy)}"
        if accuracy["balanced"] is not None:
            line += f"; mean over classes: {100 * accuracy['balanced']:.1f} %"
        if accuracy["of_named"]:
            line += f"; of those not unknown: {percent(accuracy['of_named'])}"
        if accuracy["other_classes"]:
            line += f"; {accuracy['other_classes']} items are of classes outside the support"
        found.append(line)
    return found


def percent(figure: Mapping[str, float]) -> str:
    """`95.0 % (83.5–98.6 %) of 40 items`, with the 95 % interval."""
    mean, low, high = (100 * figure[key] for key in ("accuracy", "low", "high"))
    return f"{mean:.1f} % ({low:.1f}–{high:.1f} %) of {figure['items']:,} items"
