"""Learned optimizers from the command to the comparison."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metarun.report.tested import read_test
from metarun.stats import difference
from tests.faults.conftest import assert_same
from tests.faults.test_kill import killed_at, whole

Metarun = Callable[..., tuple[int, str, list[str]]]
LOGISTIC = ("data=objectives", "data.family=logistic", "data.horizon=5")
SHORT = (
    "steps=2",
    "meta_batch=2",
    "eval_every=1",
    "log_every=1",
    "val_episodes=2",
    "test_episodes=10",
    "logger=none",
    "threads=1",
)


def result(folder: str | Path) -> dict[str, Any]:
    return json.loads(Path(folder, "result.json").read_text("utf-8"))


def test_a_policy_is_trained_tested_on_longer_paths_and_compared(metarun: Metarun) -> None:
    code, out, err = metarun(*LOGISTIC, *SHORT, "algo=learned_optimizer_rl", "out=run")
    assert (code, err) == (0, [])
    test = result("run")["test"]
    assert test["loss"]["mean"] > result("run")["protocol"]["best_possible"]["loss"]["mean"]
    assert {"final_loss", "diverged", "loss_0", "loss_5"} <= test.keys()
    assert Path("run/episodes.png").is_file()
    assert "best possible: " in out
    code, _, err = metarun("evaluate", "run=run", "data.horizon=8", "name=longer")
    assert (code, err) == (
        0,
        ["metarun: data.horizon=8: learned_optimizer_rl was trained on paths of 5 steps"],
    )
    assert "loss_8" in result("run/evaluations/longer")["test"]
    code, _, err = metarun("evaluate", "run=run", "data.family=network", "name=other")
    assert (code, len(err)) == (2, 1)
    assert err[0].startswith("metarun: data.family: functions of 12 numbers; ")
    assert not Path("run/evaluations/other").exists()
    keys = ("algo=hand_optimizer", "algo.method=sgd", "algo.lr=1.0", "out=sgd")
    assert metarun(*LOGISTIC, *SHORT, *keys)[0] == 0
    code, out, err = metarun("compare", "run", "sgd")
    assert (code, err) == (0, [])
    assert re.findall(r"^ *(\d+) +[+-]\d\.\d{4} ±", out, re.MULTILINE) == ["1", "2", "5"]
    assert metarun("audit", "run=run", "episodes=2")[0] == 0


def test_an_lstm_trained_on_quadratics_minimises_other_functions(metarun: Metarun) -> None:
    keys = ("data=objectives", "data.horizon=3", "algo=learned_optimizer", "algo.hidden=4")
    assert metarun(*keys, *SHORT, "out=run")[0] == 0
    code, _, err = metarun("evaluate", "run=run", "data.family=network", "data.horizon=3")
    assert (code, err) == (0, [])
    (folder,) = Path("run/evaluations").iterdir()
    assert result(folder)["protocol"]["headline"]["score"] == "loss"


def test_a_divergence_is_said_and_is_no_number(metarun: Metarun) -> None:
    keys = ("data=objectives", "data.horizon=9", "algo=hand_optimizer", "algo.lr=1.0")
    code, out, err = metarun(*keys, *SHORT, "algo.method=sgd", "out=run")
    assert (code, err) == (0, [])
    test = result("run")["test"]
    assert test["diverged"] == {"mean": 1.0, "ci95": 0.0}
    assert test["final_loss"] == {"mean": None, "ci95": None}
    assert "diverged 1.0000" in out
    assert "validation –" in out
    assert " nan" not in out
    code, out, _ = metarun("report", "run", "out=page.html")
    assert "diverged on 100 % of the test tasks" in Path("page.csv").read_text("utf-8")
    assert metarun(*keys, *SHORT, "out=adam")[0] == 0
    code, _, err = metarun("compare", "run", "adam")
    assert (code, len(err)) == (2, 1)
    assert "test.final_loss.mean=null: should be a number" in err[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("data=objectives", "algo=maml"), "algo=maml data=objectives: maml adapts a network"),
        (
            ("data=sinusoid", "shots=5", "algo=hand_optimizer"),
            "algo=hand_optimizer data=sinusoid: ",
        ),
        (("data=objectives", "algo=learned_optimizer", "shots=3"), "shots=3: tasks of objectives"),
        (("data=objectives", "algo=hand_optimizer", "data.horizon=0"), "data.horizon=0: "),
        (("data=objectives", "algo=hand_optimizer", "data.family=x"), "data.family=x: "),
        (("data=objectives", "algo=hand_optimizer", "algo.method=x"), "algo.method=x: "),
        (("data=objectives", "algo=learned_optimizer_rl", "algo.rollouts=1"), "algo.rollouts=1: "),
    ],
)
def test_wrong_requests_are_refused_in_one_line(
    metarun: Metarun, words: tuple[str, ...], message: str
) -> None:
    code, _, err = metarun(*words, "out=run")
    assert (code, len(err)) == (2, 1)
    assert err[0].startswith(f"metarun: {message}")
    assert not Path("run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("algo", ["learned_optimizer", "learned_optimizer_rl"])
def test_a_killed_run_has_the_same_result_after_resume(tmp_path: Path, algo: str) -> None:
    arguments = [*LOGISTIC, *SHORT, f"algo={algo}"]
    writes = whole(arguments, tmp_path / "whole")
    killed_at(arguments, tmp_path / "killed", len(writes) // 2)
    assert_same(tmp_path / "whole" / "run", tmp_path / "killed" / "run")


@pytest.mark.slow
def test_learned_optimizers_end_below_hand_made_ones(metarun: Metarun) -> None:
    """Shorter trainings than those of docs/domains.md, where momentum is behind, too."""
    short = ("val_episodes=20", "test_episodes=200", "eval_every=100", *SHORT[-2:])
    for learned, family, steps, rivals in (
        ("learned_optimizer", "quadratic", 300, ("adam",)),
        ("learned_optimizer_rl", "logistic", 150, ("sgd", "momentum")),
    ):
        data = ("data=objectives", f"data.family={family}", *short)
        assert metarun(*data, f"algo={learned}", f"steps={steps}", f"out={family}")[0] == 0
        for method in rivals:
            keys = ("algo=hand_optimizer", f"algo.method={method}", f"out={family}_{method}")
            assert metarun(*data, *keys)[0] == 0
            folders = (Path(family), Path(f"{family}_{method}"))
            mean, ci95, _ = difference(*(read_test(f).values for f in folders))
            assert mean + ci95 < 0
