"""Labels for items that a user names, and the folder that they are written to."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from metarun.data.preparation.pixels import Span
from metarun.data.preparation.spectrograms import Scale
from metarun.data.recordings import Recordings
from metarun.errors import Refused
from metarun.files import write_whole
from metarun.predict import page, written
from metarun.predict.inputs import Items, Places, reader
from metarun.predict.labelling import label_items
from metarun.predict.query import Labelled
from metarun.predict.support import Read, Support, read_support
from metarun.predict.trained import Trained
from metarun.predict.truth import by_content, by_folder, judged
from metarun.predict.untrained import Untrained
from metarun.runs import results
from metarun.runs.evaluations import new_folder
from metarun.tasks.tensors import NORMALISATION


@dataclass(repr=False)
class Prediction:
    """Labels for the items of a query.

    Attributes:
        labelled: the items with their labels, scores and probabilities.
        record: the content of `prediction.json`.
        support: the labelled items that the learner was adapted to.
        read: prepares items.
        caller_labels: name of a class → the label that the caller gave in Python.
        folder: where it is written; `None` if it is not.
    """

    labelled: Labelled
    record: dict[str, Any]
    support: Support
    read: Read
    caller_labels: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    def __repr__(self) -> str:
        return f"Prediction({len(self.labelled.sources)} items, {len(self.classes)} classes)"

    @property
    def classes(self) -> list[Any]:
        """(N) the labels of the support, in the order of the columns of `scores`."""
        return [self.caller_labels.get(name, name) for name in self.labelled.names]

    @property
    def labels(self) -> np.ndarray:
        """(m) the label of each item: one of `classes`, `unknown` or `unreadable`."""
        found = [self.caller_labels.get(name, name) for name in self.labelled.labels]
        return np.array(found, dtype=object if len({type(label) for label in found}) > 1 else None)

    @property
    def probabilities(self) -> np.ndarray:
        """(m, N) of each class; NaN for items that cannot be read."""
        return self.labelled.probabilities

    @property
    def scores(self) -> np.ndarray:
        """(m, N), the outputs of the learner; NaN for items that cannot be read."""
        return self.labelled.scores

    @property
    def left_out(self) -> dict[str, float] | None:
        """The leave-one-out accuracy on the support: `accuracy`, its 95 % interval from `low` to
        `high`, and the number of `items`; `None` if a class has a single item.
        """
        calibration = self.record["calibration"]
        return calibration and calibration["left_out"]


def predict(source: Trained | Untrained, places: Places, items: Items, command: str) -> Prediction:
    """Label items. No file is written.

    Args:
        source: a run, or a network that needs no training.
        places: what the user typed.
        items: the items that it names.
        command: the command that the user typed, for `prediction.json`.

    Raises:
        Refused: the source, the support or the query cannot be used, or no item can be read.
    """
    began, config, kind = time.monotonic(), source.config, source.kind
    read, known = reader(source.data, kind, source.known, items)
    typed = places.typed("support")
    support = read_support(items.support, read, typed)
    classifier = source.classifier(support, typed)
    labelled, calibration = label_items(
        classifier, support, items.query, items.unusable, read, places.unknown_below
    )
    if not any(labelled.digests):
        reasons = zip(labelled.sources, labelled.notes, strict=True)
        lines = [f"{source}: unreadable ({note})" for source, note in reasons][: written.FIRST]
        raise Refused(f"{places.typed('query')}: no item can be read", *lines)
    if items.truth is not None:
        labelled.truth = by_content(items.truth, read, labelled.digests, f"truth={places.truth}")
    elif kind in ("pictures", "recordings") and places.path("query"):
        labelled.truth = by_folder(items.query, places.query, support.names)
    record = {
        "command": command,
        **config.choices.model_dump(include={"algo", "data", "backbone"}),
        **source.record(),
        "batch_norm": classifier.learner.batch_norm,
        "trained_batch_norm": classifier.trained_batch_norm,
        "expected_shots": classifier.shots,
        "items": kind,
        "shape": list(support.items.shape[1:]),
        "wide_pixel_range": [known.low, known.high] if isinstance(known, Span) else None,
        "normalisation": Recordings.normalisation if isinstance(known, Scale) else NORMALISATION,
        "spectrograms": known._asdict() if isinstance(known, Scale) else None,
        "support": places.path("support"),
        "support_items": dict(zip(support.names, support.counts, strict=True)),
        "support_sha256": support.sha256,
        "query": places.path("query"),
        "queries": len(items.query),
        "calibration": calibration,
        "unknown_below": places.unknown_below or None,
        "labels": written.counted_labels(labelled),
        "accuracy": judged(labelled) if labelled.truth else None,
        "wall_seconds": round(time.monotonic() - began, 2),
        "device": str(classifier.device),
        "threads": config.threads,
        "versions": results.versions(),
    }
    return Prediction(labelled, record, support, read, items.labels)


def write_prediction(prediction: Prediction, parent: Path, out: Path | None) -> Path:
    """Write the table, the record and the page into a new folder, and return it.

    Args:
        parent: the folder with the folder `predictions`.
        out: the new folder, if it is another one.
    """
    labelled, record = prediction.labelled, prediction.record
    html = page.render(labelled, prediction.support, record, prediction.read)
    with _new_folder(parent, out) as folder:
        write_whole(folder / "predictions.csv", results.csv_text(written.csv_rows(labelled)))
        write_whole(folder / "predictions.html", html)
        write_whole(folder / "prediction.json", results.as_json(record))
    return folder


def _new_folder(parent: Path, out: Path | None) -> AbstractContextManager[Path]:
    if out is not None:
        return new_folder(out.parent.resolve(), out.name, "")
    return new_folder(parent / "predictions", None, time.strftime("%Y-%m-%d_%H-%M-%S"))
