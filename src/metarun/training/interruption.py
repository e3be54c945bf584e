"""Delays the signals that end a process until the state of a run can be saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

from metarun.errors import Interrupted

HANGUP = getattr(
    signal, "SIGHUP", None
)  # the terminal or the connection was closed; not on Windows
HEEDED = {signal.SIGINT, signal.SIGTERM, *({HANGUP} - {None})}


@contextmanager
def handling(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """While entered, call `handle` for Ctrl-C, SIGTERM and, unless `nohup` ignores it, SIGHUP."""
    previous = {}
    if threading.current_thread() is threading.main_thread():  # only it can set handlers
        for number in HEEDED:
            if number != HANGUP or signal.getsignal(number) != signal.SIG_IGN:
                previous[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class Stop(ExitStack):
    """A context in which the first signal sets `requested` and a second one interrupts at once.

    A second SIGHUP has no effect: when a connection is lost, the shell and the kernel both send it.
    Call `check` where it is safe to stop.
    """

    requested = False

    def __enter__(self) -> Stop:
        self.enter_context(handling(self._note))
        return self

    def check(self) -> None:
        """Raise `Interrupted` if a signal has arrived."""
        if self.requested:
            raise Interrupted

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number != HANGUP:
            raise KeyboardInterrupt
        self.requested = True
