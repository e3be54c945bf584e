"""The folders `train`, `val` and `test` of files of the user: splits, or parts of the classes."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

from metarun.data.class_splits import SPLITS
from metarun.data.duplicates import named
from metarun.data.preparation import picture_classes
from metarun.data.preparation.class_folders import Depth, Listing, list_classes, subfolders
from metarun.data.preparation.kinds import Kind
from metarun.errors import Refused

SPLIT_FOLDERS = {  # accepted folder names in lower case → split
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}

log = logging.getLogger(__name__)


def split_folders(root: Path, depth: Depth, kind: Kind, whole: bool) -> dict[str, Listing]:
    """The listing of each split folder; empty if the folders do not define the split.

    A folder `test` alone is a split without training and validation classes.

    Args:
        depth: levels of folders from a split folder down to a class.
        kind: of the files.
        whole: whether the split is defined otherwise, so that all folders hold classes.

    Raises:
        Refused: `root` is no folder, a split folder is missing or has no classes, or a class is in
            two of them.
    """
    splits, others = _named_folders(root, kind)
    if whole or not splits or (len(splits) < 3 and others):
        return {}
    if set(splits) != {"test"} and (missing := [split for split in SPLITS if split not in splits]):
        raise Refused(
            f"data.root={root}: has {' and '.join(splits.values())}, but no "
            f"{' or '.join(missing)}; put all class folders into one folder to split them by "
            "data.fractions, or join classes of the same name with data.join=true"
        )
    if others:
        log.warning("%s: ignored beside train, val and test: %s", root, named(others))
    parts = {split: list_classes(root / name, depth, kind) for split, name in splits.items()}
    counts = Counter(name for part in parts.values() for name in part.classes)
    if repeated := sorted(name for name, times in counts.items() if times > 1):
        raise Refused(
            f"data.root={root}: {len(repeated)} classes in more than one of train, val "
            f"and test ({named(repeated)}); the splits may not share classes: data.join=true joins "
            "them, to split the classes by data.fractions"
        )
    if empty := [split for split, part in parts.items() if not part.classes]:
        mistakes = [line for split in empty for line in parts[split].mistakes]
        raise Refused(
            f"data.root={root}: no classes in {' and '.join(empty)}; {kind.layout}",
            *picture_classes.first(mistakes, root),
        )
    return {split: parts.get(split, Listing(root, kind=kind)) for split in SPLITS}


def joined_folders(root: Path, depth: Depth, kind: Kind) -> Listing:
    """The classes of all split folders, where folders of one name form one class.

    Raises:
        Refused: `root` is no folder, or has no split folders.
    """
    splits, others = _named_folders(root, kind)
    if not splits:
        raise Refused(f"data.join=true: {root} has no folders train, val or test to join")
    if others:
        log.warning("%s: ignored beside train, val and test: %s", root, named(others))
    return list_classes(root, depth, kind, {name: root / name for name in splits.values()})


def _named_folders(root: Path, kind: Kind) -> tuple[dict[str, str], list[str]]:
    """The split folders of `root`, by split, and its other folders.

    Raises:
        Refused: `root` is no folder.
    """
    if not root.is_dir():
        reason = "not a folder" if root.exists() else "no such folder"
        raise Refused(f"data.root={root}: {reason}; {kind.layout}")
    names = subfolders(root)
    splits = {SPLIT_FOLDERS[name.lower()]: name for name in names if name.lower() in SPLIT_FOLDERS}
    return splits, [name for name in names if name not in splits.values()]
