"""Labels for items of the user from a trained run, and the folder that they are written to."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from metarun.config.schema import RunConfig
from metarun.errors import Refused
from metarun.files import write_whole
from metarun.predict import page, written
from metarun.predict.calibration import fit_temperature
from metarun.predict.classifier import Classifier, check_independent, rounds
from metarun.predict.inputs import Places, data_of, listed, reader
from metarun.predict.query import Labelled, label
from metarun.predict.support import Support, read_support
from metarun.predict.truth import accuracy_of, by_content, by_folder, judged
from metarun.runs import checkpoint, results
from metarun.runs.evaluations import new_folder
from metarun.tasks.gathered import NORMALISATION
from metarun.training.interruption import Stop
from metarun.training.parts import dtype_of
from metarun.training.progress import Display
from metarun.training.remaining import Remaining
from metarun.training.restored import restored_classifier


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
    shape = support.items.shape[1:]
    learner, device = restored_classifier(config, run, state, shape, folders)
    heads = state["task"]["outputs"]
    if learner.per_label_head and heads != len(support.names):
        raise Refused(
            f"{typed}: has {len(support.names)} classes; {config.choices.algo} has a head for each "
            f"label and this run {heads} of them, so it needs a support of {heads} classes"
        )
    trained_batch_norm = learner.batch_norm
    if trained_batch_norm != "inductive" and "batch_norm" in config.algo:
        learner.batch_norm = "inductive"
    classifier = Classifier(learner, device, dtype_of(config))
    scores = classifier.adapt(support.items, support.labels)
    check_independent(scores, support.items, config.choices.algo)
    calibration = _calibration(classifier, support)
    temperature = calibration["temperature"] if calibration else 1.0
    labelled = _with_progress(
        "labelled",
        len(query),
        partial(
            label,
            *(query, unusable, read, scores, support, temperature, places.unknown_below),
        ),
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
        "batch_norm": learner.batch_norm,
        "trained_batch_norm": trained_batch_norm,
        "items": kind,
        "shape": list(shape),
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
        "device": str(device),
        "threads": config.threads,
        "versions": results.versions(),
    }
    html = page.render(labelled, support, record, read)
    with _new_folder(places) as folder:
        write_whole(folder / "predictions.csv", results.csv_text(written.csv_rows(labelled)))
        write_whole(folder / "predictions.html", html)
        write_whole(folder / "prediction.json", results.as_json(record))
    return folder, labelled, record


def _calibration(classifier: Classifier, support: Support) -> dict[str, Any] | None:
    """The accuracy on left-out items of the support and the temperature that fits them.

    `None` if a class has a single item.
    """
    if min(support.counts) < 2:
        return None
    left_out = partial(classifier.left_out, support.items, support.labels)
    scores, labels = _with_progress("leave-one-out", rounds(support.labels), left_out)
    return {
        "temperature": fit_temperature(scores, labels),
        "left_out": accuracy_of((scores.argmax(1) == labels).tolist()),
    }


def _with_progress(name: str, total: int, work: Callable[..., Any]) -> Any:
    with Stop() as stop, Display(Remaining(test_episodes=total)) as display:
        return work(proceed=display.progress(name, total, stop))


def _new_folder(places: Places) -> AbstractContextManager[Path]:
    if places.out is not None:
        return new_folder(places.out.parent.resolve(), places.out.name, "")
    return new_folder(places.run / "predictions", None, time.strftime("%Y-%m-%d_%H-%M-%S"))
