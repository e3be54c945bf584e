"""The command `metarun clean`: it deletes prepared arrays, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from metarun.data.preparation.cache import prepared
from metarun.data.preparation.cached_files import ARRAY, INDEX, LOCK
from metarun.data.preparation.images import Class, Images

Metarun = Callable[..., tuple[int, str, list[str]]]


def classes() -> Iterator[Class]:
    yield Class("a", np.zeros((2, 1, 10, 10), np.uint8))


def prepare(folder: Path, root: Path | None = None) -> Images:
    return prepared(folder, "key", classes, root=root)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("METARUN_DATA", str(tmp_path / "data"))
    return tmp_path / "data" / "cache"


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name != LOCK)


def test_without_arguments_prepared_data_is_listed_and_kept(metarun: Metarun, cache: Path) -> None:
    prepare(cache / "glyphs")
    prepare(cache / "image_folder" / "one", Path("/pictures/birds"))
    old = (cache / "glyphs" / ARRAY).stat().st_mtime - 3 * 86400 - 100
    for name in (ARRAY, INDEX):
        os.utime(cache / "glyphs" / name, (old, old))
    code, out, err = metarun("clean")
    assert (code, err) == (0, [])
    first, glyphs, birds, last = out.splitlines()
    assert first.startswith(f"prepared, in {cache}: ")
    assert glyphs.split()[0] == "glyphs" and glyphs.endswith("3 days old")
    assert birds.split()[0] == "image_folder/one" and birds.endswith(
        "new         from /pictures/birds"
    )
    assert last.startswith("nothing was deleted")
    assert metarun("list", "data")[1].splitlines()[-3:] == [first, glyphs, birds]
    assert files(cache / "glyphs") == [INDEX, ARRAY]


def test_the_arrays_of_a_data_set_are_deleted(metarun: Metarun, cache: Path) -> None:
    for name in ("glyphs", "image_folder/one", "image_folder/two", "omniglot"):
        prepare(cache / name)
    code, out, err = metarun("clean", "data=image_folder", "data=glyphs")
    assert (code, err) == (0, [])
    names = ("image_folder/one", "image_folder/two", "glyphs")
    assert [line.split()[0] for line in out.splitlines()[:-1]] == [str(cache / n) for n in names]
    assert out.splitlines()[-1].startswith("deleted: ")
    assert all(files(cache / name) == [] for name in names)
    assert files(cache / "omniglot") == [INDEX, ARRAY]
    assert prepare(cache / "glyphs").items.shape == (2, 1, 10, 10)  # prepared again


@pytest.mark.parametrize("name", ["cifar_fs", "fc100"])
def test_data_sets_that_share_a_folder_are_deleted_together(
    metarun: Metarun, cache: Path, name: str
) -> None:
    prepare(cache / "cifar100")
    assert metarun("clean", f"data={name}")[0] == 0
    assert files(cache / "cifar100") == []


def test_a_data_set_of_ones_own_leaves_that_of_another_root(
    metarun: Metarun, cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "own" / "data").mkdir(parents=True)
    (tmp_path / "own" / "data" / "birds.yaml").write_text(
        "_target_: metarun.data.image_folder.ImageFolder\n"
        "root: /pictures/birds\ncache: ${data_home}/cache\n"
    )
    prepare(cache / "image_folder" / "one", Path("/pictures/birds"))
    prepare(cache / "image_folder" / "two", Path("/pictures/cats"))
    assert metarun("clean", "data=birds", "--config-dir", str(tmp_path / "own"))[0] == 0
    assert files(cache / "image_folder" / "one") == []
    assert files(cache / "image_folder" / "two") == [INDEX, ARRAY]


def test_nothing_prepared_is_no_error(metarun: Metarun, cache: Path) -> None:
    code, out, err = metarun("clean", "data=omniglot")
    assert (code, err) == (0, [])
    assert out.splitlines() == ["data=omniglot: nothing is prepared", "deleted: 0 bytes"]


def test_files_of_the_user_beside_the_arrays_stay(metarun: Metarun, tmp_path: Path) -> None:
    folder = tmp_path / "my data" / "glyphs"
    prepare(folder)
    for name in ("notes.txt", f"{ARRAY}.bak", "metarun_sources.json"):
        (folder / name).touch()
    killed = folder / f".{ARRAY}.metarun-x1.part"
    killed.touch()
    assert metarun("clean", "my data")[0] == 0
    assert files(folder) == ["metarun_items.npy.bak", "metarun_sources.json", "notes.txt"]


def test_other_folders_are_refused_and_then_nothing_is_deleted(
    metarun: Metarun, cache: Path, tmp_path: Path
) -> None:
    prepare(cache / "glyphs")
    (tmp_path / "runs" / "one").mkdir(parents=True)
    (tmp_path / "runs" / "one" / "config.yaml").touch()
    np.save(tmp_path / "runs" / "items.npy", np.zeros(3))
    (tmp_path / "link").symlink_to(cache / "glyphs")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / ARRAY).symlink_to(cache / "glyphs" / ARRAY)
    words = ["runs", "nowhere", "link", "linked", "data=omnglot", "shots=5", "runs/items.npy"]
    code, out, err = metarun("clean", "data=glyphs", *words)
    assert (code, out) == (2, "")
    assert [line.split(": ")[1] for line in err] == words
    assert "did you mean omniglot?" in err[4]
    assert files(cache / "glyphs") == [INDEX, ARRAY]
    assert (tmp_path / "runs" / "items.npy").exists()


def test_data_in_use_is_refused(metarun: Metarun, cache: Path) -> None:
    pytest.importorskip("fcntl", reason="needs locks of POSIX")
    prepare(cache / "omniglot")
    images = prepare(cache / "glyphs")
    part = images.items[1:]  # a split of a run
    del images
    code, _, (line,) = metarun("clean", "data=omniglot", "data=glyphs")
    assert code == 2
    assert line.startswith(f"metarun: {cache / 'glyphs'}: a running process uses it")
    assert files(cache / "omniglot") == [INDEX, ARRAY]
    assert part.shape == (1, 1, 10, 10)
    del part
    assert metarun("clean", "data=glyphs")[0] == 0


def test_data_that_is_being_prepared_is_refused(metarun: Metarun, cache: Path) -> None:
    prepare(cache / "glyphs")
    with FileLock(cache / "glyphs" / LOCK):
        code, _, err = metarun("clean", "data=glyphs")
    assert (code, len(err)) == (2, 1)
    assert files(cache / "glyphs") == [INDEX, ARRAY]
