"""Recommendation from the command to the report: ratings_world and an invented MovieLens."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metarun.config.compose import compose, plain
from metarun.report.tested import read_test
from metarun.stats import difference
from tests.data.test_movielens import write
from tests.faults.conftest import assert_same
from tests.faults.test_kill import killed_at, whole

Metarun = Callable[..., tuple[int, str, list[str]]]
SHORT = [
    "steps=2",
    "eval_every=1",
    "val_episodes=2",
    "test_episodes=10",
    "logger=none",
    "threads=1",
]


def result(folder: str | Path) -> dict[str, Any]:
    return json.loads(Path(folder, "result.json").read_text("utf-8"))


def test_a_run_on_movielens_is_tested_on_another_partition_and_compared(
    metarun: Metarun, tmp_path: Path
) -> None:
    root = write(tmp_path / "files", "100k")
    data = ["data=movielens", f"data.root={root}", "data.version=100k", "data.fewest=6"]
    data += ["data.queries=3", *SHORT]
    assert metarun(*data, "algo=melu", "out=melu")[0] == 0
    assert {"mae", "ndcg1", "ndcg3", "loss"} <= result("melu")["test"].keys()
    assert "best_possible" not in result("melu")["protocol"]
    assert Path("melu/episodes.png").is_file()
    code, out, _ = metarun("evaluate", "run=melu", "data.items=new", "name=new_items")
    assert code == 0
    assert "test, further scores: ndcg1 " in out
    hashes = {result(f)["protocol"]["split_sha256"] for f in ("melu", "melu/evaluations/new_items")}
    assert len(hashes) == 2
    for name in ("user_mean", "item_mean"):
        assert metarun(*data, f"algo={name}", f"out={name}")[0] == 0
    code, out, _ = metarun("compare", "melu", "user_mean", "item_mean")
    assert code == 0
    assert "a lower mae is better" in out


def test_the_best_possible_error_is_in_the_protocol_and_printed(metarun: Metarun) -> None:
    code, out, err = metarun("data=ratings_world", "algo=item_mean", *SHORT, "out=run")
    assert (code, err) == (0, [])
    best = result("run")["protocol"]["best_possible"]["mae"]
    assert 0.4 < best["mean"] < 0.55 < result("run")["test"]["mae"]["mean"]
    assert f"best possible: {best['mean']:.4f} ± {best['ci95']:.4f}" in out


def test_melu_is_maml_whose_decision_layers_adapt() -> None:
    config = plain(compose(["algo=melu", "data=movielens", "data.root=x"]))
    assert config["algo"]["adapts"] == ["decision", "head"]
    assert (config["algo"]["inner_lr"], config["optimizer"]["lr"]) == (5e-6, 5e-5)  # as published
    assert (config["choices"]["backbone"], config["meta_batch"]) == ("melu", 32)


@pytest.mark.slow
def test_a_killed_run_has_the_same_result_after_resume(tmp_path: Path) -> None:
    arguments = ["data=ratings_world", "algo=melu", "meta_batch=2", "log_every=1", *SHORT]
    writes = whole(arguments, tmp_path / "whole")
    killed_at(arguments, tmp_path / "killed", len(writes) // 2)
    assert_same(tmp_path / "whole" / "run", tmp_path / "killed" / "run")


@pytest.mark.slow
def test_melu_ends_nearer_to_the_best_possible_than_the_means(metarun: Metarun) -> None:
    short = ["data=ratings_world", "val_episodes=20", "test_episodes=200", *SHORT[-2:]]
    more = {"melu": ["steps=300", "meta_batch=8"], "user_mean": [], "item_mean": []}
    for name, words in more.items():
        assert metarun(*short, f"algo={name}", *words, f"out={name}")[0] == 0
    melu, *means = (read_test(Path(name)).values for name in ("melu", "user_mean", "item_mean"))
    for other in means:
        mean, ci95, _ = difference(melu, other)
        assert mean + ci95 < 0
