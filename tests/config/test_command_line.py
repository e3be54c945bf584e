"""Paths on a command line: `~` is expanded everywhere, and impossible paths are refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from metarun.config.command_line import expand
from metarun.config.schema import RunConfig
from metarun.errors import Refused
from tests.conftest import OWN

Metarun = Callable[..., tuple[int, str, list[str]]]
PLACES = [  # a command, with {} for the path
    ("out={}",),
    ("hydra.run.dir={}",),
    ("data=omniglot", "data.root={}"),
    ("data.cache={}",),
    ("data_home={}",),
    ("data=image_folder", "data.root=.", "data.split_file={}"),
    ("-m", "seed=0,1", "hydra.sweep.dir={}"),
    ("--config-dir={}",),
    ("list", "--config-dir", "{}"),
    ("resume={}",),
    ("evaluate", "run={}"),
    ("audit", "run={}"),
    ("audit", "out={}/audit.json"),
    ("show", "data=sinusoid", "out={}/a.png"),
    ("compare", "{}", "b"),
    ("compare", "a", "b", "out={}/a.csv"),
    ("report", "{}"),
    ("report", "a", "out={}/a.html"),
    ("clean", "{}"),
]


UNKNOWN = ("~nobody_here", "the home folder ~nobody_here is unknown")
TOO_LONG = ("x" * 300, "File name too long")


@pytest.mark.parametrize(
    ("argv", "path", "reason"),
    [*((place, *UNKNOWN) for place in PLACES), *((place, *TOO_LONG) for place in PLACES[::4])],
)
def test_a_path_that_cannot_exist_is_refused_with_the_word_that_holds_it(
    metarun: Metarun, argv: tuple[str, ...], path: str, reason: str
) -> None:
    code, _, err = metarun(*(word.format(path) for word in argv))
    assert code == 2
    word = next(word for word in argv if "{}" in word).format(path)
    key = word.partition("=")[0] if "=" in word else path
    assert any(key in line and reason in line for line in err), err
    assert "METARUN_TRACEBACK" not in "".join(err)
    assert list(Path().iterdir()) == []


def test_metarun_data_cannot_be_below_an_unknown_home(
    metarun: Metarun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METARUN_DATA", "~nobody_here/data")
    code, _, err = metarun("out=run")
    assert code == 2
    assert "the home folder ~nobody_here is unknown; for a folder of that name" in err[0]
    assert list(Path().iterdir()) == []


def test_the_home_folder_is_expanded_in_config_dir(
    metarun: Metarun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A shell does not expand it after `--config-dir=`."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    shutil.copytree(OWN, tmp_path / "home" / "own")
    code, out, err = metarun("list", "algo", "--config-dir=~/own")
    assert (code, err) == (0, [])
    assert "nearest_item" in out


def test_a_home_that_is_unknown_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs under a number without a user."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda number: {}[number])
    with pytest.raises(Refused, match="out=~/x: the home folder ~ is unknown; set HOME"):
        expand("~/x", "out=~/x")


def test_a_folder_whose_name_begins_with_a_tilde_can_be_given() -> None:
    assert expand("./~nobody_here", "") == Path("~nobody_here")
    assert expand("a/~b", "") == Path("a/~b")


@pytest.mark.parametrize("out", ["out=a", "++out=a", "out=~/a"])
def test_one_of_two_folders_is_not_dropped(metarun: Metarun, out: str) -> None:
    code, _, err = metarun(out, "hydra.run.dir=h")
    assert code == 2
    assert err[0].endswith("hydra.run.dir=h is the folder of the run; type only one")
    assert list(Path().iterdir()) == []


def test_a_folder_can_contain_the_other(metarun: Metarun, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(config: RunConfig, out: Path, *_: object) -> None:
        raise Refused(str(out))

    monkeypatch.setattr("metarun.train.train", train)
    assert metarun("out=a", "hydra.run.dir=${out}/b")[2] == ["metarun: a/b"]


@pytest.mark.parametrize(
    "key", ["out", "hydra.run.dir", "data.root", "data.cache", "data_home", "-m hydra.sweep.dir"]
)
def test_a_place_that_is_not_utf8_is_refused(metarun: Metarun, key: str) -> None:
    code, _, err = metarun("data=omniglot", *f"{key}=caf\udce9".split())
    assert code == 2
    assert err[0].startswith("metarun: ")
    assert err[0].endswith("caf�: should be a name in UTF-8")
    assert list(Path().iterdir()) == []


def test_a_folder_of_pictures_in_a_folder_that_is_not_utf8_is_refused(
    metarun: Metarun, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkdir("caf\udce9")
    monkeypatch.chdir("caf\udce9")
    code, _, (line,) = metarun("data=image_folder", "data.root=.")
    assert code == 2
    assert line.endswith("caf�: should be a name in UTF-8")
    assert list(Path().iterdir()) == []
