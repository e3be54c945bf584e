"""Training on miniImageNet, validation and test on CUB: the pictures and lists of both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metarun.data.class_splits import published_list
from metarun.data.classes import Facts, joined
from metarun.data.mini_imagenet_to_cub import MiniImageNetToCUB
from metarun.data.published_folder import PublishedFolder
from metarun.errors import Refused
from tests.data.test_published_folder import ALL, SMALL, small, write  # noqa: F401 - a fixture


def test_facts_are_those_of_the_authors_lists(tmp_path: Path) -> None:
    """`all.json` of miniImageNet, `val.json` and `novel.json` of CUB."""
    data = MiniImageNetToCUB(root=str(tmp_path), cache=str(tmp_path))
    assert data.facts() == {"train": Facts(100, 600), "val": Facts(50, 41), "test": Facts(50, 41)}
    mini, cub = (published_list(name) for name in ("mini_imagenet", "cub"))
    assert len({*mini["train"], *mini["val"], *mini["test"], *cub["val"], *cub["test"]}) == 200


@pytest.mark.usefixtures("small")
def test_the_splits_are_those_of_the_two_sets(tmp_path: Path) -> None:
    for name in ("mini_imagenet", "cub"):
        write(tmp_path / name, ALL)
    places = {"cache": str(tmp_path / "cache"), "size": 8}
    splits = MiniImageNetToCUB(root=str(tmp_path), **places).load()
    mini, cub = (
        PublishedFolder(root=str(tmp_path / name), name=name, **places).load()
        for name in ("mini_imagenet", "cub")
    )
    assert sorted(splits["train"].names) == sorted(ALL)
    assert splits["val"].names == tuple(SMALL["val"])
    assert [splits[name].sha256 for name in ("val", "test")] == [
        cub[name].sha256 for name in ("val", "test")
    ]
    np.testing.assert_array_equal(splits["train"].items, mini["train"].items)
    with pytest.raises(ValueError, match="two data sets"):
        joined(splits["train"], splits["val"])


@pytest.mark.usefixtures("small")
def test_a_missing_set_is_named(tmp_path: Path) -> None:
    write(tmp_path / "mini_imagenet", ALL)
    data = MiniImageNetToCUB(root=str(tmp_path), cache=str(tmp_path / "cache"), size=8)
    with pytest.raises(Refused, match="no such folder; cub cannot be downloaded for you"):
        data.load()
