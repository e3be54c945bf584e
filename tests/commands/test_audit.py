"""The command `metarun audit`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metarun.data.classes import Split
from tests.conftest import TINY

Metarun = Callable[..., tuple[int, str, list[str]]]
AUDITS = [
    "label permutation, train",
    "label permutation, test",
    "class overlap",
    "item overlap",
    "copies",
    "near-copies",
    "crops",
    "support–query overlap, train",
    "support–query overlap, test",
    "batch-norm drift",
    "transductive gap",
    "relabelling",
    "meta-gradient",
]


def test_an_audit_without_a_run_writes_nothing(metarun: Metarun) -> None:
    code, out, err = metarun("audit", *TINY, "algo=maml", "episodes=4")
    assert (code, err) == (0, [])
    assert [line[2:].split(":")[0] for line in out.splitlines()] == AUDITS
    assert {line[0] for line in out.splitlines()} == {"✓", "·"}
    assert list(Path.cwd().iterdir()) == []


def test_an_audit_of_a_run_is_saved_with_its_evaluations(run: Metarun) -> None:
    before = {p: p.read_bytes() for p in Path("run").rglob("*") if p.is_file()}
    for name in ("audit", "audit_2"):
        code, out, err = run("audit", "run=run", "episodes=4", *TINY[:2])
        assert (code, err) == (0, [])
        file = Path("run/evaluations", name, "audit.json")
        assert out.splitlines()[-1] == str(file)
        content = json.loads(file.read_text())
        assert [finding["name"] for finding in content["findings"]] == AUDITS
        assert content["failed"] == []
        assert (content["algo"], content["data"]) == ("protonet", "blobs")
    assert all(p.read_bytes() == content for p, content in before.items())


@pytest.fixture
def in_class_order(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    original = Split.pick

    def pick(self: Split, *args: Any) -> Any:
        items = original(self, *args)
        order = items.classes.argsort()
        return type(items)(*(array[order] for array in items))

    monkeypatch.setattr(Split, "pick", pick)
    yield


@pytest.mark.usefixtures("in_class_order")
def test_a_failed_audit_gives_exit_code_1(metarun: Metarun) -> None:
    code, out, _ = metarun("audit", *TINY, "episodes=4", "out=found.json")
    assert code == 1
    assert next(line for line in out.splitlines() if line[0] == "✗").startswith(
        "✗ label permutation, train: labels depend on classes: blob"
    )
    assert json.loads(Path("found.json").read_text())["failed"] == AUDITS[:2]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["episodes=1"], "episodes=1: should be a number from 2 to 1000000"),
        (["episodes=²"], "episodes=²: should be a number from 2 to 1000000"),
        (["episodes=" + "9" * 5000], "episodes=9"),
        (["out=folder"], "out=folder: should end in .json"),
        (["out=none/a.json"], "out=none/a.json: none is not a folder"),
        (["out=there.json"], "out=there.json: is there already; choose another name"),
        (["shots=-1"], "shots=-1: should be greater than or equal to 1"),
        (["run=none"], "run=none: no such folder"),
        (["run="], "run=: should be a path: run=PATH"),
        (["-m"], "-m: this command does not take it"),
    ],
)
def test_a_mistake_is_reported_in_one_line(metarun: Metarun, words: list[str], line: str) -> None:
    Path("there.json").touch()
    code, out, err = metarun("audit", *words)
    assert (code, out) == (2, "")
    assert len(err) == 1
    assert err[0].startswith(f"metarun: {line}")
    assert [p.name for p in Path.cwd().iterdir()] == ["there.json"]


def test_a_run_is_audited_as_it_was_trained(run: Metarun) -> None:
    code, _, err = run("audit", "run=run", "shots=2", *TINY[:2])
    assert code == 2
    assert err[0].startswith("metarun: shots: audit cannot change it")
    for file in Path("run/checkpoints").iterdir():  # the best weights are in the last one too
        file.write_bytes(b"PK")
    code, _, err = run("audit", "run=run", *TINY[:2])
    assert (code, len(err)) == (2, 1)
    assert not Path("run/evaluations").exists()


def test_training_can_require_all_audits(metarun: Metarun) -> None:
    assert metarun(*TINY, "audit=full", "out=run")[0] == 0
    assert metarun("resume=run", "steps=6", *TINY[:2])[0] == 0
    (line,) = metarun(*TINY, "audit=ful", "out=other")[2]
    assert line.startswith("metarun: audit=ful: ")


@pytest.mark.usefixtures("in_class_order")
def test_training_does_not_start_after_a_failed_audit(metarun: Metarun) -> None:
    code, _, err = metarun(*TINY, "audit=full", "out=run")
    assert code == 2
    assert all(line.startswith("metarun: audit=full: label permutation") for line in err)
    assert not Path("run").exists()
