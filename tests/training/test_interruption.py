"""The first signal stops at a safe point, the second one at once."""

from __future__ import annotations

import os
import signal

import pytest

from metarun.errors import Interrupted
from metarun.training.interruption import Stop


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_takes_effect_at_the_next_check(number: int) -> None:
    with Stop() as stop:
        stop.check()
        os.kill(os.getpid(), number)
        assert stop.requested
        with pytest.raises(Interrupted):
            stop.check()


def test_the_second_signal_interrupts_at_once() -> None:
    with Stop():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_handlers_are_restored() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Stop():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_except_exception_does_not_catch_an_interruption() -> None:
    assert not issubclass(Interrupted, Exception)
