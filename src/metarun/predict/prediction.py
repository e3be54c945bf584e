"""Labels for items that a user names, from a trained run, and the folder they are written to."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from metarun.config.schema import RunConfig
from metarun.errors import Refused
from metarun.files import write_whole
from metarun.predict import page, written
from metarun.predict.inputs import Places, data_of, listed, reader
from metarun.predict.labelling import label_items
from metarun.predict.query import Labelled
from metarun.predict.support import Read, Support, read_support
from metarun.predict.trained import trained_classifier
from metarun.predict.truth import by_content, by_folder, judged
from metarun.runs import checkpoint, results
from metarun.runs.evaluations import new_folder
from metarun.tasks.gathered import NORMALISATION


def predict(
    config: RunConfig, places: Places, command: str, folders: Sequence[Path] = ()
) -> tuple[Path, Labelled, dict[str, Any]]:
    """Label items by the best checkpoint of a run, and write the labels into a new folder.

    Args:
        config: the run's saved configuration, perhaps with another device.
        command: the command that the user typed, for `prediction.json`.
        folders: the user's config folders.

    Returns:
        The folder, the labelled items and the content of `prediction.json`.

    Raises:
        Refused: the run, the support or the query cannot be used, or no item can be read.
    """
    began, run = time.monotonic(), places.run
    state = checkpoint.best(run / "checkpoints")
    data, kind = data_of(config, run, folders)
    classes, query, unusable, truth = listed(kind, places)
    read, span = reader(data, kind, run, [path for paths in classes.values() for path in paths])
    typed = f"support={places.support}"
    support = read_support(classes, read, typed)
    classifier = trained_classifier(config, run, state, support, typed, folders)
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
        "run": str(run),
        "run_id": state["id"],
        "checkpoint_step": state["step"],
        **config.choices.model_dump(include={"algo", "data", "backbone"}),
        "data_name": config.data_name,
        "trained_on": state["trained_on"],
        "batch_norm": classifier.learner.batch_norm,
        "trained_batch_norm": classifier.trained_batch_norm,
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
    return write_prediction(labelled, support, record, read, places), labelled, record


def write_prediction(
    labelled: Labelled, support: Support, record: Mapping[str, Any], read: Read, places: Places
) -> Path:
    """Write the table, the page and `record` into a new folder, and return it."""
    html = page.render(labelled, support, record, read)
    with _new_folder(places) as folder:
        write_whole(folder / "predictions.csv", results.csv_text(written.csv_rows(labelled)))
        write_whole(folder / "predictions.html", html)
        write_whole(folder / "prediction.json", results.as_json(record))
    return folder


def _new_folder(places: Places) -> AbstractContextManager[Path]:
    if places.out is not None:
        return new_folder(places.out.parent.resolve(), places.out.name, "")
    return new_folder(places.run / "predictions", None, time.strftime("%Y-%m-%d_%H-%M-%S"))
