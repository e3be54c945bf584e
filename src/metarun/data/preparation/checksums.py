"""MD5s of source files, by which a cache knows what it was made from; each file is read once."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
from collections.abc import Iterable
from pathlib import Path

from metarun.errors import Refused
from metarun.files import write_whole

NOTES = "metarun_sources.json"
log = logging.getLogger(__name__)

MD5 = functools.partial(hashlib.md5, usedforsecurity=False)


class Checksums:
    """MD5s of files, noted with their size and time in `folder`, beside the prepared array.

    MD5 is what the data sets publish. It tells an official file from another one by mistake, not
    from a forgery.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NOTES
        self.noted: dict[str, list[object]] = {}
        with contextlib.suppress(OSError, ValueError, AttributeError):
            known = json.loads(self.path.read_bytes())
            self.noted = {p: n for p, n in known.items() if isinstance(n, list) and len(n) == 3}
        self.changed = False

    def of(self, file: Path) -> str:
        """The MD5 of `file`, in hexadecimal.

        Raises:
            Refused: the file cannot be read.
        """
        try:
            stat, name = file.stat(), str(file.absolute())
            stamp = [stat.st_size, stat.st_mtime_ns]
            if name not in self.noted or self.noted[name][:2] != stamp:
                with file.open("rb") as stream:
                    md5 = hashlib.file_digest(stream, MD5).hexdigest()
                self.noted[name], self.changed = [*stamp, md5], True
            return str(self.noted[name][2])
        except OSError as error:
            raise Refused(f"{file}: cannot be read ({error.strerror or error})") from error

    def keep(self, used: Iterable[Path]) -> None:
        """Note the MD5s of the files `used`, once the data set made from them is in the cache.

        What cannot be noted is computed again next time.
        """
        names = {str(file.absolute()) for file in used}
        current = {name: note for name, note in self.noted.items() if name in names}
        if self.changed:
            with contextlib.suppress(OSError):
                write_whole(self.path, json.dumps(current, indent=1))


def warn_of(root: Path, files: str) -> None:
    """Say that files which are prepared all the same are not the official `files`."""
    text = "not the official %s (other MD5s); figures on them compare with no published ones"
    log.warning(f"data.root=%s: {text}", root, files)
