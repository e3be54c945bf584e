"""What several tests share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from metarun import cli, testing
from metarun.tasks.sampler import Episodes
from metarun.training import parts

OWN = Path(__file__).parent / "own"
TINY = ["--config-dir", str(OWN), "data=blobs", "debug=tiny", "backbone.filters=8", "threads=1"]


@pytest.fixture(scope="session", autouse=True)
def data_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared data of the tests; the user's own is left alone."""
    home = tmp_path_factory.mktemp("data")
    os.environ["METARUN_DATA"] = str(home)
    os.environ.pop("WANDB_MODE", None)
    return home


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "THREADS", 1)
    torch.set_num_threads(1)


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


def episodes(*args: Any, dtype: torch.dtype = torch.float32, **kwargs: Any) -> Episodes:
    """Random episodes in which a class's items resemble each other, in single precision."""
    return testing.episodes(*args, dtype=dtype, **kwargs)
