"""The folders `train`, `val` and `test` of a set of pictures, if these define its split."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

from metarun.data.class_splits import SPLITS
from metarun.data.duplicates import named
from metarun.data.preparation import picture_classes
from metarun.data.preparation.class_folders import LAYOUT, Listing, list_classes, subfolders
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


def split_folders(root: Path, depth: int, whole: bool) -> dict[str, Listing]:
    """The listing of each split folder; empty if the folders do not define the split.

    Args:
        depth: levels of folders from a split folder down to a class.
        whole: whether the split is defined otherwise, so that all folders hold classes.

    Raises:
        Refused: `root` is no folder, a split folder is missing or has no classes, or a class is in
            two of them.
    """
    if not root.is_dir():
        reason = "not a folder" if root.exists() else "no such folder"
        raise Refused(f"data.root={root}: {reason}; {LAYOUT}")
    names = subfolders(root)
    splits = {SPLIT_FOLDERS[name.lower()]: name for name in names if name.lower() in SPLIT_FOLDERS}
    if whole or not splits or (len(splits) < 3 and len(names) > len(splits)):
        return {}
    if missing := [split for split in SPLITS if split not in splits]:
        raise Refused(
            f"data.root={root}: has {' and '.join(splits.values())}, but no "
            f"{' or '.join(missing)}; put all class folders into one folder to split them by "
            "data.fractions"
        )
    if others := [name for name in names if name not in splits.values()]:
        log.warning("%s: ignored beside train, val and test: %s", root, named(others))
    parts = {split: list_classes(root / splits[split], depth) for split in SPLITS}
    counts = Counter(name for part in parts.values() for name in part.classes)
    if repeated := sorted(name for name, times in counts.items() if times > 1):
        raise Refused(
            f"data.root={root}: {len(repeated)} classes in more than one of train, val "
            f"and test ({named(repeated)}); the splits may not share classes: put all pictures "
            "of a class into DIR/class to split the classes by data.fractions"
        )
    if empty := [split for split, part in parts.items() if not part.classes]:
        mistakes = [line for split in empty for line in parts[split].mistakes]
        raise Refused(
            f"data.root={root}: no classes in {' and '.join(empty)}; {LAYOUT}",
            *picture_classes.first(mistakes, root),
        )
    return parts
