"""CIFAR-100: safe reading of the official files, split by the published lists of classes."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import json
import os
import pickle
import shutil
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from metarun.data import cifar100 as module
from metarun.data import class_splits
from metarun.data.cifar100 import Cifar100, published
from metarun.data.classes import Facts
from metarun.data.preparation.cache import LOCK
from metarun.errors import Refused

NAMES = sorted(name for split in published("cifar_fs").values() for name in split)
EACH = {"train": 2, "test": 1}  # photographs of each class; 500 and 100 in the real files


@pytest.fixture(scope="module")
def contents() -> dict[str, dict[str, object]]:
    """Small versions of the three official files: 300 photographs of noise in random order."""
    rng, made = np.random.default_rng(0), {}
    for name, each in EACH.items():
        labels = rng.permutation(np.repeat(np.arange(100), each))
        made[name] = {
            "filenames": [f"{NAMES[n]}_s_{k:06d}.png" for k, n in enumerate(labels)],
            "batch_label": f"{name}ing batch 1 of 1",
            "fine_labels": labels.tolist(),
            "coarse_labels": (labels % 20).tolist(),
            "data": rng.integers(0, 256, (len(labels), 3072), dtype=np.uint8),
        }
    made["meta"] = {"fine_label_names": NAMES, "coarse_label_names": ["fish"] * 20}
    return made


def pickled(contents: dict[str, dict[str, object]]) -> dict[str, bytes]:
    return {name: pickle.dumps(content, protocol=2) for name, content in contents.items()}


def packed(files: dict[str, bytes]) -> bytes:
    """Starts with an entry for the folder, like the official archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        folder = tarfile.TarInfo("cifar-100-python")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in [*files.items(), ("file.txt~", b"")]:
            entry = tarfile.TarInfo(f"cifar-100-python/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), 1, mtime=0)


def write_archive(root: Path, files: dict[str, bytes]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "cifar-100-python.tar.gz").write_bytes(packed(files))
    return root


def write_folder(root: Path, files: dict[str, bytes]) -> Path:
    (root / "cifar-100-python").mkdir(parents=True)
    for name, content in files.items():
        (root / "cifar-100-python" / name).write_bytes(content)
    return root


@pytest.fixture(scope="module")
def files(contents) -> dict[str, bytes]:
    return pickled(contents)


@pytest.fixture
def cifar(tmp_path, no_network) -> Callable[..., Cifar100]:
    """With a `url` that has no server."""
    return partial(Cifar100, cache=str(tmp_path / "cache"), url=f"{no_network}/c.tar.gz")


@pytest.fixture
def official(files, monkeypatch) -> bytes:
    """The small archive, with the official checksums patched to match."""
    archive = packed(files)
    monkeypatch.setattr(module, "MD5", hashlib.md5(archive).hexdigest())
    sums = {name: hashlib.md5(files[name]).hexdigest() for name in module.MEMBERS}
    monkeypatch.setattr(module, "MEMBERS", sums)
    return archive


@pytest.fixture(scope="module")
def good(files, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    root = str(write_archive(folder / "root", files))
    Cifar100(root=root, cache=str(folder / "cache")).load()
    return folder / "cache"


def refusal(data: Cifar100) -> str:
    with pytest.raises(Refused) as refused:
        data.load()
    (line,) = refused.value.mistakes
    assert "\n" not in line
    return line


class TestReading:
    @pytest.mark.parametrize("write", [write_archive, write_folder])
    def test_items_are_the_photographs_of_both_portions(
        self, cifar, contents, files, tmp_path, write
    ):
        splits = cifar(root=str(write(tmp_path / "Größe [1]", files))).load()
        for split in splits.values():
            assert split.shape == (3, 32, 32)
            for name, first, count in zip(split.names, split.first, split.counts, strict=True):
                expected = [
                    row
                    for portion in EACH
                    for row, label in zip(
                        contents[portion]["data"], contents[portion]["fine_labels"], strict=True
                    )
                    if NAMES[label] == name
                ]
                items = split.items[first : first + count]
                assert np.array_equal(items.reshape(count, -1), expected)

    def test_the_first_third_of_an_image_is_its_red(self, cifar, contents, tmp_path):
        """The documented layout: 1,024 red, 1,024 green, 1,024 blue, each in row-major order."""
        data = contents["train"]["data"].copy()
        data[:] = 0
        data[:, 33] = 200  # red, second row, second column
        files = pickled(contents | {"train": contents["train"] | {"data": data}})
        split = cifar(root=str(write_archive(tmp_path / "root", files))).load()["train"]
        image = split.items[split.first[0]]
        assert image[0, 1, 1] == 200
        assert image.sum() == 200

    def test_archive_folder_and_pickle_protocol_do_not_matter(
        self, cifar, contents, files, tmp_path
    ):
        def shas(root: Path) -> dict[str, str]:
            return {n: s.sha256 for n, s in cifar(root=str(root)).load().items()}

        one = shas(write_archive(tmp_path / "a", files))
        assert shas(write_folder(tmp_path / "b", files)) == one
        assert shas(tmp_path / "b" / "cifar-100-python") == one
        as_bytes = {
            name: pickle.dumps({key.encode(): value for key, value in content.items()}, 4)
            for name, content in contents.items()
        }
        assert shas(write_archive(tmp_path / "c", as_bytes)) == one

    def test_other_files_are_accepted_with_a_warning(self, cifar, files, tmp_path, caplog):
        root = write_archive(tmp_path / "root", files)
        for _ in range(2):
            caplog.clear()
            cifar(root=str(root)).load()
            (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
            assert "not the official files" in warning
            assert str(root) in warning

    @pytest.mark.parametrize("write", [write_archive, write_folder])
    def test_the_official_files_give_no_warning(
        self, cifar, files, tmp_path, caplog, write, official
    ):
        cifar(root=str(write(tmp_path / "root", files))).load()
        assert not [r for r in caplog.records if r.levelname == "WARNING"]


class TestTheCache:
    def test_both_splits_share_the_cache(self, cifar, files, tmp_path):
        root = str(write_archive(tmp_path / "root", files))
        cifar(root=root).load()
        before = sorted((tmp_path / "cache" / "cifar100").glob("items*"))
        cifar(root=root, split="fc100").load()
        assert sorted((tmp_path / "cache" / "cifar100").glob("items*")) == before

    def test_the_official_files_are_not_needed_once_cached(self, cifar, files, tmp_path, official):
        root = write_archive(tmp_path / "root", files)
        first = cifar(root=str(root)).load()
        shutil.rmtree(root)
        root.mkdir()
        again = cifar(root=str(root)).load()
        assert first["test"].sha256 == again["test"].sha256

    def test_other_files_are_prepared_again(self, cifar, contents, files, tmp_path):
        root = write_archive(tmp_path / "root", files)
        first = cifar(root=str(root)).load()
        data = contents["train"]["data"] ^ 1
        write_archive(root, pickled(contents | {"train": contents["train"] | {"data": data}}))
        assert cifar(root=str(root)).load()["test"].sha256 != first["test"].sha256

    def test_a_file_is_read_again_only_if_it_changed(self, cifar, files, tmp_path, monkeypatch):
        root = str(write_archive(tmp_path / "root", files))
        cifar(root=root).load()
        monkeypatch.setattr(hashlib, "file_digest", lambda *a: pytest.fail("read again"))
        cifar(root=root).load()


class TestTheSplits:
    @pytest.mark.parametrize(
        ("split", "sizes"), [("cifar_fs", (64, 16, 20)), ("fc100", (60, 20, 20))]
    )
    def test_facts_do_not_touch_the_disk(self, cifar, tmp_path, split, sizes):
        facts = cifar(root=str(tmp_path / "none"), split=split).facts()
        assert facts == dict(
            zip(("train", "val", "test"), [Facts(size, 600) for size in sizes], strict=True)
        )
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("split", ["cifar_fs", "fc100"])
    def test_every_class_is_in_one_split(self, split):
        names = [name for part in published(split).values() for name in part]
        assert len(names) == 100
        assert sorted(names) == NAMES
        assert NAMES[:3] + NAMES[-1:] == ["apple", "aquarium_fish", "baby", "worm"]

    def test_cifar_fs_is_the_published_one(self, real_data):
        folder = real_data / "splits" / "cifar_fs"
        if not folder.is_dir():
            pytest.skip(f"no published split in {folder}")
        for split, names in published("cifar_fs").items():
            listed = json.loads((folder / f"{split}.json").read_text())
            assert sorted(names) == sorted(name for _, name in listed)

    def test_fc100_is_the_published_one(self, real_data):
        """Whole superclasses, each with the five classes that the list of CIFAR-FS gives it."""
        folder = real_data / "splits"
        if not (folder / "fc100").is_dir():
            pytest.skip(f"no published split in {folder}")
        members: dict[str, set[str]] = {}
        for part in ("train", "val", "test"):
            for kind, name in json.loads((folder / "cifar_fs" / f"{part}.json").read_text()):
                members.setdefault(kind, set()).add(name)
        for split, names in published("fc100").items():
            kinds = json.loads((folder / "fc100" / f"{split}.json").read_text())
            assert set(names) == set().union(*(members[kind] for kind in kinds))

    def test_fc100_holds_out_whole_superclasses(self):
        content = class_splits.published_list("fc100")
        kinds = [kind for part in ("train", "val", "test") for kind in content[part]]
        assert len(kinds) == len(set(kinds)) == 20
        assert {len(c) for part in ("train", "val", "test") for c in content[part].values()} == {5}


class TestDownloading:
    def test_a_missing_archive_is_downloaded_and_kept(self, cifar, official, web, tmp_path):
        web.files["/c.tar.gz"] = official
        root = tmp_path / "cifar100"
        splits = cifar(root=str(root), url=f"{web.url}/c.tar.gz").load()
        assert splits["train"].facts == Facts(64, 3)
        assert [p.name for p in root.iterdir()] == ["cifar-100-python.tar.gz"]

    def test_a_failed_download_is_one_line_and_leaves_nothing(self, cifar, official, web, tmp_path):
        root, url = tmp_path / "cifar100", f"{web.url}/c.tar.gz"
        web.files["/c.tar.gz"] = official
        web.cut = {"/c.tar.gz"}
        lines = [refusal(cifar(root=str(root), url=url))]
        web.cut = set()
        web.files["/c.tar.gz"] = official + b"!"
        lines.append(refusal(cifar(root=str(root), url=url)))
        del web.files["/c.tar.gz"]
        lines.append(refusal(cifar(root=str(root), url=url)))
        lines.append(refusal(cifar(root=str(root))))
        for line, reason in zip(
            lines,
            ("cut off", "not the expected file", "HTTP 404", "no connection"),
            strict=True,
        ):
            assert reason in line
            assert f"data.root={root}" in line
        assert not root.exists()
        assert not list((tmp_path / "cache" / "cifar100").glob("i*"))

    def test_a_missing_root_is_refused(self, cifar, tmp_path):
        nowhere = tmp_path / "else" / "nowhere"
        assert refusal(cifar(root=str(nowhere))).startswith(f"data.root={nowhere}: no such folder")


class TestRefusing:
    """Wrong files are refused in one line that names the file, and the cache is unchanged."""

    @pytest.fixture
    def refused(self, cifar, good, tmp_path, caplog):
        cache = shutil.copytree(good, tmp_path / "cache") / "cifar100"
        before = {p.name: p.stat().st_mtime_ns for p in cache.iterdir() if p.name != LOCK}
        number = itertools.count()

        def refused(files: dict[str, bytes], write=write_archive) -> str:
            root = write(tmp_path / f"bad {next(number)}", files)
            line = refusal(cifar(root=str(root)))
            assert str(root) in line
            assert not [r for r in caplog.records if r.levelname == "WARNING"]
            return line

        yield refused
        after = {p.name: p.stat().st_mtime_ns for p in cache.iterdir() if p.name != LOCK}
        assert after == before

    @pytest.mark.parametrize("write", [write_archive, write_folder])
    @pytest.mark.parametrize("member", ["train", "test", "meta"])
    def test_a_pickle_that_would_run_code(self, refused, files, contents, tmp_path, member, write):
        class Attack:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "was here"),)

        hostile = pickle.dumps(contents[member] | {"batch_label": Attack()}, 2)
        line = refused(files | {member: hostile}, write)
        assert f"cifar-100-python/{member}" in line
        assert "mkdir" in line
        assert not (tmp_path / "was here").exists()

    @pytest.mark.parametrize("write", [write_archive, write_folder])
    def test_a_missing_file(self, refused, files, write):
        assert "lacks" in refused({n: c for n, c in files.items() if n != "meta"}, write)

    @pytest.mark.parametrize("content", [b"", b"<html>", b"\x80\x02}"])
    def test_not_a_pickle(self, refused, files, content):
        for write in (write_archive, write_folder):
            assert "not a file of CIFAR-100" in refused(files | {"test": content}, write)

    def test_not_an_archive(self, refused, files):
        def write(root: Path, files: dict[str, bytes]) -> Path:
            root.mkdir()
            (root / "cifar-100-python.tar.gz").write_bytes(files["whole"])
            return root

        whole = packed(files)
        for content in (b"", b"<html>", whole[: len(whole) // 2]):
            assert "not a whole tar.gz file" in refused({"whole": content}, write)

    @pytest.mark.parametrize(
        ("key", "value", "reason"),
        [
            ("data", np.zeros((200, 3071), np.uint8), "3,072 bytes"),
            ("data", np.zeros((200, 3072), np.float32), "3,072 bytes"),
            ("data", np.zeros(200 * 3072, np.uint8), "3,072 bytes"),
            ("data", [0] * 200, "3,072 bytes"),
            ("data", None, "3,072 bytes"),
            ("data", np.zeros((199, 3072), np.uint8), "200 labels of 199 images"),
            ("fine_labels", [100] * 200, "from 0 to 99"),
            ("fine_labels", [-1] * 200, "from 0 to 99"),
            ("fine_labels", [True] * 200, "from 0 to 99"),
            ("fine_labels", ["1"] * 200, "from 0 to 99"),
            ("fine_labels", None, "from 0 to 99"),
        ],
    )
    def test_a_portion_of_another_form(self, refused, contents, key, value, reason):
        train = contents["train"] | {key: value}
        assert reason in refused(pickled(contents | {"train": train}))

    @pytest.mark.parametrize("names", [NAMES[::-1], NAMES[:99], ["x"] * 100, "apple", None, [[]]])
    def test_classes_of_other_names(self, refused, contents, names):
        meta = {"fine_label_names": names}
        assert "fine_label_names" in refused(pickled(contents | {"meta": meta}))

    @pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read anything")
    def test_a_file_without_rights(self, cifar, files, tmp_path):
        root = write_archive(tmp_path / "root", files)
        (root / "cifar-100-python.tar.gz").chmod(0)
        assert "cannot be read" in refusal(cifar(root=str(root)))


def test_a_run_from_one_line(metarun, files, tmp_path):
    root = write_archive(tmp_path / "root", files)
    tiny = [
        f"data.root={root}",
        f"data.cache={tmp_path / 'cache'}",
        "debug=tiny",
        "queries=2",
        "threads=1",
    ]
    for name in ("cifar_fs", "fc100"):
        code, _, err = metarun(f"data={name}", *tiny, "backbone.filters=8", f"out={name}")
        assert code == 0
        assert len(err) == 1
        assert "not the official files" in err[0]


def test_a_hostile_file_is_one_line_and_exit_2(metarun, files, tmp_path):
    root = write_archive(tmp_path / "root", files | {"meta": b"cos\nsystem\n(S'touch x'\ntR."})
    argv = [f"data.root={root}", f"data.cache={tmp_path / 'cache'}", "out=one"]
    code, _, err = metarun("data=cifar_fs", *argv)
    assert code == 2
    assert len(err) == 1
    assert not (tmp_path / "one").exists()
    assert not (tmp_path / "x").exists()
