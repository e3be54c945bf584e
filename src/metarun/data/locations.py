"""Source and cache folders of data sets, and the size of their content.

Only the YAML files of the data sets are read; no data set is instantiated.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.filesize import decimal
from yaml import YAMLError

from metarun.config.groups import conf_dir, files
from metarun.data.preparation import cached_files

MOST = 10_000  # maximum number of files counted in a folder


def keys(file: Path, base: DictConfig) -> dict[str, str | None]:
    """The keys `root`, `file` and `cache` of a data set's YAML file, if any, as absolute paths.

    Args:
        base: config that the interpolations in the file refer to, e.g. `data_home`.
    """
    try:
        text = file.read_text("utf-8-sig")
        content = OmegaConf.create(text)
        is_global = any(line.startswith("# @package _global_") for line in text.splitlines())
        node = OmegaConf.merge(base, content if is_global else {"data": content}).data
        places = {key: node[key] for key in ("root", "file", "cache") if key in node}
    except (OSError, ValueError, AttributeError, TypeError, YAMLError, OmegaConfBaseException):
        return {}  # a run with this data set reports the error
    return {
        key: os.path.abspath(os.path.expanduser(place)) if isinstance(place, str) else None
        for key, place in places.items()
    }


def all_keys(config_dir: str | None) -> dict[str, dict[str, str | None]]:
    """The result of `keys` for each data set, by its name."""
    base = OmegaConf.load(conf_dir() / "config.yaml")
    offered = files("data", config_dir)
    return {name: keys(file, base) for name, file in offered.items() if file}


def prepared_of(file: Path, places: Mapping[str, str | None]) -> list[cached_files.Prepared]:
    """The prepared arrays of the data set with this YAML file.

    Their folder has the name of the file, of its key `name`, or of the module of its target. The
    last may be that of several data sets, with a subfolder for each root.

    Args:
        places: the result of `keys` for the file.
    """
    cache, root = places.get("cache"), places.get("root")
    content = OmegaConf.load(file)
    node = content.get("data", content)
    own = {file.stem, node.get("name")}
    module = str(node.get("_target_")).split(".")[-2:][0]
    found = []
    with contextlib.suppress(FileNotFoundError):
        for prepared in cached_files.find(Path(cache)) if cache else ():
            name, *below = prepared.folder.relative_to(cache).parts or ("",)
            is_shared = bool(below) and root and prepared.root != os.path.realpath(root)
            if name in own or (name == module and not is_shared):
                found.append(prepared)
    return found


def root_line(root: str | None) -> str:
    """One line: the root of a data set and its size."""
    return f"root {short(root)}: {present(root)}" if root else "root: named by data.root=DIR"


def cache_lines(paths: Mapping[str, Mapping[str, str | None]], now: float) -> Iterator[str]:
    """The prepared data sets in each cache folder: total size, and a line for each.

    Args:
        paths: the result of `all_keys`.
        now: seconds since 1970.
    """
    for cache in dict.fromkeys(filter(None, (keys.get("cache") for keys in paths.values()))):
        try:
            found = list(cached_files.find(Path(cache)))
        except OSError:
            yield f"prepared, in {short(cache)}: {present(cache)}"
            continue
        total = decimal(sum(p.bytes for p in found)) if found else "nothing yet"
        yield f"prepared, in {short(cache)}: {total}"
        yield from prepared_lines(found, Path(cache), now)


def prepared_lines(
    found: Sequence[cached_files.Prepared], cache: Path | None, now: float
) -> Iterator[str]:
    """A line for each prepared data set: folder, size, age, and root of the original files.

    Args:
        cache: the paths are shown relative to this folder.
        now: seconds since 1970.
    """
    rows = [
        (
            short(str(p.folder.relative_to(cache) if cache else p.folder)),
            decimal(p.bytes),
            _age(now - p.modified),
            f"from {short(p.root)}" if p.root else "",
        )
        for p in found
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        yield f"  {'  '.join(cells)}".rstrip()


def _age(seconds: float) -> str:
    """`3 days old`, in the largest unit that fits."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if (number := int(seconds // length)) > 0:
            return f"{number} {unit}{'s' * (number > 1)} old"
    return "new"


def present(path: str) -> str:
    """Size of a file or folder as text: `1.2 MB`, `nothing yet`, or why it cannot be read."""
    try:
        size, more = measure(path)
    except FileNotFoundError:
        return "nothing yet"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    if not size:  # empty lock files do not count
        return "nothing yet"
    return "more than " * more + decimal(size)


def measure(path: str) -> tuple[int, bool]:
    """Bytes of a file, or of all files below a folder, and whether some were not counted.

    Links in the folder are not followed.

    Raises:
        OSError: the path is missing or cannot be opened.
    """
    if not os.path.isdir(path):
        return os.stat(path).st_size, False
    total = files = 0
    more, pending = False, [os.scandir(path)]
    while pending:
        with pending.pop() as entries:
            for entry in entries:
                try:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(os.scandir(entry.path))
                    elif entry.is_file(follow_symlinks=False):
                        total, files = total + entry.stat(follow_symlinks=False).st_size, files + 1
                except OSError:
                    more = True
                if files >= MOST:
                    for opened in pending:
                        opened.close()
                    return total, True
    return total, more


def short(path: str) -> str:
    """The path with the home folder written as `~`."""
    home = str(Path.home())
    return f"~{path[len(home) :]}" if path == home or path.startswith(home + os.sep) else path
