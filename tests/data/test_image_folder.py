"""Folders of pictures: splits of classes, caching, and reports of unusable files."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from metarun.data.classes import Facts, Split
from metarun.data.image_folder import ImageFolder
from metarun.data.preparation import class_folders, picture_classes
from metarun.data.preparation.cache import ARRAY
from metarun.data.preparation.pictures import picture
from metarun.errors import Refused

SIX = ["ant", "bee", "cat", "dog", "elk", "fox"]


def write(root: Path, classes: list[str], each: int = 3, side: int = 12) -> Path:
    """Pictures with a different colour each."""
    rng = np.random.default_rng(len(classes))
    for name in classes:
        (root / name).mkdir(parents=True, exist_ok=True)
        for k in range(each):
            colour = tuple(int(v) for v in rng.integers(0, 256, 3))
            Image.new("RGB", (side, side + k), colour).save(root / name / f"{k:02d}.png")
    return root


@pytest.fixture
def root(tmp_path) -> Path:
    return write(tmp_path / "mine", SIX)


def folder(root: Path, **keys: object) -> ImageFolder:
    keys = {"cache": str(root.parent / "cache"), "size": 8, **keys}
    return ImageFolder(root=str(root), **keys)


def refusal(root: Path, **keys: object) -> list[str]:
    with pytest.raises(Refused) as refused:
        folder(root, **keys).load()
    assert not any("\n" in line for line in refused.value.mistakes)
    return refused.value.mistakes


def names(splits: dict[str, Split]) -> dict[str, tuple[str, ...]]:
    return {split: splits[split].names for split in splits}


def broken(root: Path, name: str) -> Path:
    path = root / name
    path.write_bytes(path.read_bytes()[:40] if path.exists() else b"?")
    return path


def made(root: Path) -> set[tuple[Path, int]]:
    """The arrays in the cache, with their modification times."""
    return {(p, p.stat().st_mtime_ns) for p in (root.parent / "cache").rglob(ARRAY)}


class TestPreparing:
    @pytest.mark.parametrize("colour", [True, False])
    def test_items_are_the_pictures_of_their_class(self, root, colour):
        splits = folder(root, colour=colour).load()
        assert sorted(n for split in splits.values() for n in split.names) == SIX
        for split in splits.values():
            assert split.facts == Facts(2, 3)
            assert split.shape == (3 if colour else 1, 8, 8)
            for name, first in zip(split.names, split.first, strict=True):
                for k in range(3):
                    expected = picture(str(root / name / f"{k:02d}.png"), 8, colour)
                    assert np.array_equal(split.items[first + k], expected)

    def test_facts_open_no_picture(self, root):
        for name in SIX:
            broken(root, f"{name}/00.png")
        assert folder(root).facts() == dict.fromkeys(("train", "val", "test"), Facts(2, 3))
        assert not (root.parent / "cache").exists()

    def test_folders_and_sizes_are_cached_separately(self, root, tmp_path):
        other = write(tmp_path / "other", SIX, each=4)
        folder(root).load(), folder(other).load(), folder(root, size=9).load()
        folder(root, colour=False).load()
        before = made(root)
        assert len(before) == 4
        folder(root).load(), folder(other).load(), folder(root, size=9).load()
        assert made(root) == before

    def test_another_split_uses_the_same_array(self, root):
        folder(root).load()
        before = made(root)
        folder(root, split_seed=1).load()
        assert made(root) == before

    @pytest.mark.parametrize("change", ["written", "added", "removed", "renamed"])
    def test_any_change_of_the_files_is_noticed(self, root, change):
        first = folder(root).load()
        file = root / "ant" / "00.png"
        if change == "written":
            Image.new("RGB", (12, 12), "red").save(file)
            os.utime(file, ns=(1, time.time_ns()))
        elif change == "added":
            shutil.copy(file, root / "ant" / "99.png")
        elif change == "removed":
            file.unlink()
        else:
            file.rename(root / "ant" / "50.png")
        again = folder(root).load()
        where = next(split for split, found in names(first).items() if "ant" in found)
        assert first[where].sha256 != again[where].sha256

    def test_the_second_start_opens_no_picture(self, root, monkeypatch):
        first = folder(root).load()
        monkeypatch.setattr(picture_classes.pictures, "read_pictures", None)
        again = folder(root).load()
        assert {n: s.sha256 for n, s in first.items()} == {n: s.sha256 for n, s in again.items()}


class TestSplit:
    def test_it_does_not_depend_on_the_path_or_the_file_order(self, root, tmp_path):
        copy = tmp_path / "elsewhere" / "copy"
        for name in reversed(SIX):
            for file in sorted((root / name).iterdir(), reverse=True):
                (copy / name).mkdir(parents=True, exist_ok=True)
                shutil.copy(file, copy / name)
        one, two = folder(root).load(), folder(copy).load()
        assert names(one) == names(two)
        assert {n: s.sha256 for n, s in one.items()} == {n: s.sha256 for n, s in two.items()}

    def test_another_seed_is_another_split(self, root):
        assert len({str(names(folder(root, split_seed=k).load())) for k in range(5)}) > 1

    @pytest.mark.parametrize("val", ["val", "Valid", "validation"])
    def test_split_folders_define_the_split(self, tmp_path, val):
        root = tmp_path / "mine"
        (
            write(root / "train", ["a", "b", "c"]),
            write(root / val, ["d"]),
            write(root / "test", ["e"]),
        )
        expected = {"train": ("a", "b", "c"), "val": ("d",), "test": ("e",)}
        assert names(folder(root).load()) == expected
        assert folder(root).facts()["train"] == Facts(3, 3)

    def test_splits_with_the_same_classes_are_refused(self, tmp_path):
        root = tmp_path / "mine"
        for split in ("train", "val", "test"):
            write(root / split, SIX)
        (line,) = refusal(root)
        assert (
            "6 classes in more than one of train, val and test (ant, bee, cat and 3 more)" in line
        )
        assert "data.join=true joins them" in line

    def test_classes_of_train_and_test_are_joined_on_demand(self, tmp_path):
        root = tmp_path / "mine"
        write(root / "train", SIX), write(root / "test", [*SIX, "gnu"], each=4)
        assert "data.join=true" in refusal(root)[0]
        splits = folder(root, join=True).load()
        counts = {n: c for s in splits.values() for n, c in zip(s.names, s.counts, strict=True)}
        assert counts == {**dict.fromkeys(SIX, 7), "gnu": 4}
        (line,) = refusal(root / "train", join=True)
        assert line.endswith("has no folders train, val or test to join")

    def test_two_classes_can_be_the_test(self, tmp_path):
        two = write(tmp_path / "two", ["owl", "yak"])
        assert (
            "; data.fractions=[0,0,1] puts all classes into test, for a run trained on other data; "
            in refusal(two)[0]
        )
        write(tmp_path / "new" / "test", ["owl", "yak"])
        for root, keys in ((two, {"fractions": [0, 0, 1]}), (tmp_path / "new", {})):
            splits = folder(root, **keys).load()
            assert names(splits) == {"train": (), "val": (), "test": ("owl", "yak")}

    def test_fits_are_cached_separately(self, root):
        loaded = [folder(root, fit=fit).load() for fit in ("crop", "pad", "stretch")]
        assert len({splits["test"].sha256 for splits in loaded}) == 2  # of one colour: no bars
        assert len(made(root)) == 3

    def test_a_missing_split_folder_is_refused(self, tmp_path):
        root = tmp_path / "mine"
        write(root / "train", SIX), write(root / "test", ["gnu"])
        (line,) = refusal(root)
        assert "has test and train, but no val" in line

    def test_a_split_folder_without_classes_is_refused(self, tmp_path):
        root = tmp_path / "mine"
        write(root / "train", SIX), write(root / "val", ["a"], each=1), write(root / "test", ["b"])
        lines = refusal(root)
        assert "no classes in val" in lines[0]
        assert lines[1] == f"{root}/val/a: 1 picture; a class needs 2 at least"

    def test_a_class_may_be_called_train(self, root):
        write(root, ["train"])
        assert sum(split.facts.classes for split in folder(root).load().values()) == 7

    def test_a_file_may_define_the_split(self, root, caplog):
        split = {"train": ["fox", "ant"], "val": ["bee"], "test": ["dog"]}
        for place in (root.parent / "split.json", root / "beside.json"):
            place.write_text(json.dumps(split))
        caplog.set_level(logging.INFO)
        for file in (str(root.parent / "split.json"), "beside.json"):
            found = folder(root, split_file=file).load()
            assert names(found) == {n: tuple(c) for n, c in split.items()}
        assert "in no split of" in caplog.text
        assert "cat, elk" in caplog.text

    def test_classes_may_be_nested(self, tmp_path):
        root = write(tmp_path / "mine", [f"{a}/{c}" for a in ("Greek", "Latin") for c in "abc"])
        (line,) = refusal(root)
        assert "2 classes (Greek, Latin), and train, val and test need 2 each" in line
        assert "see data.depth" in line
        found = names(folder(root, depth=2).load())
        assert "Greek/a" in {name for split in found.values() for name in split}


class TestBroken:
    def test_all_mistakes_are_reported_together(self, root):
        write(root, ["gnu"], each=1)
        (root / "ant" / "empty.jpg").touch()
        cut, text = broken(root, "bee/01.png"), broken(root, "fox/notes.jpg")
        lines = refusal(root)
        assert len(lines) == 4
        for part in (str(cut), str(text), f"{root}/gnu: 1 picture", f"{root}/ant/empty.jpg: empty"):
            assert sum(part in line for line in lines) == 1
        assert lines[-1].endswith("data.skip_broken=true skips unusable files and classes")
        assert not made(root)

    def test_of_many_mistakes_the_first_are_named_and_the_others_counted(self, root):
        write(root, SIX, each=5)
        for name in SIX:
            for k in range(3):
                broken(root, f"{name}/{k:02d}.png")
        lines = refusal(root)
        assert len(lines) == 11
        assert "8 more like these; data.skip_broken=true" in lines[-1]

    def test_the_cache_does_not_hide_newly_broken_files(self, root):
        kept = folder(root).load() and made(root)
        (root / "ant" / "empty.jpg").touch()
        assert "empty" in refusal(root)[0]
        assert made(root) == kept
        (root / "ant" / "empty.jpg").unlink()
        folder(root).load()
        assert made(root) == kept

    def test_skip_broken_warns_at_every_start(self, root, caplog):
        write(root, ["gnu"], each=1)
        for name in ("bee/01.png", "elk/00.png", "elk/01.png"):
            broken(root, name)
        data = folder(root, skip_broken=True)
        loads = []
        for start in ("first", "second"):
            caplog.clear()
            loads.append(data.load())
            for part in ("bee: 1", "elk: 3", f"{root}/gnu"):
                assert part in caplog.text, start
            data = folder(root, skip_broken=True)
        assert names(loads[0]) == names(loads[1])
        kept = {n: c for s in loads[0].values() for n, c in zip(s.names, s.counts, strict=True)}
        assert kept == {"ant": 3, "bee": 2, "cat": 3, "dog": 3, "fox": 3}  # elk: 1 picture left

    def test_skipped_files_move_no_class_to_another_split(self, root):
        whole = names(folder(root).load())
        broken(root, "elk/00.png"), broken(root, "elk/01.png")
        fewer = names(folder(root, skip_broken=True).load())
        for split, classes in whole.items():
            assert set(fewer[split]) == set(classes) - {"elk"}

    def test_skip_broken_refuses_if_nothing_is_left(self, root):
        for name in SIX:
            for k in range(3):
                broken(root, f"{name}/{k:02d}.png")
        assert len(refusal(root, skip_broken=True)) == 11

    def test_pictures_outside_classes_are_reported(self, root, caplog):
        Image.new("RGB", (9, 9)).save(root / "preview.png")
        folder(root).load()
        assert "outside class folders" in caplog.text

    def test_a_missing_or_empty_folder_is_refused(self, root, tmp_path):
        assert "no such folder" in refusal(tmp_path / "gone")[0]
        assert "not a folder" in refusal(root / "ant" / "00.png")[0]
        (tmp_path / "empty").mkdir()
        assert "no classes; it should hold a folder of pictures" in refusal(tmp_path / "empty")[0]

    def test_a_loop_of_links_ends(self, root):
        (root / "ant" / "round").symlink_to(root, target_is_directory=True)
        (root / "up").symlink_to(root.parent, target_is_directory=True)
        assert sum(split.facts.classes for split in folder(root).load().values()) == 6

    def test_progress_is_logged(self, root, caplog, monkeypatch):
        monkeypatch.setattr(picture_classes, "PROGRESS_INTERVAL", -1)
        caplog.set_level(logging.INFO)
        folder(root).load()
        assert "9 of 18 pictures" in caplog.text


class TestCommand:
    TINY = ("debug=tiny", "backbone.filters=4", "threads=1", "queries=2", "ways=2", "data.size=16")

    def test_the_folder_is_required(self, metarun):
        code, _, err = metarun("data=image_folder", *self.TINY, "out=run")
        assert code == 2
        assert err == ["metarun: data.root: name the folder of your pictures: data.root=DIR"]

    def test_keys_are_checked(self, metarun, root):
        wrong = ("data.size=0", "data.fractions=[1,2]", "data.depth=0", "data.split_seed=-1")
        code, _, err = metarun("data=image_folder", f"data.root={root}", *self.TINY, *wrong)
        assert code == 2
        assert [line.split("=")[0] for line in err] == [
            f"metarun: data.{key}" for key in ("size", "depth", "fractions", "split_seed")
        ]

    @pytest.mark.parametrize(
        ("small", "named"),
        [(["ant"], "ant: 4"), (["fox", "bee"], "bee: 4, fox: 4")],
    )
    def test_classes_that_are_too_small_are_named_before_a_picture_is_read(
        self, metarun, tmp_path, small, named
    ):
        root = write(tmp_path / "photos", SIX, each=6)
        for name in small:
            for k in (4, 5):
                (root / name / f"{k:02d}.png").unlink()
        for files in root.glob("*/*.png"):
            files.write_bytes(b"not a picture")
        code, _, (line,) = metarun("data=image_folder", f"data.root={root}", *self.TINY, "shots=4")
        assert code == 2
        assert line == (
            "metarun: shots=4 queries=2: a class of image_folder has 4 items "
            f"({named}); shots + queries can be 4 at most"
        )

    def test_other_files_than_pictures_are_told_the_suffixes(self, metarun, tmp_path):
        for name in SIX:
            (tmp_path / "scans" / name).mkdir(parents=True)
            (tmp_path / "scans" / name / "1.dcm").write_bytes(b"DICM")
        code, _, err = metarun("data=image_folder", f"data.root={tmp_path / 'scans'}", *self.TINY)
        assert code == 2
        assert len(err) == 7
        assert all("0 pictures (.jpg .jpeg " in line for line in err[1:])

    def test_one_broken_file_is_named_and_no_folder_is_left(self, metarun, root, tmp_path):
        bad = broken(root, "ant/02.png")
        typed = ("data=image_folder", f"data.root={root}", *self.TINY, "out=run")
        code, _, err = metarun(*typed)
        assert code == 2
        assert len(err) == 1
        assert str(bad) in err[0]
        assert not (tmp_path / "run").exists()
        write(root, SIX, each=4)
        broken(root, "ant/02.png")
        code, _, err = metarun(*typed, "data.skip_broken=true")
        assert code == 0
        assert any("ant: 1" in line for line in err)

    def test_thirty_classes_of_photographs_of_any_size(self, metarun, tmp_path):
        rng = np.random.default_rng(0)
        for c in range(30):
            home = tmp_path / "photos" / f"Größe {c}"
            home.mkdir(parents=True)
            for k in range(4):
                width, height = (int(v) for v in rng.integers(20, 120, 2))
                image = Image.new("RGB", (width, height), (8 * c, 255 - 8 * c, 60 * k))
                ImageDraw.Draw(image).ellipse((width // 4, height // 4, width // 2, height // 2))
                image.save(home / f"{k}.{('jpg', 'JPEG', 'jpe', 'JPG')[k]}")
        typed = ("data=image_folder", f"data.root={tmp_path / 'photos'}", *self.TINY, "out=run")
        code, _, err = metarun(*typed, "ways=5")
        assert (code, err) == (0, [])
        protocol = json.loads((tmp_path / "run" / "result.json").read_text())["protocol"]
        assert protocol["data_settings"]["fractions"] == [0.6, 0.2, 0.2]

    def test_a_run_is_tested_on_two_new_classes(self, metarun, root, tmp_path):
        write(root, SIX, each=6), write(tmp_path / "two", ["owl", "yak"], each=6)
        write(tmp_path / "two" / "yak", ["deep"], each=6)
        trained = ("data=image_folder", f"data.root={root}", *self.TINY)
        assert metarun(*trained, "data.fit=pad", "out=run")[0] == 0
        new = ("run=run", "data=image_folder", f"data.root={tmp_path / 'two'}", "episodes=4")
        keys = ("data.fractions=[0,0,1]", "data.depth=leaf", "name=new")
        code, _, err = metarun("evaluate", *new, *keys)
        assert (code, err) == (0, [])
        result = json.loads((tmp_path / "run" / "evaluations" / "new" / "result.json").read_text())
        settings = result["protocol"]["data_settings"]
        assert (settings["fit"], settings["depth"]) == ("pad", "leaf")
        assert result["protocol"]["seen_in_training"] == {"classes": 0, "items": 0}
        code, _, (line,) = metarun("evaluate", *new, "data.depth=leaf", "name=again")
        assert code == 2
        assert "3 classes (owl, yak, yak/deep), and train, val and test need 2 each" in line
        assert (
            metarun("show", *trained[:2], "split=train", "ways=2", "queries=2", "shots=2")[0] == 0
        )


class TestRealPictures:
    @pytest.fixture
    def mednist(self, real_data, tmp_path) -> Path:
        archive = real_data / "mednist" / "MedNIST_500.zip"
        if not archive.is_file():
            pytest.skip(f"no {archive}")
        with zipfile.ZipFile(archive) as file:
            few = [
                n for n in file.namelist() if n.endswith(tuple(f"{k:06d}.jpeg" for k in range(40)))
            ]
            file.extractall(tmp_path, few)
        return tmp_path / "MedNIST_500"

    def test_kinds_of_scan_are_classes(self, mednist):
        splits = folder(mednist, size=64, colour=False).load()
        assert all(split.facts == Facts(2, 40) for split in splits.values())
        for split in splits.values():
            for name, first in zip(split.names, split.first, strict=True):
                with Image.open(mednist / name / "000000.jpeg") as image:
                    assert np.array_equal(split.items[first, 0], np.asarray(image))


def test_the_two_limits_of_a_class_are_one():
    assert class_folders.MIN_FILES == 2  # a support and a query item


def test_ten_empty_classes_are_named_and_the_others_counted(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / "mine" / f"{number:02d}").mkdir(parents=True)
    lines = refusal(tmp_path / "mine")
    assert "no classes;" in lines[0]
    assert len(lines) == 12
    assert all(line.endswith("a class needs 2 at least") for line in lines[1:11])
    assert lines[-1] == f"data.root={tmp_path / 'mine'}: 2 more like these"
