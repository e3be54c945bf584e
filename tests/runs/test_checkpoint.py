"""Checkpoints hold plain data, are written atomically and execute no code when read."""

from __future__ import annotations

import hashlib
import os
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest
import torch

from metarun.errors import Refused
from metarun.runs import checkpoint
from tests.runs.test_content import last

STATE = {"step": 3, "learner": {"w": torch.arange(4.0)}, "best": None, "recent": [{"loss": 0.5}]}


def test_a_saved_checkpoint_is_read_back(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "a" / "last.pt", STATE)
    state = checkpoint.load_state(tmp_path / "a" / "last.pt")
    assert torch.equal(state.pop("learner")["w"], STATE["learner"]["w"])
    assert state == {"format": 3, "step": 3, "best": None, "recent": [{"loss": 0.5}]}


def test_a_failed_write_keeps_the_previous_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.pt"
    checkpoint.save(path, STATE)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(path, {**STATE, "step": 4})
    assert checkpoint.load_state(path)["step"] == 3
    assert list(tmp_path.iterdir()) == [path]


def test_damage_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    checkpoint.save(path, STATE)
    data = path.read_bytes()
    for broken in (b"", data[: len(data) // 2], b"not a checkpoint"):
        path.write_bytes(broken)
        with pytest.raises(Refused, match=r"last\.pt: damaged"):
            checkpoint.load_state(path)
    torch.save({"weights": 1}, path)
    with pytest.raises(Refused, match="checkpoint format None; this metarun reads format 3"):
        checkpoint.load_state(path)
    path.unlink()
    with pytest.raises(Refused, match="no such checkpoint"):
        checkpoint.load_state(path)


def test_a_checkpoint_can_be_read_with_torch_only(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    checkpoint.save(path, STATE)
    assert torch.equal(torch.load(path, weights_only=True)["learner"]["w"], STATE["learner"]["w"])
    with zipfile.ZipFile(path) as archive:
        body = path.read_bytes().removesuffix(archive.comment)
        assert archive.comment.decode() == f"sha256:{hashlib.sha256(body).hexdigest()}"


def test_any_changed_byte_is_detected(tmp_path: Path) -> None:
    """Changes a bit of every third byte in turn, and truncates the file to many lengths."""
    path = tmp_path / "last.pt"
    checkpoint.save(path, {"w": torch.arange(2.0)})
    data = path.read_bytes()
    for i in range(0, len(data), 3):
        path.write_bytes(data[:i] + bytes([data[i] ^ 16]) + data[i + 1 :])
        with pytest.raises(checkpoint.Damaged, match=r"last\.pt: damaged"):
            checkpoint.load_state(path)
    for length in range(0, len(data), 37):
        path.write_bytes(data[:length])
        with pytest.raises(checkpoint.Damaged, match=r"last\.pt: damaged"):
            checkpoint.load_state(path)


def test_a_later_format_is_not_reported_as_damage(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT", 4)
        checkpoint.save(tmp_path / "last.pt", STATE)
    checkpoint.save(tmp_path / "previous.pt", STATE)
    with pytest.raises(Refused, match="checkpoint format 4; this metarun reads format 3"):
        checkpoint.latest(tmp_path)


def save_last(folder: Path, step: int) -> None:
    checkpoint.save(folder / "last.pt", last(step=step), keep="previous.pt")


def damage(path: Path) -> None:
    data = path.read_bytes()
    path.unlink()  # the file may be hard-linked under another name
    path.write_bytes(data[: len(data) // 2])


def test_the_previous_checkpoint_is_used_if_the_last_is_damaged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert checkpoint.latest(tmp_path) is None
    for step in (1, 2, 3):
        save_last(tmp_path, step)
    assert checkpoint.latest(tmp_path)["step"] == 3
    assert not caplog.records
    damage(tmp_path / "last.pt")
    assert checkpoint.latest(tmp_path)["step"] == 2
    (line,) = caplog.messages
    assert line.startswith(f"{tmp_path / 'last.pt'}: damaged")
    assert line.endswith("; going on from previous.pt, step 2")


def test_a_damaged_checkpoint_never_replaces_an_intact_one(tmp_path: Path) -> None:
    save_last(tmp_path, 1)
    save_last(tmp_path, 2)
    damage(tmp_path / "last.pt")
    checkpoint.set_aside(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"last.damaged.pt", "previous.pt"}
    save_last(tmp_path, 2)
    assert checkpoint.load_state(tmp_path / "previous.pt")["step"] == 1
    checkpoint.set_aside(tmp_path)  # an intact checkpoint is not renamed
    assert checkpoint.load_state(tmp_path / "last.pt")["step"] == 2


def test_if_all_are_damaged_one_line_names_all(tmp_path: Path) -> None:
    save_last(tmp_path, 1)
    save_last(tmp_path, 2)
    for name in ("last.pt", "previous.pt"):
        damage(tmp_path / name)
    with pytest.raises(Refused, match=r"last\.pt: damaged.*previous\.pt: damaged") as refused:
        checkpoint.latest(tmp_path)
    assert len(refused.value.mistakes) == 1


def test_an_untrusted_file_executes_no_code(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "sprung"),)

    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Trap()))
    checkpoint.save(tmp_path / "zip.pt", {"learner": Trap()})  # with a valid checksum
    for name in ("raw.pt", "zip.pt"):
        with pytest.raises(Refused, match="damaged, or not a metarun checkpoint"):
            checkpoint.load_state(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def sealed(path: Path, entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """Write an archive with these entries and a valid checksum, as anybody could."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    body = path.read_bytes()[:-2] + struct.pack("<H", checkpoint.SEAL)
    path.write_bytes(body + checkpoint._seal(body))


def entries_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_compressed_archive_is_not_unpacked(tmp_path: Path) -> None:
    """A small file could take any amount of memory."""
    path = tmp_path / "last.pt"
    checkpoint.save(path, {"w": torch.zeros(10**6)})
    entries = entries_of(path)
    sealed(path, entries, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10_000
    tracemalloc.start()
    try:
        with pytest.raises(Refused, match=r"damaged, .* \(its content is larger than the file\)"):
            checkpoint.load_state(path)
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()
    sealed(path, entries)  # the same archive, not compressed
    assert checkpoint.load_state(path)["w"].shape == (10**6,)


def test_entries_that_share_their_bytes_are_not_read(tmp_path: Path) -> None:
    """Many names of one entry would take many times the memory of the file."""
    path = tmp_path / "last.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", bytes(10**5))
        archive.filelist += [archive.filelist[0]] * 100
        archive.NameToInfo |= {str(i): archive.filelist[0] for i in range(100)}
    with pytest.raises(Refused, match="its content is larger than the file"):
        checkpoint.load_state(path)


def test_a_buffer_that_the_file_does_not_contain_is_not_made(tmp_path: Path) -> None:
    class Buffer:
        def __reduce__(self) -> tuple:
            return bytearray, (10**12,)

    checkpoint.save(tmp_path / "last.pt", {"w": Buffer()})
    with pytest.raises(Refused, match=r"damaged, .* \(it makes a bytearray\)"):
        checkpoint.load_state(tmp_path / "last.pt")


def test_a_file_that_is_no_archive_is_not_unpickled(tmp_path: Path) -> None:
    torch.save({"format": 3}, tmp_path / "last.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(Refused, match="damaged, or not a metarun checkpoint"):
        checkpoint.load_state(tmp_path / "last.pt")
