"""Where data sets look for their files and keep what they prepared, and what is there already.

Read from the files of the choices alone: nothing is built, so it takes milliseconds.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

MOST = 10_000  # files of one folder that are counted


class Size(NamedTuple):
    """What a folder holds, all below it included; `more`: at least that."""

    bytes: int
    files: int
    more: bool = False

    def __str__(self) -> str:
        unit = next(u for u in (10**9, 10**6, 10**3, 1) if self.bytes >= u or u == 1)
        name = {10**9: "GB", 10**6: "MB", 10**3: "kB", 1: "bytes"}[unit]
        amount = f"{self.bytes / unit:.1f} {name}" if unit > 1 else f"{self.bytes} bytes"
        return f"more than {amount}" if self.more else amount


def keys(file: Path, base: DictConfig) -> dict[str, str | None]:
    """`root` and `cache` in the file of a data set, those that it has; resolved, `~` and all.

    Args:
        base: what the file's interpolations refer to; its `data_home` is the user's.
    """
    try:
        text = file.read_text("utf-8")
        own = OmegaConf.create(text)
        whole = any(line.startswith("# @package _global_") for line in text.splitlines())
        node = OmegaConf.merge(base, own if whole else {"data": own}).data
        found = {key: node[key] for key in ("root", "cache") if key in node}
    except (OSError, ValueError, AttributeError, TypeError, YAMLError, OmegaConfBaseException):
        return {}  # a run that chooses it will say what is wrong
    return {
        key: os.path.abspath(os.path.expanduser(place)) if isinstance(place, str) else None
        for key, place in found.items()
    }


def root_line(root: str | None) -> str:
    """A data set's root and what is there."""
    return f"root {short(root)}: {present(root)}" if root else "root: named by data.root=DIR"


def cache_lines(caches: Iterable[str]) -> Iterator[str]:
    """For each cache folder, what is kept there: a folder for each data set."""
    for cache in dict.fromkeys(caches):
        try:
            folders = sorted(e.name for e in os.scandir(cache) if e.is_dir())
            held = [f"{name} {present(os.path.join(cache, name))}" for name in folders]
            yield f"prepared, in {short(cache)}: {', '.join(held) or 'nothing yet'}"
        except OSError:
            yield f"prepared, in {short(cache)}: {present(cache)}"


def present(path: str) -> str:
    """The size of a file or folder in words."""
    try:
        size = measure(path)
    except FileNotFoundError:
        return "nothing yet"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    return str(size) if size.bytes else "nothing yet"  # a lock file is nothing


def measure(path: str) -> Size:
    """The size of a file, or of all files below a folder, as far as they can be read.

    Links inside the folder are not followed.

    Raises:
        OSError: it is not there or cannot be opened.
    """
    if not os.path.isdir(path):
        return Size(os.stat(path).st_size, 1)
    total = files = 0
    more, left = False, [os.scandir(path)]
    while left:
        with left.pop() as entries:
            for entry in entries:
                try:
                    if entry.is_dir(follow_symlinks=False):
                        left.append(os.scandir(entry.path))
                    elif entry.is_file(follow_symlinks=False):
                        total, files = total + entry.stat(follow_symlinks=False).st_size, files + 1
                except OSError:
                    more = True
                if files >= MOST:
                    for opened in left:
                        opened.close()
                    return Size(total, files, True)
    return Size(total, files, more)


def short(path: str) -> str:
    """The path with one's home as `~`."""
    home = str(Path.home())
    return f"~{path[len(home) :]}" if path == home or path.startswith(home + os.sep) else path
