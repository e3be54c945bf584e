"""Optuna's journal, a file of JSON lines, with a lock that a killed process does not keep.

Optuna's own lock file stays after its process was killed, and other processes wait for it. The
operating system releases the lock used here. Reading the journal runs no code.
"""

from __future__ import annotations

import json
import os
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from metarun.errors import Refused
from metarun.files import read_whole

MAX_BYTES = 2**28  # about a million validations


def open_journal(file: Path, lock: FileLock) -> Any:
    """Open the journal as Optuna storage, which holds `lock` while it appends a line.

    The caller holds the lock.

    Raises:
        Refused: a line of the journal is damaged; the file is not changed.
    """
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    if file.exists():
        _drop_incomplete_line(file)
        _check_lines(file)
    return JournalStorage(JournalFileBackend(str(file), _Lock(lock, file)))


def _check_lines(file: Path) -> None:
    """Check that each line is a JSON object.

    Optuna skips a damaged last line, but can no longer read the journal once another line follows.

    Raises:
        Refused: a line is not a JSON object.
    """
    for number, line in enumerate(read_whole(file, MAX_BYTES).splitlines(), 1):
        try:
            valid = isinstance(json.loads(line), dict)
        except (ValueError, RecursionError):
            valid = False
        if not valid:
            raise Refused(
                f"{file}: line {number} is damaged: the search cannot be resumed; its runs are "
                "intact; start a new search in another folder"
            )


def _drop_incomplete_line(file: Path) -> None:
    """Remove an incomplete last line, left by a kill or a full disk. The caller holds the lock."""
    with open(os.open(file, os.O_RDWR | getattr(os, "O_NONBLOCK", 0)), "r+b") as journal:
        if (end := journal.seek(0, os.SEEK_END)) == 0:
            return
        with mmap(journal.fileno(), 0, access=ACCESS_READ) as content:
            complete = content.rfind(b"\n") + 1
        if complete < end:
            journal.truncate(complete)
            journal.flush()
            os.fsync(journal.fileno())


class _Lock:
    """The lock that Optuna takes for each line; taking it removes an incomplete last line."""

    def __init__(self, lock: FileLock, file: Path) -> None:
        self.lock, self.file = lock, file

    def acquire(self) -> bool:
        try:
            self.lock.acquire()
        except Timeout as error:
            raise OSError(0, "another process holds its lock", self.file) from error
        try:
            _drop_incomplete_line(self.file)
        except BaseException:
            self.lock.release()
            raise
        return True

    def release(self) -> None:
        self.lock.release()
