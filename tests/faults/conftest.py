"""Short runs without pictures, and their comparison, for all tests of faults."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metarun import cli
from metarun.plots import curves, tested
from metarun.runs import checkpoint
from tests.conftest import TINY, signal_in_step

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import kill_and_resume

kill_and_resume.STARTING.set_forkserver_preload(
    [*kill_and_resume.PRELOADED, "pytest", "tests.faults.killing"]
)
SHORT = [*TINY, "test_episodes=4", "eval_every=1", "optimizer.schedule=cosine"]


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not draw pictures, which would take most of the time."""
    monkeypatch.setattr(curves, "draw_curves", lambda *_: None)
    monkeypatch.setattr(tested, "draw_tested", lambda *_: None)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the run `whole` and the same run `part`, stopped after 3 of 4 steps."""
    folder, before = tmp_path_factory.mktemp("made"), Path.cwd()
    os.chdir(folder)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(curves, "draw_curves", lambda *_: None)
            patch.setattr(tested, "draw_tested", lambda *_: None)
            assert cli.main([*SHORT, "out=whole"]) == 0
            signal_in_step(patch, 3)
            assert cli.main([*SHORT, "out=part"]) == 130
    finally:
        os.chdir(before)
    assert checkpoint.load_state(folder / "part/checkpoints/last.pt")["step"] == 3
    yield folder


@pytest.fixture
def part(made: Path, metarun: Callable[..., Any]) -> Path:
    """A copy of `part` in the folder of the test, to be damaged."""
    shutil.copytree(made / "part", "part")
    return Path("part")


def assert_same(a: Path, b: Path) -> None:
    """Same weights, metrics and figures to the last bit."""
    assert kill_and_resume.differences(a, b) == []
