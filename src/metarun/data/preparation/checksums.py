"""MD5 sums of source files, which identify the source of a cached data set."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
from collections.abc import Iterable
from pathlib import Path

from metarun.errors import refusing_os_errors
from metarun.files import read_whole, write_whole

NOTES = "metarun_sources.json"
MAX_BYTES = 2**20
log = logging.getLogger(__name__)

MD5 = functools.partial(hashlib.md5, usedforsecurity=False)


class Checksums:
    """MD5 sums of files, cached in `folder` with file size and modification time.

    The data sets publish MD5 sums. These detect accidental differences from the official files, but
    not forgeries.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NOTES
        self.records: dict[str, list[object]] = {}  # path → [size, modification time, MD5]
        with contextlib.suppress(OSError, ValueError, AttributeError, RecursionError):
            stored = json.loads(read_whole(self.path, MAX_BYTES))
            self.records = {p: r for p, r in stored.items() if isinstance(r, list) and len(r) == 3}
        self.changed = False

    def of(self, file: Path) -> str:
        """The MD5 sum of `file` in hexadecimal.

        Raises:
            Refused: the file cannot be read.
        """
        with refusing_os_errors(file):
            stat, name = file.stat(), str(file.absolute())
            stamp = [stat.st_size, stat.st_mtime_ns]
            if name not in self.records or self.records[name][:2] != stamp:
                with file.open("rb") as stream:
                    md5 = hashlib.file_digest(stream, MD5).hexdigest()
                self.records[name], self.changed = [*stamp, md5], True
            return str(self.records[name][2])

    def keep(self, used: Iterable[Path]) -> None:
        """Store the MD5 sums of the files `used`; to be called when the data set is cached.

        If they cannot be stored, they are computed again next time.
        """
        names = {str(file.absolute()) for file in used}
        current = {name: record for name, record in self.records.items() if name in names}
        if self.changed:
            with contextlib.suppress(OSError):
                write_whole(self.path, json.dumps(current, indent=1))


def warn_of(root: Path, files: str) -> None:
    """Warn that the accepted files in `root` are not the official `files`."""
    text = "not the official %s (other MD5 sums); results are not comparable with published ones"
    log.warning(f"data.root=%s: {text}", root, files)
