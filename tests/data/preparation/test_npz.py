"""Arrays of npz files, read piece by piece, and one-line errors."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from metarun.data.preparation import npz
from metarun.data.preparation.npz import header, pieces
from metarun.errors import Refused


def npy(array: np.ndarray, **keys) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **keys)
    return buffer.getvalue()


def packed(path, content: bytes, name: str = "x.npy"):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return path


def refusal(path, name: str = "x") -> str:
    with pytest.raises(Refused) as refused:
        list(pieces(path, name))
    (line,) = refused.value.mistakes
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("piece", [1, 100, 1 << 20])
@pytest.mark.parametrize("shape", [(7, 4, 4, 3), (7, 4, 4), (7, 1), (7,), (0, 4, 4)])
def test_the_pieces_are_the_array(tmp_path, monkeypatch, save, piece, shape):
    monkeypatch.setattr(npz, "PIECE", piece)
    x = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    save(tmp_path / "a.npz", x=x, y=x[:1])
    found = list(pieces(tmp_path / "a.npz", "x"))
    assert np.array_equal(np.concatenate([x[:0], *found]), x)
    assert all(p.nbytes <= max(piece, x[:1].nbytes) for p in found)
    assert header(tmp_path / "a.npz", "x") == (shape, np.uint8)


def test_python_objects_are_never_read(tmp_path):
    class Attack:
        def __reduce__(self):
            return (tmp_path / "was here").mkdir, ()

    for content in (np.array([Attack()]), np.zeros(3, "u1,O")):
        np.savez(tmp_path / "a.npz", x=content)
        line = refusal(tmp_path / "a.npz")
        assert "Python objects" in line
        assert "x holds" in line
    assert not (tmp_path / "was here").exists()


@pytest.mark.parametrize(
    "array",
    [
        np.array([b"a"]),
        np.zeros(3, "u1,i4"),
        np.asfortranarray(np.eye(3)),
        np.array(3),
        np.array(1j),
    ],
)
def test_other_arrays_are_refused(tmp_path, array):
    np.savez(tmp_path / "a.npz", x=array)
    assert "should be an array of numbers" in refusal(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        npy(np.arange(9))[:-1],
        npy(np.arange(9)) + b"!",
        npy(np.arange(9)).replace(b"(9,)", b"(99999999999,)"),
        npy(np.arange(9)).replace(b"(9,)", b"(-9,)"),
        npy(np.arange(9)).replace(b"(9,)", b"(9.,)"),
        npy(np.arange(9)).replace(b"{'descr'", b"{((((((("),
        npy(np.arange(9)).replace(b"\x01\x00", b"\x07\x00", 1),
    ],
)
def test_damaged_files_are_refused(tmp_path, content):
    refusal(packed(tmp_path / "a.npz", content))


def test_a_bomb_takes_no_memory(tmp_path):
    """The header states 20 bytes; no more are read."""
    refusal(packed(tmp_path / "a.npz", npy(np.zeros(20, np.uint8)) + bytes(50_000_000)))


def test_a_missing_array_and_a_missing_file(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    assert refusal(tmp_path / "a.npz", "z") == f"{tmp_path / 'a.npz'}: lacks z (it has x)"
    assert "cannot be read" in refusal(tmp_path / "none.npz")
    (tmp_path / "empty.npz").touch()
    assert "not a whole npz file" in refusal(tmp_path / "empty.npz")


def test_a_flipped_byte_is_detected_or_harmless(tmp_path):
    """The file is refused or its array is unchanged."""
    path, x = tmp_path / "a.npz", np.arange(40, dtype=np.uint8)
    np.savez_compressed(path, x=x)
    content = path.read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            assert np.array_equal(np.concatenate(list(pieces(path, "x"))), x)
        except Refused as refused:
            assert len(refused.mistakes) == 1
