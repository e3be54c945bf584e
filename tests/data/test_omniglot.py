"""Omniglot: content hash, rotations after the split, and one-line errors."""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import os
import random
import shutil
import socket
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metarun.data import class_splits
from metarun.data import omniglot as module
from metarun.data.classes import Facts
from metarun.data.omniglot import Omniglot, published
from metarun.data.preparation.cache import ARRAY
from metarun.data.preparation.omniglot_images import content_hash, decode, nearest, shrink
from metarun.errors import Refused

SMALL = {  # a miniature: archive, alphabet, characters; the split takes both archives, as the real
    "images_background": {"Greek": [1, 2], "Alphabet_of_the_Magi": [1]},
    "images_evaluation": {"Angelic": [1, 10]},
}
SPLIT = {"train": {"Greek": [1, 2], "Angelic": [1]}, "val": {"Angelic": [10]}}
SPLIT["test"] = {"Alphabet_of_the_Magi": [1]}


@pytest.fixture(scope="module")
def drawings() -> dict[str, np.ndarray]:
    """Path in the archive → ink (105, 105) bool: random blots of 5 × 5 pixels."""
    rng, made = np.random.default_rng(0), {}
    for archive, alphabets in SMALL.items():
        for alphabet, characters in alphabets.items():
            for n in characters:
                for k in range(1, 21):
                    ink = np.kron(rng.random((21, 21)) < 0.3, np.ones((5, 5), bool))
                    made[f"{archive}/{alphabet}/character{n:02d}/{n:04d}_{k:02d}.png"] = ink
    return made


@pytest.fixture(scope="module")
def random_ink() -> np.ndarray:
    return np.random.default_rng(1).random((3, 105, 105)) < 0.3


def png(ink: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(~ink).save(file, "PNG")
    return file.getvalue()


def write_zips(root: Path, contents: dict[str, bytes]) -> Path:
    """In random order, with folder entries and the extra files of macOS."""
    root.mkdir(parents=True, exist_ok=True)
    names = list(contents)
    random.Random(0).shuffle(names)
    for archive in SMALL:
        with zipfile.ZipFile(root / f"{archive}.zip", "w") as file:
            file.writestr(f"{archive}/", b"")
            file.writestr(f"__MACOSX/{archive}/Greek/character01/._0001_01.png", b"?")
            file.writestr("../../../climbed_out.png", b"?")
            for name in names:
                if name.startswith(archive):
                    file.writestr(name, contents[name])
    return root


def write_folders(root: Path, contents: dict[str, bytes]) -> Path:
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
        (root / name).parents[2].joinpath(".DS_Store").write_bytes(b"?")
    return root


@pytest.fixture
def small(drawings, monkeypatch, tmp_path) -> dict[str, bytes]:
    """A small data set, with class lists and content hash patched to match."""
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "omniglot_vinyals.json").write_text(json.dumps(SPLIT))
    monkeypatch.setattr(class_splits, "LISTS", tmp_path / "splits")
    by_class: dict[str, dict[str, np.ndarray]] = {}
    for path, ink in drawings.items():
        _, alphabet, character, name = path.split("/")
        by_class.setdefault(f"{alphabet}/{character}", {})[name] = ink
    monkeypatch.setattr(module, "CONTENT", content_hash(by_class))
    return {path: png(ink) for path, ink in drawings.items()}


def omniglot(root: Path, cache: Path, **keys: str) -> Omniglot:
    """With a `url` that has no server."""
    keys.setdefault("url", f"http://127.0.0.1:{closed_port()}")
    return Omniglot(root=str(root), cache=str(cache), **keys)


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def refusal(root: Path, cache: Path, **keys: str) -> str:
    with pytest.raises(Refused) as refused:
        omniglot(root, cache, **keys).load()
    (line,) = refused.value.mistakes
    assert "\n" not in line
    return line


