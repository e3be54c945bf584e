"""Published sets: classes in the supported layouts, or the steps to get them."""

from __future__ import annotations

import csv
import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metarun.data import class_splits
from metarun.data.class_splits import SPLITS, published_list
from metarun.data.classes import Facts
from metarun.data.preparation.pictures import picture
from metarun.data.published_folder import PublishedFolder
from metarun.errors import Refused

SETS = {
    "mini_imagenet": (64, 16, 20, 600),
    "tiered_imagenet": (351, 97, 160, 732),
    "cub": (100, 50, 50, 41),
}
SMALL = {"train": ["n01", "n02", "n03"], "val": ["n04", "n05"], "test": ["n06", "n07"]}
ALL = [name for names in SMALL.values() for name in names]
EACH = 3


class TestLists:
    @pytest.mark.parametrize("name", SETS)
    def test_facts_need_no_pictures(self, name, tmp_path):
        *sizes, smallest = SETS[name]
        data = PublishedFolder(root=str(tmp_path / "none"), cache=str(tmp_path), name=name)
        assert data.facts() == {
            split: Facts(size, smallest) for split, size in zip(SPLITS, sizes, strict=True)
        }
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("name", SETS)
    def test_no_class_is_in_two_splits(self, name):
        names = [n for split in SPLITS for n in published_list(name)[split]]
        assert len(names) == len(set(names)) == sum(SETS[name][:3])
        assert {"about", "licence", "steps"} <= set(published_list(name))
        assert "\n" not in published_list(name)["steps"]

    def test_cub_is_split_by_class_number(self):
        """Chen et al., 2019, counting from 0: even numbers are train; 1 mod 4 val; 3 mod 4 test."""
        turn = {0: "train", 1: "val", 2: "train", 3: "test"}
        for split in SPLITS:
            for name in published_list("cub")[split]:
                assert turn[(int(name[:3]) - 1) % 4] == split

    def test_tiered_imagenet_trains_on_no_test_class_in_either_split_file(self, real_data):
        folder = real_data / "splits" / "tieredimagenet_ren"
        if not folder.is_dir():
            pytest.skip(f"no published split in {folder}")
        kinds = {}
        for split in SPLITS:
            rows = [line.split(",") for line in (folder / f"{split}.csv").read_text().split()]
            assert [row[0] for row in rows] == published_list("tiered_imagenet")[split]
            kinds[split] = {row[1] for row in rows}
        assert [len(kinds[split]) for split in SPLITS] == [20, 6, 8]
        assert len(set().union(*kinds.values())) == 34

    def test_the_other_lists_are_the_published_ones(self, real_data):
        folder = real_data / "splits"
        if not folder.is_dir():
            pytest.skip(f"no published splits in {folder}")
        theirs = json.loads((folder / "miniimagenet_ravi" / "classes.json").read_text())
        assert theirs == {split: published_list("mini_imagenet")[split] for split in SPLITS}
        for split in SPLITS:
            theirs = json.loads((folder / "cub" / f"{split}.json").read_text())
            assert theirs == published_list("cub")[split]


@pytest.fixture
def small(tmp_path, monkeypatch) -> None:
    """Small lists in place of the published ones."""
    (tmp_path / "lists").mkdir()
    about = {"steps": "ask the owner", "images": EACH * len(ALL), "smallest": EACH}
    for name in SETS:
        (tmp_path / "lists" / f"{name}.json").write_text(json.dumps(SMALL | about))
    monkeypatch.setattr(class_splits, "LISTS", tmp_path / "lists")


def write(root: Path, names: list[str], each: int = EACH) -> Path:
    for name in names:
        (root / name).mkdir(parents=True, exist_ok=True)
        for k in range(each):
            save(root / name / f"{name}{k:08d}.JPEG", name, k)
    return root


