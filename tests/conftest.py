"""What several tests share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from metarun import cli
from metarun.episodes import Episodes

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
def one_thread() -> None:
    torch.set_num_threads(1)


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


def episodes(
    tasks: int = 2,
    ways: int = 3,
    shots: int = 2,
    queries: int = 4,
    shape: tuple[int, ...] = (1, 28, 28),
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Episodes:
    """Random episodes in which a class's items resemble each other."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, 1, (tasks, ways, 1, *shape))
    x = centres + rng.normal(0, 0.3, (tasks, ways, shots + queries, *shape))
    y = np.tile(np.arange(ways)[None, :, None], (tasks, 1, shots + queries))
    parts = (x[:, :, :shots], y[:, :, :shots], x[:, :, shots:], y[:, :, shots:])
    sx, sy, qx, qy = (torch.from_numpy(a.reshape(tasks, -1, *a.shape[3:]).copy()) for a in parts)
    classes = torch.from_numpy(np.stack([rng.permutation(10)[:ways] for _ in range(tasks)]))
    return Episodes(sx.to(dtype), sy, qx.to(dtype), qy, classes)
