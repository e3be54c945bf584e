"""The learner of a trained run as a classifier."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metarun.config.schema import RunConfig
from metarun.data.preparation.pixels import Span
from metarun.data.preparation.spectrograms import Scale
from metarun.errors import Refused
from metarun.predict.classifier import Classifier
from metarun.predict.inputs import own_data
from metarun.predict.support import Support
from metarun.runs import checkpoint, results
from metarun.training.learner import dtype_of
from metarun.training.restored import restored_classifier


class Trained:
    """A run with its best checkpoint.

    Args:
        config: the run's saved configuration, perhaps with another device.
        run: the folder of the run.
        folders: the user's config folders.

    Attributes:
        folder: where `predictions` is created: the folder of the run.
        data, kind: the data set, whose files are not read, and the kind of its items.
        known: the run's range of values of more than 8 bits, `None` if it had no such pictures; or
            the scale of its spectrograms.

    Raises:
        Refused: the run has no usable checkpoint, or its data cannot prepare items of the user.
    """

    def __init__(self, config: RunConfig, run: Path, folders: Sequence[Path] = ()) -> None:
        self.config, self.folder, self.folders = config, run, folders
        self.state = checkpoint.best(run / "checkpoints")
        of_data = f"run={run}: was trained on data={config.choices.data}, which"
        self.data, self.kind = own_data(config, folders, of_data)
        self.known = scale_of(run) if self.kind == "recordings" else _span_of(run)

    def classifier(self, support: Support, typed: str) -> Classifier:
        """The learner with its weights, inductive where it can be.

        Args:
            support: the labelled items that it will be adapted to.
            typed: `support=…` as the user typed it, for messages.

        Raises:
            Refused: run, checkpoint and support do not fit each other.
        """
        config, state = self.config, self.state
        shape, trained = support.items.shape[1:], state["task"].get("inputs")
        if self.kind == "vectors" and trained not in (None, shape):
            raise Refused(
                f"{typed}: its items have {shape[0]} features, and the run was trained on "
                f"{trained[0]}"
            )
        learner, device = restored_classifier(config, self.folder, state, shape, self.folders)
        algo, heads = config.choices.algo, state["task"]["outputs"]
        if learner.per_label_head and heads != len(support.names):
            raise Refused(
                f"{typed}: has {len(support.names)} classes; {algo} has a head for each label and "
                f"this run {heads} of them, so it needs a support of {heads} classes"
            )
        trained_batch_norm = learner.batch_norm
        if trained_batch_norm != "inductive" and "batch_norm" in config.algo:
            learner.batch_norm = "inductive"
        shots = state["task"]["shots"] if learner.fixed_shots else None
        return Classifier(learner, device, dtype_of(config), algo, trained_batch_norm, shots)

    def record(self) -> dict[str, Any]:
        """What `prediction.json` says of the run."""
        return {
            "run": str(self.folder),
            "run_id": self.state["id"],
            "checkpoint_step": self.state["step"],
            "data_name": self.config.data_name,
            "trained_on": self.state["trained_on"],
        }


def _span_of(run: Path) -> Span | None:
    protocol = (results.read_result(run) or {}).get("protocol")
    pixels = protocol.get("pixels") if isinstance(protocol, Mapping) else None
    match pixels.get("range") if isinstance(pixels, Mapping) else None:
        case [int() | float() as low, int() | float() as high] if low < high:
            return Span(low, high)
    return None


def scale_of(run: Path) -> Scale:
    """The scale of the spectrograms that a run was trained on.

    Raises:
        Refused: the run has no record of it.
    """
    record = (results.read_result(run) or {}).get("run")
    match record.get("spectrograms") if isinstance(record, Mapping) else None:
        case {"mean": int() | float() as mean, "deviation": int() | float() as deviation}:
            if math.isfinite(mean) and 0 < deviation < math.inf:
                return Scale(mean, deviation)
    raise Refused(
        f"run={run}: its result.json has no mean and deviation of the spectrograms, as runs of "
        "earlier versions; train it again"
    )