class TestPreparing:
    @pytest.mark.parametrize("write", [write_zips, write_folders])
    @pytest.mark.parametrize("inside", ["", "omniglot-py"])
    def test_items_are_the_downscaled_drawings(self, small, drawings, tmp_path, write, inside):
        root = write(tmp_path / "Größe [1], a=b" / inside, small)
        base = root.parent if inside else root
        splits = omniglot(base, tmp_path / "cache", rotations="none").load()
        assert {n: s.facts for n, s in splits.items()} == {
            "train": Facts(3, 20),
            "val": Facts(1, 20),
            "test": Facts(1, 20),
        }
        assert splits["train"].names == (
            "Greek/character01",
            "Greek/character02",
            "Angelic/character01",
        )
        for split in splits.values():
            assert split.shape == (1, 28, 28)
            for name, first in zip(split.names, split.first, strict=True):
                paths = sorted(p for p in drawings if f"/{name}/" in p)
                for k, path in enumerate(paths):
                    # 105 · 4 = 28 · 15: a pixel is the mean of 15 × 15 quarter pixels
                    fine = drawings[path].repeat(4, axis=0).repeat(4, axis=1)
                    share = fine.reshape(28, 15, 28, 15).mean(axis=(1, 3))
                    assert np.abs(split.items[first + k, 0] - 255 * share).max() <= 0.5 + 1e-9

    def test_zips_and_folders_give_the_same_bytes(self, small, tmp_path):
        one = omniglot(write_zips(tmp_path / "a", small), tmp_path / "cache a").load()
        two = omniglot(write_folders(tmp_path / "b", small), tmp_path / "cache b").load()
        assert np.array_equal(one["train"].items, two["train"].items)
        assert {n: s.sha256 for n, s in one.items()} == {n: s.sha256 for n, s in two.items()}

    def test_the_second_start_does_not_need_the_files(self, small, tmp_path):
        root = write_zips(tmp_path / "omniglot", small)
        first = omniglot(root, tmp_path / "cache").load()
        shutil.rmtree(root)
        again = omniglot(root, tmp_path / "cache").load()
        assert np.array_equal(first["test"].items, again["test"].items)

    def test_ink_is_bright_on_dark_paper(self):
        ink = np.zeros((1, 105, 105), bool)
        ink[0, :15, :15] = True  # 15 pixels of 105 are 4 of 28
        expected = np.zeros((28, 28), np.uint8)
        expected[:4, :4] = 255
        assert np.array_equal(shrink(ink)[0], expected)

    def test_the_nearest_pixel_is_what_pillow_takes_for_images_of_one_bit(self, random_ink):
        resampling = (Image.Resampling.NEAREST, Image.Resampling.LANCZOS)  # ignored for 1 bit
        for ink, small in zip(random_ink, nearest(random_ink), strict=True):
            for method in resampling:
                expected = Image.fromarray(ink).resize((28, 28), method)
                assert np.array_equal(small, np.asarray(expected) * np.uint8(255))

    @pytest.mark.parametrize("turn", [1, 2, 3])
    def test_the_nearest_pixel_of_a_rotated_image_is_rotated(self, random_ink, turn):
        turned = nearest(np.rot90(random_ink, turn, axes=(1, 2)))
        assert np.array_equal(turned, np.rot90(nearest(random_ink), turn, axes=(1, 2)))

    def test_both_ways_have_arrays_of_their_own(self, small, tmp_path):
        root = write_zips(tmp_path / "omniglot", small)
        grey = omniglot(root, tmp_path / "cache").load()["train"]
        black = omniglot(root, tmp_path / "cache", resize="nearest").load()["train"]
        assert set(np.unique(black.items)) == {0, 255}
        assert np.array_equal(omniglot(root, tmp_path / "cache").load()["train"].items, grey.items)
        assert grey.sha256 != black.sha256


class TestRotations:
    def test_rotated_classes_are_added_after_the_split(self, small, tmp_path):
        root = write_zips(tmp_path / "omniglot", small)
        upright = omniglot(root, tmp_path / "cache", rotations="none").load()
        turned = omniglot(root, tmp_path / "cache", rotations="classes").load()
        for name, split in turned.items():
            characters = [n.rsplit("/", 1)[0] for n in split.names]
            assert set(characters) == set(upright[name].names)
            assert all(characters.count(c) == 4 for c in characters)
            assert split.turns.tolist() == [0, 1, 2, 3] * len(upright[name].names)
            assert not split.spin

    def test_rotations_per_episode_add_no_classes(self, small, tmp_path):
        root = write_zips(tmp_path / "omniglot", small)
        for split in omniglot(root, tmp_path / "cache", rotations="episode").load().values():
            assert split.spin == "class"
            assert not split.turns.any()

    def test_evaluation_can_have_rotations_of_its_own(self, small, tmp_path):
        root = write_zips(tmp_path / "omniglot", small)
        data = omniglot(root, tmp_path / "cache", rotations="classes", eval_rotations="none")
        splits = data.load()
        assert {name: split.facts for name, split in splits.items()} == data.facts()
        assert splits["train"].turns.tolist() == [0, 1, 2, 3] * 3  # characters
        assert not splits["val"].turns.any()
        assert not splits["test"].turns.any()
        for kind, same in (("classes", "train"), ("none", "test")):
            other = omniglot(root, tmp_path / "cache", rotations=kind).load()
            assert splits[same].sha256 == other[same].sha256

    def test_the_split_hash_depends_on_the_rotations(self, small, tmp_path):
        root = write_zips(tmp_path / "omniglot", small)
        kinds = ("classes", "episode", "task", "none")
        loads = [omniglot(root, tmp_path / "cache", rotations=kind).load() for kind in kinds]
        assert len({load["test"].sha256 for load in loads}) == 4


