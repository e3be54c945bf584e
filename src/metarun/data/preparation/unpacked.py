"""Folders into which an archive was unpacked, as different programs do it."""

from __future__ import annotations

import os
from collections.abc import Container
from pathlib import Path

from metarun.data.preparation.kinds import is_visible


def unpacked(path: str | Path, archives: Container[str] = ()) -> Path:
    """The folder that `path` means, with `~` expanded.

    Windows unpacks `a.zip`, which holds a folder `a`, as `a/a`: the inner one is meant.

    Args:
        archives: names of folders in a root. If `path` is one of them, its parent is meant.
    """
    folder = Path(path).expanduser()
    while folder.name in archives and folder.is_dir():
        folder = folder.parent
    try:
        while [entry.name for entry in os.scandir(folder) if is_visible(entry)] == [folder.name]:
            folder = folder / folder.name
    except OSError:  # not a folder, or not readable: whoever reads it reports the error
        pass
    return folder
