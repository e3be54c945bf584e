"""Features of a frozen network on disk."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from metarun.backbones.conv4 import Conv4
from metarun.backbones.feature_file import identity
from metarun.backbones.frozen import Frozen, forgetting
from metarun.data.preparation import cached_files
from metarun.training.pretraining import keep_features
from tests.predict.material import pictures
from tests.test_train import result


class Counting(Conv4):
    """Counts the items that it has seen."""

    def __init__(self, seed: int = 0, **settings: str) -> None:
        torch.manual_seed(seed)
        super().__init__((1, 16, 16), filters=4, **settings)
        self.seen = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(len(x))
        return super().forward(x)


def frozen(folder: Path, seed: int = 0) -> Frozen:
    net = Frozen(Counting(seed))
    net.folder = folder
    return net


X = torch.rand(9, 1, 16, 16, generator=torch.Generator().manual_seed(1))


def test_a_later_network_reads_the_same_bits(tmp_path: Path) -> None:
    first, second, without = frozen(tmp_path), frozen(tmp_path), Frozen(Counting())
    first(X[4:])
    assert torch.equal(first(X), second(X.flip(0)).flip(0))
    assert torch.equal(first(X), without(X))
    assert (sum(first.net.seen), second.net.seen) == (9, [])


def test_features_do_not_depend_on_the_items_beside() -> None:
    together, alone = Frozen(Counting()), Frozen(Counting())
    assert torch.equal(together(X), torch.cat([alone(x) for x in X.split(1)]))


def test_whatever_features_depend_on_is_in_the_name() -> None:
    nets = [Counting(), Counting(1), Counting().double(), Counting(downsample="max_pool_ceil")]
    nets.append(Counting())
    nets[-1].get_buffer(next(name for name, _ in nets[-1].named_buffers())).add_(1)
    names = [identity(net.eval()) for net in nets]
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)  # which order sums in another way
        names.append(identity(Counting().eval()))
    finally:
        torch.set_num_threads(threads)
    assert len(set(names)) == 6
    assert identity(Counting().eval()) == names[0]


def test_other_weights_and_another_precision_have_files_of_their_own(tmp_path: Path) -> None:
    net = frozen(tmp_path)
    net(X)
    other = frozen(tmp_path, seed=1)
    net.load_state_dict(other.state_dict())
    assert torch.equal(net(X), other(X))
    assert net.double()(X.double()).dtype == torch.float64
    assert len(list(tmp_path.iterdir())) == 3


def test_the_features_of_a_query_are_not_kept(tmp_path: Path) -> None:
    net = frozen(tmp_path)
    with forgetting(net):
        net(X)
    assert not list(tmp_path.iterdir())


def test_several_writers_at_once(tmp_path: Path) -> None:
    nets = [frozen(tmp_path) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda net: torch.cat([net(x) for x in X.split(2)]), nets))
    assert all(torch.equal(features, found[0]) for features in found)
    net = frozen(tmp_path)
    assert torch.equal(net(X), found[0])
    assert net.net.seen == []


def test_a_writer_that_is_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    frozen(tmp_path)(X[:5])
    (file,) = tmp_path.iterdir()
    code = (
        "import os, sqlite3; database = sqlite3.connect(%r, isolation_level=None); "
        "database.execute('PRAGMA cache_size = 1'); database.execute('BEGIN IMMEDIATE'); "
        "database.execute('UPDATE features SET value = zeroblob(100000)'); "
        "os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code % str(file)]).returncode == -9
    net = frozen(tmp_path)
    assert torch.equal(net(X), Frozen(Counting())(X))
    assert sum(net.net.seen) == 4


def test_a_file_that_cannot_be_used_is_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = Frozen(Counting())(X)
    frozen(tmp_path / "a")(X)
    (damaged,) = (tmp_path / "a").iterdir()
    damaged.write_bytes(b"no database" * 1000)
    (tmp_path / "file").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        for folder in (tmp_path / "a", tmp_path / "file"):
            net = frozen(folder)
            assert torch.equal(torch.cat([net(x) for x in X.split(2)]), expected)
    assert ["cannot be used" in record.message for record in caplog.records] == [True] * 2


def test_a_value_of_another_length_is_computed_again(tmp_path: Path) -> None:
    frozen(tmp_path)(X)
    (file,) = tmp_path.iterdir()
    with sqlite3.connect(file) as database:
        database.execute("UPDATE features SET value = zeroblob(3)")
    database.close()
    assert torch.equal(frozen(tmp_path)(X), Frozen(Counting())(X))
    assert torch.equal((net := frozen(tmp_path))(X), Frozen(Counting())(X))
    assert net.net.seen == []


def test_clean_finds_and_deletes_them(tmp_path: Path) -> None:
    frozen(tmp_path / "features")(X)
    (tmp_path / "features" / "mine.txt").write_text("mine")
    (found,) = cached_files.find(tmp_path)
    assert found.folder == tmp_path / "features"
    assert found.bytes == sum(f.stat().st_size for f in found.folder.glob("*.sqlite"))
    cached_files.delete(found.folder)
    assert [f.name for f in found.folder.iterdir() if f.name[0] != "."] == ["mine.txt"]


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, True),
        ({"weights": None}, False),  # random ones
        ({"net": nn.Sequential(Counting())}, False),  # code of the user
        ({"inputs": (64,)}, False),
        ({"data": {}}, False),
    ],
    ids=["pictures", "random weights", "own network", "no pictures", "no cache"],
)
def test_features_that_are_worth_it_are_kept(changes: dict[str, Any], kept: bool) -> None:
    given = {"weights": "net.pt", "net": Conv4((1, 16, 16), filters=4), "inputs": (1, 16, 16)}
    given |= {"data": {"cache": "cache"}} | changes
    given["net"].features = 4
    config = SimpleNamespace(
        data=given["data"],
        backbone={"weights": given["weights"]},
        choices=SimpleNamespace(backbone="conv4"),
    )
    learner = nn.Sequential(net := Frozen(given["net"]))
    keep_features(learner, config, given["inputs"])
    assert net.folder == (Path("cache/features") if kept else None)


@pytest.mark.slow
def test_a_second_run_computes_no_features(monkeypatch: pytest.MonkeyPatch, metarun) -> None:
    pictures(Path("photos"), dict.fromkeys("abcdef", 4))
    torch.save(Conv4((1, 16, 16), filters=4).state_dict(), "net.pt")
    seen, forward = [], Conv4.forward
    monkeypatch.setattr(Conv4, "forward", lambda net, x: (seen.append(len(x)), forward(net, x))[1])
    words = ["data=image_folder", "data.root=photos", "data.size=16", "data.colour=false"]
    words += ["algo=simpleshot", "backbone=conv4", "backbone.filters=4", "backbone.weights=net.pt"]
    words += ["backbone.frozen=true", "ways=2", "queries=2", "debug=tiny", "threads=1"]
    for out in ("first", "second"):
        code, _, err = metarun(*words, "data.cache=cache", f"out={out}")
        assert code == 0, err
        seen.append(None)
    assert sum(seen[: seen.index(None)]) > 0
    assert seen[seen.index(None) :] == [None, None]
    assert result("first")["test"] == result("second")["test"]
    assert metarun("clean", "cache/features")[0] == 0
    assert not list(Path("cache/features").glob("*.sqlite"))