class TestTheVinyalsSplit:
    def test_facts_do_not_touch_the_disk(self, tmp_path):
        data = partial(Omniglot, root=str(tmp_path / "none"), cache=str(tmp_path / "cache"))
        upright = {"train": Facts(1028, 20), "val": Facts(172, 20), "test": Facts(423, 20)}
        assert data().facts() == {n: Facts(4 * f.classes, 20) for n, f in upright.items()}
        assert data(rotations="none").facts() == data(rotations="episode").facts() == upright
        assert list(tmp_path.iterdir()) == []

    def test_every_character_is_in_one_split(self):
        names = [name for split in published("vinyals").values() for name in split]
        assert len(names) == len(set(names)) == 1623
        assert len({name.split("/")[0] for name in names}) == 50

    def test_it_is_the_published_one(self, real_data):
        folder = real_data / "splits" / "omniglot_vinyals"
        if not folder.is_dir():
            pytest.skip(f"no published split in {folder}")
        for split, names in published("vinyals").items():
            lines = (folder / f"{split}.txt").read_text().split()
            angles = ("000", "090", "180", "270")
            assert sorted(lines) == sorted(f"{n}/rot{a}" for n in names for a in angles)


class TestTheWholeAlphabets:
    """The other two splits: the authors' own, and related scripts held out together."""

    @pytest.mark.parametrize(
        ("split", "classes", "alphabets"),
        [
            ("background_evaluation", (792, 172, 659), (25, 5, 20)),
            ("alphabets", (894, 186, 543), (29, 7, 14)),
        ],
    )
    def test_no_alphabet_is_in_two_splits_and_every_character_is_in_one(
        self, tmp_path, split, classes, alphabets
    ):
        lists = published(split)
        of = {part: {name.split("/")[0] for name in names} for part, names in lists.items()}
        assert tuple(map(len, of.values())) == alphabets
        assert len(set.union(*of.values())) == 50
        names = sorted(name for names in lists.values() for name in names)
        assert names == sorted(name for names in published("vinyals").values() for name in names)
        for rotations, times in {"none": 1, "episode": 1, "classes": 4}.items():
            roots = {"root": str(tmp_path / "none"), "cache": str(tmp_path / "cache")}
            facts = Omniglot(**roots, split=split, rotations=rotations).facts()
            assert facts == dict(zip(lists, (Facts(times * n, 20) for n in classes), strict=True))

    def test_the_authors_split_is_that_of_their_two_archives(self, real_omniglot):
        def characters(archive: str) -> set[str]:
            with zipfile.ZipFile(real_omniglot / f"{archive}.zip") as file:
                paths = [name.split("/") for name in file.namelist() if name.endswith(".png")]
            return {"/".join(path[-3:-1]) for path in paths}

        lists = published("background_evaluation")
        assert {*lists["train"], *lists["val"]} == characters("images_background")
        assert set(lists["test"]) == characters("images_evaluation")

    def test_val_is_the_same_as_in_vinyals(self):
        """Five whole alphabets of the background set."""
        mine, theirs = published("background_evaluation"), published("vinyals")
        assert sorted(mine["val"]) == sorted(theirs["val"])

    def test_related_scripts_are_together(self):
        lists = published("alphabets")
        of = {name.split("/")[0]: part for part, names in lists.items() for name in names}
        assert of["Syriac_(Estrangelo)"] == of["Syriac_(Serto)"] == of["Hebrew"] == "val"
        assert of["Bengali"] == of["Sanskrit"] == of["Tibetan"] == of["Kannada"] == "test"
        assert of["Greek"] == of["Latin"] == of["Cyrillic"] == of["Glagolitic"] == "train"

    def test_another_split_uses_the_cache(self, small, tmp_path, monkeypatch):
        root = write_zips(tmp_path / "omniglot", small)
        other = {"train": SPLIT["test"], "val": SPLIT["val"], "test": SPLIT["train"]}
        (class_splits.LISTS / "omniglot_alphabets.json").write_text(json.dumps(other))
        one = omniglot(root, tmp_path / "cache", rotations="none").load()
        array = tmp_path / "cache" / "omniglot" / ARRAY
        made = array.stat()
        shutil.rmtree(root)
        two = omniglot(root, tmp_path / "cache", split="alphabets", rotations="none").load()
        assert array.stat() == made
        assert two["test"].names == one["train"].names
        assert two["test"].sha256 == one["train"].sha256
        assert two["train"].sha256 != one["train"].sha256


