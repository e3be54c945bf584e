"""The preparation of another data set as that of a run, which is tested on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from metarun.config.instantiate import blueprint, target_of
from metarun.config.schema import RunConfig
from metarun.errors import Refused

OF_ITEMS = ("features", "words", "characters", "tokens", "fit", "mels", "seconds")  # define items


def prepared_as_trained(
    config: RunConfig, state: Mapping[str, Any], typed: Iterable[str], folders: Sequence[Path]
) -> RunConfig:
    """The configuration with its data prepared as that of a run, where it has keys for it.

    These are `data.size`, `data.colour` and `data.fit` of pictures, the n-grams or tokens of
    sentences, and the frequencies and seconds of recordings. What a data set cannot prepare so, and
    what the user typed otherwise, is scaled when it is drawn.

    Args:
        config: the run's saved configuration with the user's overrides.
        state: the content of the run's checkpoint.
        typed: the keys that the user typed.
        folders: the user's config folders.

    Raises:
        Refused: the items are of another kind than those of the run.
    """
    trained, inputs = state["config"]["data"], state["task"].get("inputs")
    kinds = [_kind_of_items(node, folders) for node in (config.data, trained)]
    if None not in kinds and kinds[0] != kinds[1]:
        raise Refused(
            f"data={config.choices.data}: its items are {kinds[0]}; the run was trained on "
            f"{kinds[1]} (data={state['config']['choices']['data']})"
        )
    wanted = {key: trained[key] for key in OF_ITEMS if key in trained}
    if isinstance(inputs, tuple) and len(inputs) == 3 and inputs[1] == inputs[2]:
        wanted |= {"size": inputs[2], "colour": inputs[0] == 3}
    data = dict(config.data)
    for key, value in wanted.items():
        if data.get(key, value) != value and f"data.{key}" not in typed:
            try:
                blueprint("data", {**data, key: value}, folders)
            except Refused:  # not a size that it can have
                continue
            data[key] = value
    return config.model_copy(update={"data": data})


def _kind_of_items(node: Mapping[str, Any], folders: Sequence[Path]) -> str | None:
    """`pictures`, `sentences` or whatever the data set calls its items; `None` if it does not."""
    try:
        return getattr(target_of(blueprint("data", node, folders)), "own_items", None)
    except Refused:  # reported where it is used
        return None
