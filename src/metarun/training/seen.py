"""Classes and items of a test that were seen in an earlier training, as far as it is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metarun.config.instantiate import blueprint
from metarun.config.schema import RunConfig
from metarun.data.classes import Split, joined
from metarun.data.equal_items import comparable, equal_classes, equal_items
from metarun.data.preparation.download import no_downloads
from metarun.data.published_folder import PublishedFolder
from metarun.errors import Refused
from metarun.runs.places import cache_mistake


@dataclass(frozen=True)
class Seen:
    """What a split shares with the training of an earlier run.

    Attributes:
        classes: names of the shared classes; `None` if the names of the two data sets mean
            different things, and no class has the same items.
        items: pairs of equal items; `None` if the items cannot be compared.
    """

    classes: list[str] | None
    items: list[str] | None

    def record(self) -> dict[str, int | str]:
        """The numbers of shared classes and items, for the protocol."""
        found = {"classes": self.classes, "items": self.items}
        return {key: "unknown" if names is None else len(names) for key, names in found.items()}


class Training:
    """The training split of an earlier run.

    Its files are looked for where its configuration or, for the same kind of data set, this one
    says. They are never downloaded.

    Args:
        state: the content of a checkpoint of that run.
        config: the configuration that says what is tested.
        folders: the user's config folders.

    Attributes:
        split: its classes; `None` if its data is not here, or has no classes.
        same_names: whether a name stands for the same class in both data sets.
    """

    def __init__(
        self, state: Mapping[str, Any], config: RunConfig, folders: Sequence[Path]
    ) -> None:
        node, tested = state["config"]["data"], config.data
        nodes, same_type = [node], node["_target_"] == tested["_target_"]
        if same_type:
            nodes.append(
                {**node, **{k: tested[k] for k in ("root", "file", "cache") if k in tested}}
            )
        # Classes of ImageNet have the same names in miniImageNet and tieredImageNet.
        published = node["_target_"] == f"{PublishedFolder.__module__}.{PublishedFolder.__name__}"
        self.same_names = same_type and (published or node.get("name") == tested.get("name"))
        found = (_train_split(n, state["trained_on"], folders) for n in nodes)
        self.split = next((split for split in found if split is not None), None)

    def in_(self, tested: Any) -> Seen:
        """What is known of the classes and items of this split."""
        trained = self.split
        if trained is None or not isinstance(tested, Split):
            return Seen(None, None)
        alike = comparable(trained, tested)
        classes = equal_classes(tested, trained) if alike else []
        if self.same_names:
            classes = sorted(set(trained.origins) & set(tested.origins)) or classes
        items = equal_items(tested, trained) if alike else None
        return Seen(classes if classes or self.same_names else None, items)


def _train_split(
    node: Mapping[str, Any], trained_on: Mapping[str, Any], folders: Sequence[Path]
) -> Split | None:
    """The classes of a training; `None` if the data is not here, or is not what was trained on."""
    if cache_mistake(node.get("cache")) is not None:
        return None
    try:
        with no_downloads():
            splits = blueprint("data", node, folders)().load()
    except Refused:
        return None
    train = splits["train"]
    if trained_on.get("train_on", "train") != "train":
        train = joined(train, splits["val"])
    same = train.sha256 == trained_on["train_split_sha256"]
    return train if same and isinstance(train, Split) else None
