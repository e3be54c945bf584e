"""MedMNIST: classes of several members, each in one split, read from files of the official form."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metarun.data.classes import Facts
from metarun.data.medmnist import MedMNIST
from metarun.data.preparation import medmnist_files
from metarun.data.preparation.cache import LOCK
from metarun.data.preparation.medmnist_members import MEMBERS
from metarun.errors import Refused

EACH = {"train": 3, "val": 1, "test": 2}  # images of each class in a member's own portions
CHOSEN = {"train": ["breastmnist", "dermamnist"], "val": ["octmnist"], "test": ["bloodmnist"]}
NAMES = [name for names in CHOSEN.values() for name in names]


def arrays(member: str, size: int = 28) -> dict[str, np.ndarray]:
    """Arrays as in the official file of a member, with images of noise in random order."""
    rng = np.random.default_rng(len(member))
    classes, made = len(MEMBERS[member]["labels"]), {}
    shape = (size, size, 3) if MEMBERS[member]["channels"] == 3 else (size, size)
    for portion, each in EACH.items():
        labels = rng.permutation(np.repeat(np.arange(classes, dtype=np.uint8), each))
        images = rng.integers(0, 256, (len(labels), *shape), dtype=np.uint8)
        made |= {f"{portion}_images": images, f"{portion}_labels": labels[:, None]}
    return made


def npz(contents: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **contents)
    return buffer.getvalue()


def write(root: Path, **changed: bytes) -> Path:
    """Write the files of the chosen members, with content replaced by `changed`; empty omits it."""
    root.mkdir(parents=True)
    for name in NAMES:
        content = changed.get(name, npz(arrays(name)))
        if content is not None:
            (root / f"{name}.npz").write_bytes(content)
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("Größe [1], a=b") / "medmnist")


@pytest.fixture
def medmnist(tmp_path, no_network) -> Callable[..., MedMNIST]:
    """With a `url` that has no server."""
    return partial(MedMNIST, cache=str(tmp_path / "cache"), url=no_network, **CHOSEN)


def refusals(data: MedMNIST) -> list[str]:
    with pytest.raises(Refused) as refused:
        data.load()
    assert not any("\n" in line for line in refused.value.mistakes)
    return refused.value.mistakes


def images_of(member: str, label: int) -> np.ndarray:
    """All images of a class, in the order of the portions."""
    content = arrays(member)
    return np.concatenate(
        [content[f"{p}_images"][content[f"{p}_labels"][:, 0] == label] for p in EACH]
    )


class TestReading:
    @pytest.mark.parametrize("budget", [1, 20_000, 1 << 30])
    def test_items_are_the_images_of_all_three_portions(self, medmnist, root, monkeypatch, budget):
        """The memory budget does not change the result."""
        monkeypatch.setattr(medmnist_files, "BUDGET", budget)
        splits = medmnist(root=str(root)).load()
        for split, members in CHOSEN.items():
            expected = [(m, label) for m in members for label in range(len(MEMBERS[m]["labels"]))]
            assert len(splits[split].names) == len(expected)
            for k, (member, label) in enumerate(expected):
                name, first = splits[split].names[k], splits[split].first[k]
                assert name == f"{member}/{MEMBERS[member]['labels'][label]}"
                items = splits[split].items[first : first + 6].transpose(0, 2, 3, 1)
                images = images_of(member, label)
                if images.ndim == 3:
                    images = np.stack([images] * 3, axis=-1)
                assert np.array_equal(items, images)

    def test_without_colour_images_are_grey_as_by_pillow(self, medmnist, root):
        splits = medmnist(root=str(root), colour=False).load()
        assert {s.shape for s in splits.values()} == {(1, 28, 28)}
        first = splits["test"].first[0]
        for item, image in zip(
            splits["test"].items[first : first + 6], images_of("bloodmnist", 0), strict=True
        ):
            assert np.array_equal(item[0], np.asarray(Image.fromarray(image).convert("L")))

    def test_larger_images_have_files_of_their_own(self, medmnist, tmp_path):
        (tmp_path / "root").mkdir()
        for name in NAMES:
            np.savez(tmp_path / "root" / f"{name}_64.npz", **arrays(name, 64))
        splits = medmnist(root=str(tmp_path / "root"), size=64).load()
        assert splits["val"].shape == (3, 64, 64)

    def test_a_class_may_have_no_images(self, medmnist, tmp_path):
        content = arrays("bloodmnist")
        for portion in EACH:
            content[f"{portion}_labels"][content[f"{portion}_labels"] == 3] = 4
        root = write(tmp_path / "root", bloodmnist=npz(content))
        assert medmnist(root=str(root)).load()["test"].facts == Facts(8, 0)


class TestTheCache:
    def test_another_assignment_to_splits_uses_the_cache(self, medmnist, root, tmp_path):
        medmnist(root=str(root)).load()
        before = sorted((tmp_path / "cache" / "medmnist").glob("items*"))
        splits = medmnist(root=str(root), val=["bloodmnist"], test="octmnist").load()
        assert splits["test"].names[0].startswith("octmnist/")
        assert sorted((tmp_path / "cache" / "medmnist").glob("items*")) == before

    def test_other_files_and_colours_are_prepared_again(self, medmnist, root, tmp_path):
        shas = [medmnist(root=str(root)).load()["test"].sha256]
        shas.append(medmnist(root=str(root), colour=False).load()["test"].sha256)
        content = arrays("bloodmnist")
        content["val_images"][0] ^= 1
        other = write(tmp_path / "other", bloodmnist=npz(content))
        shas.append(medmnist(root=str(other)).load()["test"].sha256)
        shas.append(medmnist(root=str(root)).load()["test"].sha256)
        assert len(set(shas)) == 3
        assert shas[0] == shas[3]

    def test_official_files_give_no_warning_and_are_not_needed_once_cached(
        self, medmnist, root, tmp_path, monkeypatch, caplog
    ):
        copy = Path(shutil.copytree(root, tmp_path / "copy"))
        for name in NAMES:
            md5 = hashlib.md5((copy / f"{name}.npz").read_bytes()).hexdigest()
            monkeypatch.setitem(MEMBERS[name]["md5"], "28", md5)
        first = medmnist(root=str(copy)).load()
        (copy / "octmnist.npz").unlink()
        assert medmnist(root=str(copy)).load()["val"].sha256 == first["val"].sha256
        assert not [r for r in caplog.records if r.levelname == "WARNING"]

    def test_unofficial_files_are_named_in_a_warning(self, medmnist, root, caplog):
        medmnist(root=str(root)).load()
        (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
        assert "not the official bloodmnist.npz, breastmnist.npz," in warning


class TestChoosingMembers:
    def test_facts_do_not_touch_the_disk(self, tmp_path):
        data = MedMNIST(root=str(tmp_path / "none"), cache=str(tmp_path / "cache"))
        assert {n: f.classes for n, f in data.facts().items()} == {"train": 42, "val": 8, "test": 8}
        assert list(tmp_path.iterdir()) == []

    def test_no_member_of_the_default_is_in_two_splits(self, tmp_path):
        data = MedMNIST(root=str(tmp_path), cache=str(tmp_path))
        names = [name for members in data.members.values() for name in members]
        assert len(names) == len(set(names)) == 6
        assert {MEMBERS[name]["licence"] for name in names} == {"CC BY 4.0"}

    @pytest.mark.parametrize(
        ("keys", "line"),
        [
            ({"test": ["bloodmnst"]}, "data.test=bloodmnst: no such member; did you mean bloodm"),
            ({"val": []}, "data.val=[]: name at least one of pathmnist, dermamnist"),
            ({"val": ["bloodmnist"]}, "data.val and data.test: bloodmnist is in both"),
            ({"test": ["bloodmnist"] * 2}, "data.test=bloodmnist: named twice"),
            ({"test": "chestmnist"}, "data.test=chestmnist: its images have several labels"),
            (
                {"train": ["organamnist"], "test": ["organsmnist"]},
                "data.train and data.test: organamnist and organsmnist are views of the same",
            ),
        ],
    )
    def test_an_invalid_choice_of_members_is_one_line(self, medmnist, tmp_path, keys, line):
        with pytest.raises(Refused) as refused:
            medmnist(root=str(tmp_path), **{**CHOSEN, **keys})
        (mistake,) = refused.value.mistakes
        assert mistake.startswith(line)

    def test_all_mistakes_are_reported_together(self, medmnist, tmp_path):
        with pytest.raises(Refused) as refused:
            medmnist(root=str(tmp_path), train=["x"], val=["y"], test=[])
        assert len(refused.value.mistakes) == 3

    def test_the_facts_of_the_members_are_complete(self):
        assert len(MEMBERS) == 11
        for name, facts in MEMBERS.items():
            assert len(facts["labels"]) == len(set(facts["labels"])) > 1, name
            assert set(facts["md5"]) == {"28", "64", "128", "224"}
        sums = [md5 for facts in MEMBERS.values() for md5 in facts["md5"].values()]
        assert len(set(sums)) == 44
        assert {len(md5) for md5 in sums} == {32}


class TestDownloading:
    @pytest.fixture
    def served(self, web, root, monkeypatch):
        for name in NAMES:
            content = (root / f"{name}.npz").read_bytes()
            web.files[f"/{name}.npz?download=1"] = content
            monkeypatch.setitem(MEMBERS[name]["md5"], "28", hashlib.md5(content).hexdigest())
        return web

    def test_missing_files_are_downloaded_and_kept(self, medmnist, served, tmp_path):
        home = tmp_path / "medmnist"
        splits = medmnist(root=str(home), url=served.url).load()
        assert splits["test"].facts == Facts(8, 6)
        assert sorted(p.name for p in home.iterdir()) == sorted(f"{n}.npz" for n in NAMES)

    def test_existing_files_are_not_downloaded(self, medmnist, served, root, tmp_path):
        home = tmp_path / "medmnist"
        home.mkdir()
        shutil.copy(root / "octmnist.npz", home)
        del served.files["/octmnist.npz?download=1"]
        medmnist(root=str(home), url=served.url).load()

    @pytest.mark.parametrize("fault", ["cut off", "not the expected file", "HTTP 404", "no conn"])
    def test_a_failed_download_is_one_line(self, medmnist, served, no_network, tmp_path, fault):
        home, path = tmp_path / "medmnist", "/bloodmnist.npz?download=1"  # the first one fetched
        if fault == "cut off":
            served.cut = {path}
        elif fault == "not the expected file":
            served.files[path] += b"!"
        elif fault == "HTTP 404":
            del served.files[path]
        url = no_network if fault == "no conn" else served.url
        (line,) = refusals(medmnist(root=str(home), url=url))
        assert fault in line
        assert f"into data.root={home}" in line
        for name in NAMES:
            assert f"{name}.npz" in line
        assert not home.exists()
        assert not list((tmp_path / "cache" / "medmnist").glob("i*"))

    def test_a_missing_root_is_refused(self, medmnist, tmp_path):
        nowhere = tmp_path / "else" / "nowhere"
        (line,) = refusals(medmnist(root=str(nowhere)))
        assert line.startswith(f"data.root={nowhere}: no such folder")


class TestRefusing:
    """Wrong files are refused in one line that names the file, and the cache is unchanged."""

    @pytest.fixture(autouse=True)
    def untouched(self, medmnist, root, tmp_path, caplog):
        medmnist(root=str(root)).load()
        caplog.clear()
        cache = tmp_path / "cache" / "medmnist"
        before = {p.name: p.stat().st_mtime_ns for p in cache.iterdir() if p.name != LOCK}
        yield
        after = {p.name: p.stat().st_mtime_ns for p in cache.iterdir() if p.name != LOCK}
        assert after == before

    def refused(self, medmnist, tmp_path, content: bytes) -> str:
        root = write(tmp_path / "bad", bloodmnist=content)
        (line,) = refusals(medmnist(root=str(root)))
        assert line.startswith(f"{root / 'bloodmnist.npz'}: ")
        return line

    @pytest.mark.parametrize(
        "content", [b"", b"<html>", npz(arrays("bloodmnist"))[:5000], npz(arrays("bloodmnist"))[9:]]
    )
    def test_not_an_npz_file(self, medmnist, tmp_path, content):
        assert "not a whole npz file" in self.refused(medmnist, tmp_path, content)

    @pytest.mark.parametrize("key", [f"{p}_{kind}" for p in EACH for kind in ("images", "labels")])
    def test_a_missing_array(self, medmnist, tmp_path, key):
        content = arrays("bloodmnist")
        del content[key]
        assert f"lacks {key}" in self.refused(medmnist, tmp_path, npz(content))

    @pytest.mark.parametrize(
        ("key", "change", "reason"),
        [
            ("val_images", lambda x: x.astype(object), "Python objects"),
            ("val_labels", lambda y: y.astype(object), "Python objects"),
            ("val_images", lambda x: x.astype(np.float32), "not uint8 ('n', 28, 28, 3)"),
            ("val_images", lambda x: x[..., 0], "not uint8 ('n', 28, 28, 3)"),
            ("val_images", lambda x: x[:, :27], "not uint8 ('n', 28, 28, 3)"),
            ("val_images", lambda x: x[1:], "val_labels is uint8 (8, 1)"),
            ("val_labels", lambda y: y[1:], "val_labels is uint8 (7, 1)"),
            ("val_labels", lambda y: np.eye(8, dtype=np.uint8), "val_labels is uint8 (8, 8)"),
            ("val_labels", lambda y: y.astype(float), "val_labels is float64"),
            ("val_labels", lambda y: y + 1, "not all from 0 to 7"),
            ("val_labels", lambda y: y.astype(int) - 1, "not all from 0 to 7"),
        ],
    )
    def test_an_array_of_another_form(self, medmnist, tmp_path, key, change, reason):
        content = arrays("bloodmnist")
        content[key] = change(content[key])
        assert reason in self.refused(medmnist, tmp_path, npz(content))

    def test_all_broken_files_are_named_at_once(self, medmnist, tmp_path):
        root = write(tmp_path / "bad", bloodmnist=b"", octmnist=b"<html>")
        lines = refusals(medmnist(root=str(root)))
        assert [Path(line.split(":")[0]).name for line in lines] == [
            "bloodmnist.npz",
            "octmnist.npz",
        ]

    def test_a_folder_in_a_files_place(self, medmnist, tmp_path):
        root = write(tmp_path / "bad")
        (root / "octmnist.npz").unlink()
        (root / "octmnist.npz").mkdir()
        (line,) = refusals(medmnist(root=str(root)))
        assert line.startswith(f"{root / 'octmnist.npz'}: cannot be read")

    @pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read anything")
    def test_a_file_without_rights(self, medmnist, tmp_path):
        root = write(tmp_path / "bad")
        (root / "octmnist.npz").chmod(0)
        (line,) = refusals(medmnist(root=str(root)))
        assert line.startswith(f"{root / 'octmnist.npz'}: cannot be read")
        root.chmod(0)
        (line,) = refusals(medmnist(root=str(root)))
        assert line.startswith(f"data.root={root}: cannot be read")


def test_a_run_from_one_line(metarun, root, tmp_path):
    members = [f"data.{split}=[{','.join(names)}]" for split, names in CHOSEN.items()]
    tiny = [f"data.cache={tmp_path / 'cache'}", "debug=tiny", "threads=1", "backbone.filters=8"]
    shutil.copytree(root, tmp_path / "medmnist")
    argv = ["data=medmnist", "data.root=medmnist", *members, "ways=4", *tiny]
    code, _, err = metarun(*argv, "out=one")
    assert code == 0
    assert len(err) == 1
    assert "not the official" in err[0]
    code, _, err = metarun(*argv, "queries=30", "out=two")
    assert code == 2
    assert "(breastmnist/malignant: 6, " in err[-1]
    code, _, err = metarun(*argv, "data.test=3", "data.val=bloodmnist", "out=two")
    assert code == 2
    assert err == ["metarun: data.test=3: should be a valid list"]
    assert not (tmp_path / "two").exists()


def test_one_member_can_be_tested_without_the_files_of_the_others(metarun, root, tmp_path):
    (tmp_path / "one").mkdir()
    shutil.copy(root / "bloodmnist.npz", tmp_path / "one")
    tiny = ["debug=tiny", "threads=1", "backbone.filters=8", "ways=2", "data.size=28"]
    assert metarun("data=glyphs", *tiny[:-1], "out=run")[0] == 0
    data = ["data=medmnist", f"data.root={tmp_path / 'one'}", "data.test=[bloodmnist]"]
    data += [f"data.cache={tmp_path / 'cache'}", "data.url=http://127.0.0.1:1"]
    code, out, err = metarun("evaluate", "run=run", *data, "ways=2", "episodes=4", "name=blood")
    assert code == 0
    assert "not the official" in err[0]
    assert "2-way" in out
    protocol = json.loads(Path("run/evaluations/blood/result.json").read_text())["protocol"]
    assert protocol["data_settings"]["test"] == ["bloodmnist"]
    assert metarun("show", *data, "ways=2", "shots=1", "queries=1")[0] == 0
    code, _, (line,) = metarun(*data, *tiny, "out=trained")
    assert code == 2
    assert "pathmnist" in line
