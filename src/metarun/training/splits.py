"""The splits of a configuration, checked against its task sizes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from metarun.config.schema import RunConfig
from metarun.data import duplicates
from metarun.data.classes import Split, joined
from metarun.data.scaled import Shape, as_trained
from metarun.errors import Mistakes, Refused
from metarun.training.compatibility import check_capacity, check_sizes

log = logging.getLogger(__name__)


def load_splits(
    config: RunConfig,
    blueprint: Callable[..., Any] | None,
    used: Mapping[str, str],
    mistakes: Mistakes,
    inputs: Shape | None = None,
) -> dict[str, Any]:
    """Load the splits and add to `mistakes` where they do not fit the configured tasks.

    Args:
        inputs: the shape of items that a learner was trained on; other pictures are scaled to it.

    Raises:
        Refused: `mistakes` is not empty before the data is read, or items cannot have that shape.
    """
    data = mistakes.catch(blueprint) if blueprint is not None else None
    if data is not None:
        mistakes.lines += check_capacity(config, mistakes.catch(data.facts) or {}, used)
    mistakes.settle()
    splits = data.load(used) if getattr(data, "splits_apart", False) else data.load()
    if inputs is not None:
        name = config.choices.data
        splits = {key: as_trained(split, inputs, name) for key, split in splits.items()}
    if config.train_on != "train":
        splits, used = _with_val_in_train(config, splits, used)
    mistakes.lines += check_sizes(config, splits, used)
    facts = {split: splits[split].facts for split in used}
    mistakes.lines += check_capacity(config, facts, used)
    mistakes.lines += duplicates.shared_classes(splits)
    if not mistakes.lines:
        for line in duplicates.warnings(splits):
            log.warning("data=%s: %s", config.choices.data, line)
    return splits


def _with_val_in_train(
    config: RunConfig, splits: Mapping[str, Any], used: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The splits `train`, with the classes of `val`, and `test`; and those of `used` among them."""
    word, (train, val) = f"data.train_on={config.train_on}", (splits["train"], splits["val"])
    if config.train_on != "trainval":
        raise Refused(f"{word}: should be train or trainval")
    if set(used) == {"val"}:
        raise Refused(f"split=val: {word} trains on its classes, too; use test")
    if not isinstance(train, Split) or not isinstance(val, Split):
        raise Refused(f"{word}: the splits of {config.choices.data} cannot be joined")
    if lines := duplicates.shared_classes(splits):
        raise Refused(*lines)
    try:
        splits = {"train": joined(train, val), "test": splits["test"]}
    except ValueError as error:
        raise Refused(f"{word}: {error} in train and val") from error
    return splits, {split: prefix for split, prefix in used.items() if split in splits}