class TestDownloading:
    @pytest.fixture
    def server(self, tmp_path):
        class Quiet(SimpleHTTPRequestHandler):
            def log_message(self, *args: object) -> None:
                pass

        (tmp_path / "served").mkdir()
        handler = partial(Quiet, directory=str(tmp_path / "served"))
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
            yield f"http://127.0.0.1:{server.server_port}"
            server.shutdown()

    @pytest.fixture
    def served(self, small, tmp_path, monkeypatch, server) -> str:
        write_zips(tmp_path / "served", small)
        sums = {}
        for archive in SMALL:
            content = (tmp_path / "served" / f"{archive}.zip").read_bytes()
            sums[archive] = f"md5:{hashlib.md5(content).hexdigest()}"
        monkeypatch.setattr(module, "ARCHIVES", sums)
        return server

    def test_missing_archives_are_downloaded(self, served, small, tmp_path):
        root = tmp_path / "data home" / "omniglot"
        data = omniglot(root, tmp_path / "data home" / "cache", url=served)
        assert data.load()["val"].facts == Facts(4, 20)
        assert sorted(p.name for p in root.iterdir()) == [f"{archive}.zip" for archive in SMALL]

    def test_existing_archives_are_not_downloaded(self, served, small, tmp_path):
        root = write_zips(tmp_path / "root", small)
        (root / "images_evaluation.zip").unlink()
        (tmp_path / "served" / "images_background.zip").unlink()
        omniglot(root, tmp_path / "cache", url=served).load()

    def test_another_file_in_its_place_is_refused(self, server, small, tmp_path):
        write_zips(tmp_path / "served", small)  # their MD5s are not the official ones
        line = refusal(tmp_path / "omniglot", tmp_path / "cache", url=server)
        assert "not the expected file" in line
        assert not (tmp_path / "omniglot").exists()

    def test_a_missing_file_on_the_server_is_one_line(self, server, small, tmp_path):
        line = refusal(tmp_path / "omniglot", tmp_path / "cache", url=server)
        assert "HTTP 404" in line

    def test_without_network_the_error_names_files_and_folder(self, small, tmp_path):
        (tmp_path / "my data").mkdir()
        line = refusal(tmp_path / "my data", tmp_path / "elsewhere" / "cache")
        assert "no connection" in line
        assert f"data.root={tmp_path / 'my data'}" in line
        for archive in SMALL:
            assert f"/{archive}.zip" in line
        assert list((tmp_path / "my data").iterdir()) == []

    def test_a_missing_root_is_refused_even_if_cached(self, small, tmp_path):
        omniglot(write_zips(tmp_path / "omniglot", small), tmp_path / "cache").load()
        nowhere = tmp_path / "else" / "nowhere"
        line = refusal(nowhere, tmp_path / "cache")
        assert line.startswith(f"data.root={nowhere}: no such folder")
        assert not nowhere.exists()


