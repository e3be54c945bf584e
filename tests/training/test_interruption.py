"""The first signal stops at a safe point, the second one at once."""

from __future__ import annotations

import os
import signal

import pytest

from metarun.errors import Interrupted
from metarun.training.interruption import Stop


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
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


def test_a_second_sighup_changes_nothing() -> None:
    """The shell and the kernel both send it when a connection is lost."""
    with Stop() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop.requested


def test_a_sighup_that_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Stop() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.requested
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_handlers_are_restored(number: int) -> None:
    before = signal.getsignal(number)
    with Stop():
        assert signal.getsignal(number) != before
    assert signal.getsignal(number) == before


def test_except_exception_does_not_catch_an_interruption() -> None:
    assert not issubclass(Interrupted, Exception)
