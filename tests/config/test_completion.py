"""Tab completion: what is offered for an unfinished command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from metarun import commands
from metarun.config.completion import complete
from metarun.config.groups import OF_SWEEPS
from metarun.config.schema import GROUPS
from tests.conftest import OWN

Metarun = Callable[..., tuple[int, str, list[str]]]


def offered(line: str) -> list[str]:
    return complete(line, commands.names())


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with runs, in which other names start alike."""
    for name in ("runs/s1", "runs/s2", "runs/other", "runs/.hidden", "runs/s 3"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "runs" / "sweep.csv").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands_and_keys_are_offered_first() -> None:
    words = offered("metarun ")
    assert {*commands.names(), "algo=", "steps=", "resume=", "algo."} <= set(words)
    assert offered("metarun comp") == ["compare"]
    assert offered("metarun train li") == []  # there is a command already


def test_groups_and_choices_follow_list() -> None:
    assert set(offered("metarun list ")) == {*GROUPS, *OF_SWEEPS, "published"}
    assert offered("metarun list da") == ["data"]
    assert offered("metarun list algo mam") == ["maml"]
    assert offered("metarun list algo maml bac") == ["backbone"]
    assert offered("metarun list experiment maml/o") == ["maml/omniglot"]


@pytest.mark.parametrize(
    "start",
    ["compare ", "report ", "compare runs/other ", "resume=", "evaluate run=", "audit run="],
)
def test_folders_of_runs_are_offered(start: str) -> None:
    prefix = start.rpartition(" ")[2]
    assert offered(f"metarun {start}runs/s") == [f"{prefix}runs/s1/", f"{prefix}runs/s2/"]
    assert f"{prefix}runs/" in offered(f"metarun {start}")


@pytest.mark.parametrize("key", ["out", "data.root", "data.cache", "hydra.sweep.dir"])
def test_folders_are_offered_for_other_paths(key: str) -> None:
    assert offered(f"metarun {key}=ru") == [f"{key}=runs/"]
    assert offered(f"metarun {key}=~nobody/x") == offered(f"metarun {key}=nowhere/") == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("algo=ma", ["algo=maml", "algo=matchingnet"]),
        ("train algo=maml optimizer=ada", ["optimizer=adam"]),
        ("algo=maml algo.inner_l", ["algo.inner_lr="]),
        ("algo=maml algo.inner_lr=", ["algo.inner_lr=0.4"]),
        ("algo=maml algo.first_order=", ["algo.first_order=false", "algo.first_order=true"]),
        ("-m algo=maml,prot", ["algo=maml,protonet"]),
        ("-m hydra/laun", ["hydra/launcher="]),
        ("-m hydra/launcher=job", ["hydra/launcher=joblib"]),
        ("-m hydra.sweep.d", ["hydra.sweep.dir="]),
        ("-m hydra/launcher=joblib hydra.launcher.n_j", ["hydra.launcher.n_jobs="]),
        ("experiment=maml/o", ["experiment=maml/omniglot"]),
        ("+debug=ti", ["+debug=tiny"]),
        ("audit=f", ["audit=full"]),
        ("precision=float6", ["precision=float64"]),
        ("evaluate run=runs/s1 sp", ["split="]),
        ("evaluate run=runs/s1 sho", ["shots="]),
        ("evaluate run=runs/s1 alg", ["algo."]),  # another algorithm cannot be evaluated
        ("show data=glyphs split=tr", ["split=train"]),
        ("clean data=omni", ["data=omniglot"]),
        ("report out", ["out="]),
        (f"--config-dir {OWN} data=blo", ["data=blobs"]),
        ("--config-dir ru", ["runs/"]),
    ],
)
def test_keys_and_choices_are_offered(line: str, words: list[str]) -> None:
    assert offered(f"metarun {line}") == words


@pytest.mark.parametrize(
    "line",
    [
        "",
        "metarun",
        "metarun bogus=3 algo=mamml ways=x steps=",
        "metarun 'x y",
        'metarun "',
        "metarun =",
        "metarun algo.=",
        "metarun ..=",
        "metarun $HOME `x` {a,b} [",
        "metarun --config-dir nowhere al",
        "metarun --config-dir",
        "metarun list no such group ",
        "metarun compare \0",
        "metarun ünï=ö",
    ],
)
def test_no_line_is_an_error(line: str) -> None:
    assert isinstance(offered(line), list)


def test_words_that_are_wrong_do_not_prevent_completion() -> None:
    assert offered("metarun bogus=3 shots=x algo.inner_lr=1 algo=maml algo.inner_l") == [
        "algo.inner_lr="
    ]


def test_the_words_are_printed_up_to_the_cursor(
    metarun: Metarun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMP_LINE", "metarun list da algo")
    monkeypatch.setenv("COMP_POINT", "15")
    assert metarun("-sc", "query=bash") == (0, "data\n", [])
    monkeypatch.setenv("COMP_POINT", "nonsense")
    assert metarun("-sc", "query=fish") == (0, "algo\n", [])  # at the end of the line


@pytest.mark.parametrize("query", ["query=bash", "query=zsh", "query=fish", "query=", "query=csh"])
def test_a_query_without_a_shell_is_refused(
    metarun: Metarun, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    monkeypatch.delenv("COMP_LINE", raising=False)
    code, out, (line,) = metarun("-sc", query)
    assert (code, out) == (2, "")
    assert line.startswith(f"metarun: -sc {query}: ")
    assert "install=NAME" in line
