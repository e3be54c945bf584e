"""Jobs that need nothing of metarun, so that a process imports them fast."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace


@dataclass(frozen=True)
class Call:
    """A job that writes its process into a file, waits, and writes how it has ended."""

    number: int
    folder: Path
    seconds: float = 0

    @property
    def sweep(self) -> SimpleNamespace:
        return SimpleNamespace(folder=self.folder)

    def __call__(self) -> int:
        file = self.folder / str(self.number)
        file.write_text(f"{os.getpid()}")
        try:
            if self.seconds < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(self.seconds)
        except KeyboardInterrupt:
            time.sleep(0.3)  # a second request to stop would end it here
            file.write_text(f"{os.getpid()} saved")
            raise
        return self.number % 2


class Unreadable(Call):
    """A job that a process cannot read, as one whose code is not found there."""

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return int, ("not a number",)
