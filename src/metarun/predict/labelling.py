"""Labels for a query from a classifier and a support. No file is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from metarun.backbones.frozen import forgetting
from metarun.predict.calibration import fit_temperature
from metarun.predict.classifier import Classifier, check_independent, rounds
from metarun.predict.query import Labelled, label
from metarun.predict.support import Read, Support
from metarun.predict.truth import accuracy_of
from metarun.training.interruption import Stop
from metarun.training.progress import Display
from metarun.training.remaining import Remaining

Calibration = dict[str, Any]  # `temperature`, and `left_out`: see `accuracy_of`


def label_items(
    classifier: Classifier,
    support: Support,
    query: Sequence[str],
    unusable: Mapping[str, str],
    read: Read,
    unknown_below: float = 0.0,
) -> tuple[Labelled, Calibration | None]:
    """Adapt a classifier to a support, calibrate it on left-out items, and label a query.

    Args:
        query: paths or sentences, or whatever `read` takes.
        unusable: those that cannot be read, with the reason.
        read: prepares items.
        unknown_below: items with a smaller probability are labelled `unknown`.

    Returns:
        The labelled items; and the temperature of the probabilities with the accuracy on items of
        the support that were left out, or `None` if a class has a single item.

    Raises:
        Refused: the label of an item would depend on the other items.
        RunFailed: scores are not finite.
    """
    scores = classifier.adapt(support.items, support.labels)
    check_independent(scores, support.items, classifier.algo)
    calibration = _calibration(classifier, support)
    temperature = calibration["temperature"] if calibration else 1.0
    work = partial(
        label, query, unusable, read, scores, support, temperature, unknown_below=unknown_below
    )
    with forgetting(classifier.learner):  # memory does not grow with the query
        return _with_progress("labelled", len(query), work), calibration


def _calibration(classifier: Classifier, support: Support) -> Calibration | None:
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
