"""Listing of folders: classes, files, and a line for each unusable one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metarun.data.preparation.class_folders import Listing, list_classes, subfolders
from metarun.data.preparation.kinds import SOUNDS
from metarun.errors import Refused


@pytest.fixture
def put(tmp_path):
    """Write files below a folder; their content does not matter here."""

    def write(*names: str, content: bytes = b"?") -> Path:
        for name in names:
            (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "root" / name).write_bytes(content)
        return tmp_path / "root"

    return write


def names(found: Listing) -> dict[str, list[str]]:
    return {name: [file.name for file in files] for name, files in found.classes.items()}


def test_a_folder_is_a_class_with_all_pictures_below(put):
    root = put("dog/b.png", "dog/a.jpg", "cat/in/1.png", "cat/out/deep/2.png", "cat/0.png")
    assert names(list_classes(root)) == {
        "cat": ["0.png", "in/1.png", "out/deep/2.png"],
        "dog": ["a.jpg", "b.png"],
    }


def test_classes_may_be_nested(put):
    root = put(*(f"{a}/{c}/{k}.png" for a in ("Greek", "Latin") for c in "ab" for k in (1, 2)))
    assert list(names(list_classes(root, depth=2))) == ["Greek/a", "Greek/b", "Latin/a", "Latin/b"]
    assert list(names(list_classes(root, depth=1))) == ["Greek", "Latin"]


def test_each_folder_with_pictures_is_a_class_at_mixed_depth(put):
    put("cat/1.png", "cat/2.png", "dog/poodle/1.png", "dog/poodle/2.png", "dog/3.png", "dog/4.png")
    root = put("bird/of/prey/5.png", "bird/of/prey/6.png", "empty/inside/x.txt")
    found = list_classes(root, "leaf")
    assert names(found) == {
        "bird/of/prey": ["5.png", "6.png"],
        "cat": ["1.png", "2.png"],
        "dog": ["3.png", "4.png"],
        "dog/poodle": ["1.png", "2.png"],
    }
    assert found.mistakes[0].startswith(f"{root}/empty/inside: 0 pictures")
    assert len(found.mistakes) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.sets(st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join), min_size=1))
def test_no_picture_is_lost_at_any_depth(tmp_path_factory, folders):
    root = tmp_path_factory.mktemp("mixed")
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for k in range(2):
            (root / folder / f"{k}.png").write_bytes(b"?")
    found = list_classes(root, "leaf")
    listed = [Path(file.path) for files in found.classes.values() for file in files]
    assert sorted(listed) == sorted(root.rglob("*.png"))
    assert set(found.classes) == folders
    assert found.mistakes == found.stray == []


def test_parts_of_a_class_are_joined(put):
    root = put("train/cat/1.png", "test/cat/1.png", "train/dog/1.png", "train/dog/2.png")
    parts = {name: root / name for name in ("train", "test")}
    assert names(list_classes(root, parts=parts)) == {
        "cat": ["test/1.png", "train/1.png"],
        "dog": ["train/1.png", "train/2.png"],
    }


def test_recordings_are_listed_as_pictures_are(put):
    found = list_classes(put("yes/1.wav", "yes/2.FLAC", "yes/3.png", "no/1.ogg"), kind=SOUNDS)
    assert names(found) == {"yes": ["1.wav", "2.FLAC"]}
    assert found.mistakes[0].endswith("no: 1 recording; a class needs 2 at least")


def test_hidden_files_and_other_suffixes_are_skipped(put):
    put("cat/1.PNG", "cat/2.JpEg", "cat/README.txt", "cat/Thumbs.db", "cat/.DS_Store", "cat/x")
    put("cat/.3.png", ".git/4.png", "cat/.cache/5.png", "notes.txt")
    root = put("__MACOSX/cat/1.png", "cat/@eaDir/1.png/THUMB.jpg")
    found = list_classes(root)
    assert names(found) == {"cat": ["1.PNG", "2.JpEg"]}
    assert found.mistakes == found.stray == []


def test_pictures_outside_classes_are_listed(put):
    found = list_classes(put("cat/1.png", "cat/2.png", "preview.png"))
    assert [Path(path).name for path in found.stray] == ["preview.png"]
    assert list(found.classes) == ["cat"]


def test_a_class_needs_two_pictures(put):
    root = put("cat/1.png", "cat/2.png", "dog/1.png", "empty/readme.txt")
    found = list_classes(root)
    assert list(found.classes) == ["cat"]
    assert found.mistakes == [
        f"{root}/dog: 1 picture; a class needs 2 at least",
        f"{root}/empty: 0 pictures (.jpg .jpeg .jpe .jfif .png .bmp .gif .tif .tiff .webp .pbm "
        ".pgm .ppm .pnm); a class needs 2 at least",
    ]


def test_empty_and_special_files_are_named(put):
    root = put("cat/1.png", "cat/2.png")
    put("cat/3.png", content=b"")
    (root / "cat" / "4.png").symlink_to(root / "gone.png")
    os.mkfifo(root / "cat" / "5.png")  # to open it would wait for ever
    (root / "cat" / "6.png").symlink_to(root / "cat" / "6.png")
    mistakes = [line.removeprefix(f"{root}/cat/") for line in list_classes(root).mistakes]
    assert mistakes[0] == "3.png: empty"
    assert mistakes[1] == "4.png: cannot be read (No such file or directory)"
    assert mistakes[2] == "5.png: not a file"
    assert mistakes[3].startswith("6.png: cannot be read (")
    assert len(mistakes) == 4


def test_loops_of_links_end(put):
    root = put("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")
    (root / "cat" / "round").symlink_to(root / "cat")
    (root / "cat" / "up").symlink_to(root)
    (root / "dog" / "top").symlink_to("/")
    (root / "again").symlink_to(root)
    (root / "above").symlink_to(root.parent)
    found = list_classes(root)
    assert names(found) == {"cat": ["1.png", "2.png"], "dog": ["1.png", "2.png"]}
    assert found.mistakes == []


def test_links_to_pictures_elsewhere_are_followed(put, tmp_path):
    root = put("cat/1.png", "cat/2.png")
    (tmp_path / "far").mkdir()
    for name in ("3.png", "4.png"):
        (tmp_path / "far" / name).write_bytes(b"?")
    (root / "dog").symlink_to(tmp_path / "far")
    (root / "cat" / "5.png").symlink_to(tmp_path / "far" / "3.png")
    assert names(list_classes(root)) == {
        "cat": ["1.png", "2.png", "5.png"],
        "dog": ["3.png", "4.png"],
    }


def test_the_order_does_not_depend_on_the_file_system(put, monkeypatch):
    root = put(*(f"{c}/{k}.png" for c in "edcba" for k in (2, 10, 1)))
    expected = list_classes(root)
    real = os.scandir

    class Backwards:
        def __init__(self, path):
            with real(path) as entries:
                self.entries = sorted(entries, key=lambda e: e.name, reverse=True)

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(os, "scandir", Backwards)
    assert list_classes(root) == expected
    assert list(expected.classes.items()) == list(list_classes(root).classes.items())


def test_names_of_any_script_and_undecodable_names(put):
    root = put("größe [1], a=b/ñ 1.png", "größe [1], a=b/2.png")
    folder = os.fsencode(root) + b"/caf\xe9"
    os.mkdir(folder)
    for name in (b"1\xff.png", b"2.png"):
        Path(os.fsdecode(folder + b"/" + name)).write_bytes(b"?")
    found = list_classes(root)
    assert list(found.classes) == ["caf\\xe9", "größe [1], a=b"]
    assert all(os.path.exists(f.path) for files in found.classes.values() for f in files)


def test_two_folders_with_the_same_normalised_name_are_reported(put):
    found = list_classes(
        put("caf\u00e9/1.png", "caf\u00e9/2.png", "cafe\u0301/1.png", "cafe\u0301/2.png")
    )
    assert list(found.classes) == ["caf\u00e9"]
    assert "has the same name in Unicode" in found.mistakes[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_folders_without_rights_are_named(put):
    root = put("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")
    (root / "dog").chmod(0)
    try:
        assert f"{root}/dog: cannot be read (Permission denied)" in list_classes(root).mistakes
        root.chmod(0)
        with pytest.raises((Refused, PermissionError)):
            subfolders(root)
    finally:
        root.chmod(0o700)
        (root / "dog").chmod(0o700)


def test_a_folder_that_cannot_be_read_is_named(put, monkeypatch):
    root = put("cat/1.png", "cat/2.png", "dog/1.png")
    real = os.scandir

    def scandir(path):
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = list_classes(root)
    assert found.mistakes[0] == f"{root}/dog: cannot be read (Permission denied)"
    assert list(found.classes) == ["cat"]