class TestRefusing:
    """Wrong files are refused in one line that names the file, and nothing is cached."""

    def refused(self, tmp_path, contents: dict[str, bytes], write=write_zips) -> str:
        root = write(tmp_path / "root", contents)
        line = refusal(root, tmp_path / "cache")
        assert str(root) in line
        assert not list((tmp_path / "cache" / "omniglot").glob("i*"))
        return line

    @pytest.mark.parametrize("write", [write_zips, write_folders])
    def test_a_missing_class(self, small, tmp_path, write):
        left = {p: c for p, c in small.items() if "Angelic/character10" not in p}
        line = self.refused(tmp_path, left, write)
        assert "1 of 5 classes missing (Angelic/character10)" in line

    def test_a_missing_image(self, small, tmp_path):
        del small["images_evaluation/Angelic/character01/0001_07.png"]
        line = self.refused(tmp_path, small)
        assert "1 classes without 20 images (Angelic/character01: 19)" in line

    def test_an_unknown_class(self, small, tmp_path):
        some = next(iter(small.values()))
        small["images_background/Klingon/character01/0001_01.png"] = some
        assert "1 classes unknown (Klingon/character01)" in self.refused(tmp_path, small)

    def test_a_pixel_altered(self, small, drawings, tmp_path):
        path = "images_background/Greek/character02/0002_20.png"
        ink = drawings[path].copy()
        ink[50, 50] ^= True
        assert "altered" in self.refused(tmp_path, small | {path: png(ink)})

    @pytest.mark.parametrize("write", [write_zips, write_folders])
    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "not a PNG"),
            (b"GIF89a", "not a PNG"),
            (png(np.zeros((105, 105), bool))[:60], ""),
            (png(np.zeros((28, 28), bool)), "28×28 pixels"),
        ],
    )
    def test_a_broken_image(self, small, tmp_path, write, content, reason):
        path = "images_background/Greek/character02/0002_20.png"
        line = self.refused(tmp_path, small | {path: content}, write)
        assert path in line
        assert reason in line

    @pytest.mark.parametrize("content", [b"", b"<html>not found</html>"])
    def test_not_a_zip_file(self, small, tmp_path, content):
        root = write_zips(tmp_path / "root", small)
        (root / "images_evaluation.zip").write_bytes(content)
        line = refusal(root, tmp_path / "cache")
        assert line.startswith(f"{root / 'images_evaluation.zip'}: not a whole zip file")

    def test_an_empty_folder_in_its_place(self, small, tmp_path):
        root = write_zips(tmp_path / "root", small)
        (root / "images_evaluation.zip").unlink()
        (root / "images_evaluation").mkdir()
        assert "2 of 5 classes missing" in refusal(root, tmp_path / "cache")


def load_real(root: str, cache: str, answers) -> None:
    answers.put({n: s.sha256 for n, s in Omniglot(root=root, cache=cache).load().items()})


@pytest.fixture(scope="module")
def prepared(real_omniglot, tmp_path_factory):
    """By two processes at the same time."""
    cache = str(tmp_path_factory.mktemp("real"))
    spawn = multiprocessing.get_context("spawn")
    answers = spawn.Queue()
    args = (str(real_omniglot), cache, answers)
    runs = [spawn.Process(target=load_real, args=args) for _ in range(2)]
    for run in runs:
        run.start()
    hashes = [answers.get(timeout=120) for _ in runs]
    for run in runs:
        run.join(20)
    return str(real_omniglot), cache, hashes


class TestTheRealOne:
    def test_two_first_runs_agree(self, prepared):
        _, _, (one, two) = prepared
        assert one == two

    def test_the_second_start_is_the_same(self, prepared):
        root, cache, hashes = prepared
        splits = Omniglot(root=root, cache=cache).load()
        assert {n: s.sha256 for n, s in splits.items()} == hashes[0]

    def test_it_is_complete(self, prepared):
        root, cache, _ = prepared
        splits = Omniglot(root=root, cache=cache).load()
        assert splits["train"].items.shape == (32_460, 1, 28, 28)
        assert [len(s.names) for s in splits.values()] == [4112, 688, 1692]
        assert {int(n) for s in splits.values() for n in s.counts} == {20}

    def test_two_drawings_known_to_be_identical_are(self, prepared):
        root, cache, _ = prepared
        splits = Omniglot(root=root, cache=cache, rotations="none").load()
        (braille,) = (s for s in splits.values() if "Braille/character01" in s.names)
        first = braille.first[braille.names.index("Braille/character01")]
        assert np.array_equal(braille.items[first + 2], braille.items[first + 18])
        assert not np.array_equal(braille.items[first + 2], braille.items[first + 3])


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read anything")
def test_a_folder_without_rights_is_one_line(small, tmp_path):
    root = write_folders(tmp_path / "root", small)
    path = root / "images_background" / "Greek" / "character01" / "0001_01.png"
    path.chmod(0)
    assert str(path) in refusal(root, tmp_path / "cache")


def test_a_zip_and_a_folder_may_stand_side_by_side(small, tmp_path):
    root = write_zips(tmp_path / "root", small)
    (root / "images_evaluation.zip").unlink()
    write_folders(root, {p: c for p, c in small.items() if p.startswith("images_evaluation")})
    assert omniglot(root, tmp_path / "cache").load()["train"].facts == Facts(12, 20)


def test_the_same_image_under_two_modes_is_the_same(tmp_path, drawings):
    """1-bit, grey and colour PNGs of one drawing decode to the same ink."""
    path, ink = next(iter(drawings.items()))
    found = []
    for mode in ("1", "L", "RGB", "P"):
        file = tmp_path / mode / path
        file.parent.mkdir(parents=True)
        Image.fromarray(~ink).convert(mode).save(file)
        found.append(decode([tmp_path / mode / "images_background"]))
    for images in found:
        (name,) = images
        assert np.array_equal(next(iter(images[name].values())), ink)
