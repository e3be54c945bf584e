"""Untrusted tar.gz files: names are only compared, sizes limited, nothing is written to disk."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest

from metarun.data.preparation.archives import tar_members
from metarun.errors import Refused


def a_tar(path, contents: dict[str, bytes], *others: tarfile.TarInfo):
    """The contents in their order, then entries without any."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for entry in others:
            archive.addfile(entry)
    return path


def an_entry(name: str, kind: bytes, to: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, to
    return entry


def everything(path, **limits) -> list[tuple[str, bytes]]:
    return list(tar_members(path, lambda name: True, **limits))


def refusal(path, **limits) -> str:
    with pytest.raises(Refused) as refused:
        everything(path, **limits)
    (line,) = refused.value.mistakes
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line


def test_accepted_members_come_in_archive_order(tmp_path):
    path = a_tar(tmp_path / "a.tar.gz", {"d/b": b"2" * 700, "d/a": b"1", "e/c": b"3"})
    assert list(tar_members(path, lambda name: name.startswith("d/"))) == [
        ("d/b", b"2" * 700),
        ("d/a", b"1"),
    ]


def test_path_traversal_writes_nothing(tmp_path):
    path = a_tar(tmp_path / "a.tar.gz", {"../../evil": b"x", "/abs": b"y"})
    before = sorted(tmp_path.rglob("*"))
    assert everything(path) == [("../../evil", b"x"), ("/abs", b"y")]
    assert sorted(tmp_path.rglob("*")) == before


def test_links_devices_and_folders_are_skipped(tmp_path):
    (tmp_path / "secret").write_text("mine")
    path = a_tar(
        tmp_path / "a.tar.gz",
        {"one": b"1"},
        an_entry("symbolic", tarfile.SYMTYPE, str(tmp_path / "secret")),
        an_entry("hard", tarfile.LNKTYPE, "one"),
        an_entry("device", tarfile.CHRTYPE),
        an_entry("pipe", tarfile.FIFOTYPE),
        an_entry("folder", tarfile.DIRTYPE),
    )
    assert everything(path) == [("one", b"1")]


def test_a_bomb_is_refused(tmp_path):
    path = a_tar(tmp_path / "a.tar.gz", {"one": bytes(10_000), "two": bytes(100_000)})
    assert "two unpacks to more" in refusal(path, member_limit=99_999)
    assert "unpacks to more" in refusal(path, total_limit=110_000)  # headers count
    assert len(everything(path, member_limit=100_000, total_limit=130_000)) == 2


def test_a_bomb_that_is_not_read_is_refused_too(tmp_path):
    path = a_tar(tmp_path / "a.tar.gz", {"bomb": bytes(50_000), "one": b"1"})
    with pytest.raises(Refused, match="unpacks to more"):
        list(tar_members(path, lambda name: name == "one", total_limit=40_000))


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, b"S"])
def test_a_bomb_in_a_header_is_refused(tmp_path, kind):
    header = an_entry("header", kind)
    header.size = 1 << 33
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20)))
    refusal(path, total_limit=1 << 19)


def test_headers_in_headers_are_refused(tmp_path):
    header = an_entry("header", tarfile.GNUTYPE_LONGNAME)
    header.size = 1
    block = header.tobuf(tarfile.GNU_FORMAT) + b"x".ljust(512, b"\0")
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(block * 5_000))
    refusal(path)


@pytest.mark.parametrize("cut", [0, 5, 20, 0.5, -4])
def test_a_truncated_archive_is_refused_by_name(tmp_path, cut):
    path = a_tar(tmp_path / "a.tar.gz", {"one": bytes(range(256)) * 40, "two": b"2"})
    content = path.read_bytes()
    path.write_bytes(content[: int(cut * len(content)) if 0 < cut < 1 else cut])
    assert "not a whole tar.gz file" in refusal(path)


def test_a_flipped_byte_is_detected_or_harmless(tmp_path):
    """The archive is refused or its members are unchanged."""
    path = a_tar(tmp_path / "a.tar.gz", {"one": b"content" * 9, "two": b"2"})
    content, expected = path.read_bytes(), everything(path)
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            assert everything(path) == expected
        except Refused as refused:
            assert len(refused.mistakes) == 1


def test_another_file_is_refused_by_name(tmp_path):
    for content in (b"not a tar", gzip.compress(b"not a tar" * 200)):
        (tmp_path / "a").write_bytes(content)
        assert "not a whole tar.gz file" in refusal(tmp_path / "a")
    assert "cannot be read" in refusal(tmp_path)
    assert "cannot be read" in refusal(tmp_path / "nowhere")
