"""`metarun clean [data=NAME …] [DIR …]`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from metarun.config.command_line import Request, expand
from metarun.errors import Mistakes, Refused, refusing_os_errors, say

if TYPE_CHECKING:
    from metarun.data.preparation.cached_files import Prepared


def run(request: Request) -> int:
    """Delete the prepared arrays of data sets or below folders; without arguments, list them.

    Original files are kept. The arrays are prepared again when a run needs them.
    """
    from rich.filesize import decimal

    from metarun.data import locations
    from metarun.data.preparation import cached_files

    request.accept("--config-dir")
    config_dir = request.flags.config_dir
    if not request.words:
        for line in locations.cache_lines(locations.all_keys(config_dir), time.time()):
            say(line)
        say("nothing was deleted: name what to delete: metarun clean data=NAME, or clean DIR")
        return 0
    mistakes, found = Mistakes(), {}
    for word in request.words:
        chosen = mistakes.catch(_find, word, config_dir) or []
        found |= {prepared.folder.resolve(): prepared for prepared in chosen}
        if word.startswith("data=") and not chosen and not mistakes.lines:
            say(f"{word}: nothing is prepared")
    for folder in found:
        mistakes.catch(_check_unused, folder)
    mistakes.settle()
    for folder in found:
        cached_files.delete(folder)
    for line in locations.prepared_lines(list(found.values()), None, time.time()):
        say(line)
    say(f"deleted: {decimal(sum(prepared.bytes for prepared in found.values()))}")
    return 0


def _find(word: str, config_dir: str | None) -> list[Prepared]:
    """The prepared data sets that an argument names.

    Raises:
        Refused: it names no data set, or a folder without a prepared data set.
    """
    from metarun.data.preparation import cached_files

    key, equals, name = word.partition("=")
    if key == "data" and equals:
        return _of_choice(name, config_dir)
    folder = expand(word, word)
    if not folder.is_dir() or folder.is_symlink():
        reason = "is a link" if folder.is_symlink() else "no such folder"
        raise Refused(f"{word}: {reason}; clean takes data=NAME, and folders that metarun prepared")
    with refusing_os_errors(word):
        if found := list(cached_files.find(folder)):
            return found
    raise Refused(f"{word}: holds nothing that metarun prepared; metarun clean lists what does")


def _of_choice(name: str, config_dir: str | None) -> list[Prepared]:
    from metarun.config.groups import files
    from metarun.config.overrides import nearest
    from metarun.data import locations

    offered = files("data", config_dir)
    if (file := offered.get(name)) is None:
        hint = nearest(name, offered)
        raise Refused(f"data={name}: no such choice{hint} ({', '.join(offered)})")
    return locations.prepared_of(file, locations.all_keys(config_dir)[name])


def _check_unused(folder: Path) -> None:
    from metarun.data.preparation import cached_files

    with cached_files.unused(folder):
        pass
