"""A file of JSON lines that processes append to, whatever ends one of them: Optuna's journal.

Optuna's own lock is a file that outlives a killed process, and the next one waits for it. This one
is the operating system's, which ends with the process. Nothing in the file is code.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from metarun.errors import Refused
from metarun.files import read_whole

LARGEST = 2**28  # bytes that are read: a million validations


def opened(file: Path, lock: FileLock) -> Any:
    """The journal as Optuna's storage; `lock` is held for each line that is added.

    Raises:
        Refused: it is damaged; it stays as it is.
    """
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    with lock:
        if file.exists():
            _mend(file)
            _check_lines(file)
        return JournalStorage(JournalFileBackend(str(file), _Lock(lock, file)))


def _check_lines(file: Path) -> None:
    """Refuse a journal with a line that nothing could have written whole.

    Optuna would pass over a damaged last line, and fail for good once another one follows it.
    """
    for number, line in enumerate(read_whole(file, LARGEST).splitlines(), 1):
        try:
            sound = isinstance(json.loads(line), dict)
        except (ValueError, RecursionError):
            sound = False
        if not sound:
            raise Refused(
                f"{file}: line {number} is damaged: the search cannot go on from it; its runs "
                "are whole, and a new search can begin in another folder"
            )


def _mend(file: Path, block: int = 4096) -> None:
    """Drop the beginning of a last line that a kill or a full disk cut short. Needs the lock."""
    with open(os.open(file, os.O_RDWR | getattr(os, "O_NONBLOCK", 0)), "r+b") as journal:
        end = kept = journal.seek(0, os.SEEK_END)
        while kept > 0:
            start = max(0, kept - block)
            journal.seek(start)
            last = journal.read(kept - start).rfind(b"\n")
            kept = start + last + 1 if last >= 0 else start
            if last >= 0:
                break
        if kept < end:
            journal.truncate(kept)
            journal.flush()
            os.fsync(journal.fileno())


class _Lock:
    """The lock that Optuna's journal takes for each line; whoever has it mends the last one."""

    def __init__(self, lock: FileLock, file: Path) -> None:
        self.lock, self.file = lock, file

    def acquire(self) -> bool:
        try:
            self.lock.acquire()
        except Timeout as error:
            raise OSError(0, "another process does not let go of its lock", self.file) from error
        try:
            _mend(self.file)
        except BaseException:
            self.lock.release()
            raise
        return True

    def release(self) -> None:
        self.lock.release()
