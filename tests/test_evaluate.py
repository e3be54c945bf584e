"""`metarun evaluate` repeats the stored figure, tests other protocols and overwrites nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.algorithms.learners import SHIPPED, tiny
from tests.conftest import TINY

Metarun = Callable[..., tuple[int, str, list[str]]]
FOLDER = TINY[:2]


def read(path: str) -> dict:
    return json.loads(Path(path, "result.json").read_text())


@pytest.mark.parametrize("algo", SHIPPED)
def test_the_stored_figure_is_repeated_exactly(metarun: Metarun, algo: str) -> None:
    assert metarun(*tiny(algo), "out=run")[0] == 0
    assert metarun("evaluate", "run=run", "name=again", *FOLDER)[0] == 0
    stored, again = read("run"), read("run/evaluations/again")
    assert again["test"] == stored["test"]
    assert again["protocol"] == stored["protocol"]
    rows = [Path(p, "test_episodes.csv").read_text() for p in ("run", "run/evaluations/again")]
    assert rows[0] == rows[1]


def test_another_protocol_is_recorded(run: Metarun) -> None:
    before = read("run")
    words = ("shots=4", "ways=7", "queries=2", "episodes=5", "split=val", "eval_seed=3")
    assert run("evaluate", "run=run", *words, *FOLDER)[0] == 0
    evaluation = read("run/evaluations/val_7w4s2q_5")
    expected = {"ways": 7, "shots": 4, "queries": 2, "split": "val", "eval_seed": 3}
    assert expected.items() <= evaluation["protocol"].items()
    assert evaluation["test"]["episodes"] == 5
    assert read("run") == before


def test_nothing_is_overwritten(run: Metarun) -> None:
    for _ in range(2):
        assert run("evaluate", "run=run", *FOLDER)[0] == 0
    names = {p.name for p in Path("run/evaluations").iterdir()}
    assert names == {"test_5w1s3q_8", "test_5w1s3q_8_2"}
    assert run("evaluate", "run=run", "name=mine", *FOLDER)[0] == 0
    code, _, err = run("evaluate", "run=run", "name=mine", *FOLDER)
    assert code == 2
    assert err[0].startswith("metarun: name=mine: ")


@pytest.mark.parametrize("algo", ["maml", "protonet"])
def test_both_kinds_of_batch_norm_are_reported_and_the_protocol_names_one(
    metarun: Metarun, algo: str
) -> None:
    metarun(*TINY, f"algo={algo}", "out=run")
    for kind in ("inductive", "transductive"):
        words = ("run=run", f"algo.batch_norm={kind}", f"name={kind}")
        _, out, _ = metarun("evaluate", *words, *FOLDER)
        assert "inductive batch norm: " in out
        assert "transductive batch norm: " in out
    one, two = (read(f"run/evaluations/{k}") for k in ("inductive", "transductive"))
    assert one["protocol"]["batch_norm"] == "inductive"
    assert one["test_by_batch_norm"] == two["test_by_batch_norm"]
    assert one["test"]["loss"] == one["test_by_batch_norm"]["inductive"]["loss"]
    assert two["test"]["loss"] == one["test_by_batch_norm"]["transductive"]["loss"]
    assert one["test"]["loss"] != two["test"]["loss"]


def test_keys_that_evaluate_cannot_change_are_refused(metarun: Metarun) -> None:
    metarun(*TINY, "algo=maml", "out=run")
    code, _, err = metarun("evaluate", "run=run", "steps=5", "algo=protonet", *FOLDER)
    assert code == 2
    assert [line.split(":")[1] for line in err] == [" algo", " steps"]
    code, _, err = metarun("evaluate", "run=run", "ways=3", *FOLDER)
    assert code == 2
    assert err[0].startswith("metarun: ways=3 train_ways=5: maml has a head for each label")
    code, _, err = metarun("evaluate", "run=run", "shots=18", "algo.inner_lrr=1", *FOLDER)
    assert code == 2
    assert not Path("run/evaluations").exists()


def test_a_run_without_a_checkpoint_is_refused(run: Metarun) -> None:
    Path("run/checkpoints/best.pt").unlink()
    code, _, err = run("evaluate", "run=run", *FOLDER)
    assert code == 2
    assert "no such checkpoint" in err[0]


def test_the_sizes_of_evaluation_apply_to_the_training_split(run: Metarun) -> None:
    code, _, err = run("evaluate", "run=run", "split=train", "shots=18", *FOLDER)
    assert code == 2
    assert err == [
        "metarun: shots=18 queries=3: a class of blobs has 20 items; shots + queries can be 20 "
        "at most"
    ]


def test_other_data_does_not_change_the_recorded_training_split(run: Metarun) -> None:
    assert run("evaluate", "run=run", "data.classes=60", "name=more", *FOLDER)[0] == 0
    first, other = read("run")["protocol"], read("run/evaluations/more")["protocol"]
    assert first["split_sha256"] != other["split_sha256"]
    assert first["train_split_sha256"] == other["train_split_sha256"]


def test_the_configuration_of_another_run_is_refused(metarun: Metarun) -> None:
    metarun(*TINY, "algo=maml", "out=a")
    metarun(*TINY, "algo=maml", "algo.inner_lr=0.9", "out=b")
    Path("a/config.yaml").write_bytes(Path("b/config.yaml").read_bytes())
    code, _, err = metarun("evaluate", "run=a", *TINY[:2])
    assert code == 2
    assert err == ["metarun: a/config.yaml: algo.inner_lr=0.9: the run was trained with 0.4"]


@pytest.mark.parametrize(
    ("words", "same"),
    [
        ([], True),
        (["episodes=5", "eval_seed=3"], True),
        (["split=val"], True),
        (["shots=4"], False),
        (["ways=3"], False),
        (["queries=2"], False),
        (["data.classes=60"], False),
        (["algo.batch_norm=transductive"], False),
    ],
    ids=lambda value: str(value),
)
def test_a_validation_figure_stands_beside_its_own_task_only(
    run: Metarun, words: list[str], same: bool
) -> None:
    code, out, _ = run("evaluate", "run=run", "name=new", *words, *FOLDER)
    assert code == 0
    result = read("run/evaluations/new")
    assert result["val_of_same_task"] is same
    assert result["val"] == read("run")["val"]
    figures = next(line for line in out.splitlines() if "protonet" in line)
    assert figures.count("%") == 1 + same


def test_a_run_that_was_continued_validated_on_the_same_task(run: Metarun) -> None:
    run("resume=run", "steps=9", *FOLDER)
    assert run("evaluate", "run=run", "name=new", *FOLDER)[0] == 0
    assert read("run/evaluations/new")["val_of_same_task"] is True
