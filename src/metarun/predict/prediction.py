"""Labels for items that a user names, and the folder that they are written to."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from metarun.errors import Refused
from metarun.files import write_whole
from metarun.predict import page, written
from metarun.predict.inputs import Places, listed, reader
from metarun.predict.labelling import label_items
from metarun.predict.query import Labelled
from metarun.predict.support import read_support
from metarun.predict.trained import Trained
from metarun.predict.truth import by_content, by_folder, judged
from metarun.predict.untrained import Untrained
from metarun.runs import results
from metarun.runs.evaluations import new_folder
from metarun.tasks.gathered import NORMALISATION


def predict(
    source: Trained | Untrained, places: Places, command: str
) -> tuple[Path, Labelled, dict[str, Any]]:
    """Label items, and write the labels into a new folder.

    Args:
        source: a run, or a network that needs no training.
        command: the command that the user typed, for `prediction.json`.

    Returns:
        The folder, the labelled items and the content of `prediction.json`.

    Raises:
        Refused: the source, the support or the query cannot be used, or no item can be read.
    """
    began, config, kind = time.monotonic(), source.config, source.kind
    classes, query, unusable, truth = listed(kind, places)
    files = [path for paths in classes.values() for path in paths]
    read, span = reader(source.data, kind, source.span, files)
    typed = f"support={places.support}"
    support = read_support(classes, read, typed)
    classifier = source.classifier(support, typed)
    labelled, calibration = label_items(
        classifier, support, query, unusable, read, places.unknown_below
    )
    if not any(labelled.digests):
        reasons = zip(labelled.sources, labelled.notes, strict=True)
        lines = [f"{source}: unreadable ({note})" for source, note in reasons][: written.FIRST]
        raise Refused(f"query={places.query}: no item can be read", *lines)
    if truth is not None:
        labelled.truth = by_content(truth, read, labelled.digests, f"truth={places.truth}")
    elif kind == "pictures":
        labelled.truth = by_folder(query, places.query, support.names)
    record = {
        "command": command,
        **config.choices.model_dump(include={"algo", "data", "backbone"}),
        **source.record(),
        "batch_norm": classifier.learner.batch_norm,
        "trained_batch_norm": classifier.trained_batch_norm,
        "expected_shots": classifier.shots,
        "items": kind,
        "shape": list(support.items.shape[1:]),
        "wide_pixel_range": None if span is None else [span.low, span.high],
        "normalisation": NORMALISATION,
        "support": str(places.support),
        "support_items": dict(zip(support.names, support.counts, strict=True)),
        "support_sha256": support.sha256,
        "query": str(places.query),
        "queries": len(query),
        "calibration": calibration,
        "unknown_below": places.unknown_below or None,
        "labels": written.counted_labels(labelled),
        "accuracy": judged(labelled) if labelled.truth else None,
        "wall_seconds": round(time.monotonic() - began, 2),
        "device": str(classifier.device),
        "threads": config.threads,
        "versions": results.versions(),
    }
    html = page.render(labelled, support, record, read)
    return write_prediction(labelled, record, html, source.folder, places.out), labelled, record


def write_prediction(
    labelled: Labelled, record: Mapping[str, Any], html: str, parent: Path, out: Path | None
) -> Path:
    """Write the table, the record and the page into a new folder, and return it.

    Args:
        record: the content of `prediction.json`.
        html: the content of `predictions.html`.
        parent: the folder with the folder `predictions`.
        out: the new folder, if it is another one.
    """
    with _new_folder(parent, out) as folder:
        write_whole(folder / "predictions.csv", results.csv_text(written.csv_rows(labelled)))
        write_whole(folder / "predictions.html", html)
        write_whole(folder / "prediction.json", results.as_json(record))
    return folder


def _new_folder(parent: Path, out: Path | None) -> AbstractContextManager[Path]:
    if out is not None:
        return new_folder(out.parent.resolve(), out.name, "")
    return new_folder(parent / "predictions", None, time.strftime("%Y-%m-%d_%H-%M-%S"))
