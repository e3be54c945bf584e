"""The first signal is a request, the second an order."""

from __future__ import annotations

import os
import signal

import pytest

from metarun.errors import Interrupted
from metarun.training.interruption import Stop


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_waits_for_a_safe_moment(number: int) -> None:
    with Stop() as stop:
        stop.check()
        os.kill(os.getpid(), number)
        assert stop.asked
        with pytest.raises(Interrupted):
            stop.check()


def test_the_second_signal_interrupts_at_once() -> None:
    with Stop():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Stop():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_it_passes_through_code_that_catches_exceptions() -> None:
    assert not issubclass(Interrupted, Exception)
