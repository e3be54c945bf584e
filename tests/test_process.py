"""What a command prints never ends it."""

from __future__ import annotations

import io
import logging
import os
import sys

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from metarun import cli
from metarun.process import print_anything, replacing_characters, set_up

pty = pytest.importorskip("pty", reason="needs terminals of POSIX")


COMMANDS = (["--cfg", "job"], ["shots=none"], ["list", "algo"], ["-m", "shots=none,no", "out=x"])


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("value", [None, "", "0"])
def test_a_call_from_python_restores_what_it_changes(
    monkeypatch: pytest.MonkeyPatch, words: list[str], value: str | None
) -> None:
    """With or without values of the caller; an empty METARUN_DATA counts as none."""
    for name in ("HYDRA_FULL_ERROR", "WANDB_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    if value == "":
        monkeypatch.setenv("METARUN_DATA", "")
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None
    environment, levels = dict(os.environ), log_levels()
    cli.main(words)
    assert dict(os.environ) == environment
    assert log_levels() == levels
    assert not GlobalHydra.instance().is_initialized()
    assert not HydraConfig.initialized()


def log_levels() -> list[int]:
    names = ("metarun", "matplotlib")
    return [logging.raiseExceptions, *(logging.getLogger(name).level for name in names)]


def test_a_variable_that_is_set_meanwhile_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_CACHE_DIR", raising=False)
    with set_up():
        os.environ["WANDB_CACHE_DIR"] = "x"
    assert "WANDB_CACHE_DIR" not in os.environ


def test_a_caller_that_uses_hydra_itself_is_not_disturbed() -> None:
    with hydra.initialize(config_path=None, version_base="1.2"):
        own = GlobalHydra.instance().hydra
        cli.main(["--cfg", "job"])
        assert GlobalHydra.instance().hydra is own
        assert hydra.compose(overrides=["+a=1"]) == {"a": 1}


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


def test_they_are_not_replaced_any_more_after_a_call_from_python(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(file, "ascii"))
    with replacing_characters():
        print("57 ± 3 %", flush=True)
    assert file.getvalue() == b"57 ? 3 %\n"
    with pytest.raises(UnicodeEncodeError):
        print("±")
