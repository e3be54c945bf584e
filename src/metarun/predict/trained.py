"""The classifier of a trained run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metarun.config.schema import RunConfig
from metarun.errors import Refused
from metarun.predict.classifier import Classifier
from metarun.predict.support import Support
from metarun.training.parts import dtype_of
from metarun.training.restored import restored_classifier


def trained_classifier(
    config: RunConfig,
    run: Path,
    state: Mapping[str, Any],
    support: Support,
    typed: str,
    folders: Sequence[Path] = (),
) -> Classifier:
    """The learner of a run with the weights of a checkpoint, inductive where it can be.

    Args:
        config: the run's saved configuration, perhaps with another device.
        state: the content of the checkpoint.
        support: the labelled items that it will be adapted to.
        typed: `support=…` as the user typed it, for messages.
        folders: the user's config folders.

    Raises:
        Refused: run, checkpoint and support do not fit each other.
    """
    learner, device = restored_classifier(config, run, state, support.items.shape[1:], folders)
    heads = state["task"]["outputs"]
    if learner.per_label_head and heads != len(support.names):
        raise Refused(
            f"{typed}: has {len(support.names)} classes; {config.choices.algo} has a head for each "
            f"label and this run {heads} of them, so it needs a support of {heads} classes"
        )
    trained_batch_norm = learner.batch_norm
    if trained_batch_norm != "inductive" and "batch_norm" in config.algo:
        learner.batch_norm = "inductive"
    return Classifier(learner, device, dtype_of(config), config.choices.algo, trained_batch_norm)