def save(path: Path, name: str, k: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = (len(name), int(re.sub(r"\D", "", name)) * 30, k * 25)
    Image.new("RGB", (14 + k, 10), colour).save(path)


def write_tables(root: Path, split: dict[str, list[str]] = SMALL) -> Path:
    for part, names in split.items():
        root.mkdir(parents=True, exist_ok=True)
        with (root / f"{part}.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["filename", "label"])
            for name in names:
                for k in range(EACH):
                    table.writerow([f"{name}{k:08d}.jpg", name])
                    save(root / "images" / f"{name}{k:08d}.jpg", name, k)
    return root


def load(root: Path, name: str = "mini_imagenet", **keys: object):
    return PublishedFolder(
        root=str(root), cache=str(root.parent / "cache"), name=name, **{"size": 8, **keys}
    ).load()


def refusal(root: Path, **keys: object) -> list[str]:
    with pytest.raises(Refused) as refused:
        load(root, **keys)
    assert not any("\n" in line for line in refused.value.mistakes)
    return refused.value.mistakes


@pytest.mark.usefixtures("small")
class TestLayouts:
    @pytest.mark.parametrize("place", [".", "images", "CUB_200_2011/images", "train"])
    def test_the_classes_are_found_where_they_are_unpacked(self, tmp_path, place):
        root = tmp_path / "set"
        write(root / place, [*ALL, "n99"])
        (root / place / "README.txt").write_text("")
        splits = load(root)
        for split, names in SMALL.items():
            assert splits[split].names == tuple(names)
            assert splits[split].facts == Facts(len(names), EACH)
            assert splits[split].shape == (3, 8, 8)
            for name, first in zip(names, splits[split].first, strict=True):
                for k in range(EACH):
                    file = root / place / name / f"{name}{k:08d}.JPEG"
                    expected = picture(str(file), 8, True)
                    assert np.array_equal(splits[split].items[first + k], expected)

    def test_the_list_defines_the_split_not_the_folders(self, tmp_path):
        root = tmp_path / "set"
        write(root / "train", ALL[:2]), write(root / "val", ALL[2:3]), write(root / "test", ALL[3:])
        assert {n: s.names for n, s in load(root).items()} == {
            n: tuple(c) for n, c in SMALL.items()
        }

    def test_of_train_and_val_folders_the_training_images_are_used(self, tmp_path):
        root = tmp_path / "set"
        write(root / "train", ALL), write(root / "val", ALL, each=9)
        assert all(s.facts.smallest == EACH for s in load(root).values())

    @pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
    def test_tables_and_images(self, tmp_path, mark):
        root = write_tables(tmp_path / "set")
        (root / "val.csv").write_bytes(mark + (root / "val.csv").read_bytes())
        save(root / "images" / "unlisted.jpg", "n1", 0)
        splits = load(root)
        assert {n: s.names for n, s in splits.items()} == {n: tuple(c) for n, c in SMALL.items()}
        assert all(split.facts.smallest == EACH for split in splits.values())

    def test_both_layouts_give_the_same_split(self, tmp_path):
        one, two = load(write_tables(tmp_path / "a")), load(write_tables(tmp_path / "b"))
        assert one["test"].sha256 == two["test"].sha256

    def test_another_number_of_pictures_gives_a_warning(self, tmp_path, caplog):
        write(tmp_path / "set", ALL), write(tmp_path / "set", ALL[:1], each=5)
        caplog.set_level(logging.WARNING)
        load(tmp_path / "set", name="cub")
        assert "has 23 pictures, the published set 21; results are not comparable" in caplog.text
        caplog.clear()
        load(write(tmp_path / "other", ALL), name="cub")
        assert caplog.text == ""


@pytest.mark.usefixtures("small")
class TestRefusals:
    def test_a_missing_folder_gives_the_steps(self, tmp_path):
        (line,) = refusal(tmp_path / "gone", name="cub")
        assert "no such folder; cub cannot be downloaded for you: ask the owner" in line

    def test_missing_classes_are_named(self, tmp_path):
        (line,) = refusal(write(tmp_path / "set", ALL[:2]))
        assert "5 of 7 classes missing (n03, n04, n05 and 2 more); mini_imagenet cannot" in line

    def test_broken_files_and_small_classes_are_named_together(self, tmp_path):
        root = write(tmp_path / "set", ALL)
        bad = root / "n02" / "n0200000001.JPEG"
        bad.write_bytes(bad.read_bytes()[:200])
        for file in list((root / "n05").iterdir())[1:]:
            file.unlink()
        lines = refusal(root)
        assert f"{root}/n05: 1 picture; a class needs 2 at least" in lines
        assert any(line.startswith(f"{bad}: ") for line in lines)
        assert not any("skip_broken" in line for line in lines)  # a published set is whole

    def test_images_listed_in_a_table_must_exist(self, tmp_path):
        root = write_tables(tmp_path / "set")
        (root / "images" / "n0400000001.jpg").unlink()
        with (root / "test.csv").open("a") as file:
            file.write("../../climbs_out.jpg,n06\n")
        save(tmp_path / "climbs_out.jpg", "n1", 0)
        lines = refusal(root)
        assert len(lines) == 2
        assert "n0400000001.jpg: missing, but listed in val.csv" in lines[0]
        assert "climbs_out.jpg: missing" in lines[1]

    @pytest.mark.parametrize(
        "content", [b"", b"a,b\n1,2\n", b"filename,label\nonly\n", b"\xff\xfe\x00", b"\x00" * 40]
    )
    def test_an_invalid_table_is_refused(self, tmp_path, content):
        root = write_tables(tmp_path / "set")
        (root / "val.csv").write_bytes(content)
        (line,) = refusal(root)
        assert "is not a table of filename,label" in line or "classes missing" in line

    def test_the_command_reports_all_mistakes_and_leaves_nothing(self, metarun, tmp_path):
        code, _, err = metarun(
            *("data=cub", f"data.root={tmp_path / 'gone'}", "out=run"),
            *("ways=2", "shots=1", "queries=2"),
        )
        assert code == 2
        assert len(err) == 1
        assert not (tmp_path / "run").exists()
