"""Checkpoints hold plain things, are whole or not there, and run nothing when read."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch

from metarun import checkpoint
from metarun.errors import Refused

STATE = {"step": 3, "learner": {"w": torch.arange(4.0)}, "best": None, "recent": [{"loss": 0.5}]}


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "a" / "last.pt", STATE)
    found = checkpoint.load(tmp_path / "a" / "last.pt")
    assert torch.equal(found.pop("learner")["w"], STATE["learner"]["w"])
    assert found == {"format": 1, "step": 3, "best": None, "recent": [{"loss": 0.5}]}


def test_a_write_that_fails_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.pt"
    checkpoint.save(path, STATE)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(path, {**STATE, "step": 4})
    assert checkpoint.load(path)["step"] == 3
    assert list(tmp_path.iterdir()) == [path]


def test_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    checkpoint.save(path, STATE)
    data = path.read_bytes()
    for broken in (b"", data[: len(data) // 2], b"not a checkpoint"):
        path.write_bytes(broken)
        with pytest.raises(Refused, match=r"last\.pt: damaged"):
            checkpoint.load(path)
    torch.save({"weights": 1}, path)
    with pytest.raises(Refused, match="checkpoint format None; this metarun reads format 1"):
        checkpoint.load(path)
    path.unlink()
    with pytest.raises(Refused, match="no such checkpoint"):
        checkpoint.load(path)


def test_a_strangers_file_runs_no_code(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "sprung"),)

    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Trap()))
    torch.save({"format": 1, "learner": Trap()}, tmp_path / "zip.pt")
    for name in ("raw.pt", "zip.pt"):
        with pytest.raises(Refused, match="damaged, or not a metarun checkpoint"):
            checkpoint.load(tmp_path / name)
    assert not (tmp_path / "sprung").exists()
