"""What several tests share."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from metarun import cli, testing
from metarun.algorithms import Learner
from metarun.tasks.task import Task
from metarun.training import loop, parts
from metarun.training.gradient import accumulate

OWN = Path(__file__).parent / "own"
TINY = ["--config-dir", str(OWN), "data=blobs", "debug=tiny", "backbone.filters=8", "threads=1"]


@pytest.fixture(scope="session", autouse=True)
def data_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared data of the tests, shared by their processes; the user's own is left alone."""
    folder = tmp_path_factory.getbasetemp()
    home = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "data"
    home.mkdir(exist_ok=True)
    os.environ["METARUN_DATA"] = str(home)
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        del os.environ[name]
    return home


@pytest.fixture(scope="session", autouse=True)
def hangup() -> None:
    """The tests may run under nohup, which ignores the signal."""
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "THREADS", 1)
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def no_wait_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny run flushes 35 files. Processes that tests start, as in `faults`, do so."""
    monkeypatch.setattr(os, "fsync", lambda file: None)


@pytest.fixture(autouse=True)
def no_ink(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made and written, but not drawn, which takes longer than a tiny run.

    Tests of the pictures themselves are marked `ink`.
    """
    if not request.node.get_closest_marker("ink"):
        blank(monkeypatch)


def blank(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for a fixture that several tests share, which is made before `no_ink`."""

    def savefig(figure: Figure, file: BinaryIO, **_: Any) -> None:
        Image.new("RGB", (1, 1)).save(file, "PNG")

    monkeypatch.setattr(Figure, "savefig", savefig)


@pytest.fixture
def metarun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, list[str]]]:
    """Runs a command in an empty folder: exit code, standard output, lines on standard error."""
    monkeypatch.chdir(tmp_path)

    def call(*argv: str) -> tuple[int, str, list[str]]:
        capsys.readouterr()
        code = cli.main(argv)
        out, err = capsys.readouterr()
        return code, out, err.splitlines()

    return call


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of `TINY`, which tests do not change."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        blank(patch)
        assert cli.main([*TINY, "out=run"]) == 0
    return folder / "run"


@pytest.fixture
def run(
    metarun: Callable[..., tuple[int, str, list[str]]], finished: Path
) -> Callable[..., tuple[int, str, list[str]]]:
    """`metarun` in a folder that contains a finished run of `TINY`, `run`."""
    shutil.copytree(finished, "run")
    return metarun


def tasks(*args: Any, dtype: torch.dtype = torch.float32, **kwargs: Any) -> list[Task]:
    """Random tasks in which a class's items resemble each other, in single precision."""
    return testing.tasks(*args, dtype=dtype, **kwargs)


def before_each_step(patch: pytest.MonkeyPatch, act: Callable[[int], None]) -> None:
    """Call `act` with 1, 2, … before the outer steps of runs."""
    original, calls = loop.accumulate, []

    def counted(learner: Learner, given: Sequence[Task], seed: int) -> list[dict[str, Tensor]]:
        calls.append(1)
        act(len(calls))
        return original(learner, given, seed)

    patch.setattr(loop, "accumulate", counted)


def signal_in_step(patch: pytest.MonkeyPatch, step: int, number: int = signal.SIGINT) -> None:
    """Send this process a signal in that outer step."""
    before_each_step(patch, lambda now: os.kill(os.getpid(), number) if now == step else None)


def scores_of(learner: Learner, given: Sequence[Task], seed: int = 0) -> dict[str, Tensor]:
    """The scores of each task, each (T), while the meta-gradient is added to `.grad`."""
    found = accumulate(learner, given, seed)
    return {name: torch.stack([scores[name] for scores in found]) for name in found[0]}
