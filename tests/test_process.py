"""What a command prints never ends it."""

from __future__ import annotations

import io
import os
import sys

import pytest

from metarun.process import print_anything

pty = pytest.importorskip("pty", reason="needs terminals of POSIX")


def test_output_to_a_closed_terminal_is_discarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that `nohup` or `disown` protects trains on after its connection is lost."""
    screen, terminal = pty.openpty()
    with open(terminal, "w", encoding="ascii") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        print_anything()
        print("57 ± 3 %")
        assert os.read(screen, 100) == b"57 ? 3 %\r\n"
        assert sys.stdout.isatty()
        os.close(screen)
        print("more" * 10_000)
        print("an error", file=sys.stderr)
        monkeypatch.undo()


def test_characters_that_cannot_be_encoded_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(file, "ascii"))
    print_anything()
    print("57 ± 3 %", flush=True)
    assert file.getvalue() == b"57 ? 3 %\n"
