"""Reinforcement learning from the command to the report: environments, policies, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from metarun.data import cheetah
from metarun.runs import metrics
from tests.faults.conftest import assert_same
from tests.faults.test_kill import killed_at, whole

Metarun = Callable[..., tuple[int, str, list[str]]]
SHORT = ("steps=2", "eval_every=1", "log_every=1", "logger=none", "threads=1")
SHORT += ("val_episodes=3", "test_episodes=9")
NAVIGATION = ("data=navigation2d", "data.horizon=6", "data.rollouts=4", "algo=maml", "meta_batch=2")

IMITATION = ("data=navigation2d_imitation", "algo=maml", "meta_batch=2")
BANDITS = ("data=bandits", "data.arms=3", "data.pulls=3", "algo=rl2", "meta_batch=2")


def result(folder: str | Path) -> dict[str, Any]:
    return json.loads(Path(folder, "result.json").read_text("utf-8"))


def test_returns_after_each_inner_step_are_reported(metarun: Metarun) -> None:
    code, out, err = metarun(*NAVIGATION, *SHORT, "out=run")
    assert (code, err) == (0, [])
    test = result("run")["test"]
    for name in ("return_after_0", "return_after_1", "return_after_2", "return"):
        assert test[name].keys() == {"mean", "ci95"}
    assert "test, further scores: return_after_0 -" in out
    validation = [x for x in metrics.read_metrics(Path("run")) if x["split"] == "val"]
    assert all("return_after_2" in line for line in validation)
    for picture in ("episodes.png", "curves.png"):
        assert Path("run", picture).is_file()
    assert metarun("evaluate", "run=run", "episodes=2", "algo.test_inner_steps=1")[0] == 0
    scores = result("run/evaluations/test_2")["test"]
    assert "return_after_0" in scores
    assert "return_after_1" not in scores
    assert metarun(*NAVIGATION, *SHORT, "optimizer=adam", "seed=1", "out=other")[0] == 0
    code, out, err = metarun("compare", "run", "other")
    assert (code, err) == (0, [])
    assert metarun("report", "run", "other")[0] == 0
    assert metarun("audit", "run=run", "episodes=2")[0] == 0


@pytest.mark.parametrize("algo", ["fomaml", "meta_sgd", "lstm"])
def test_other_learners_with_an_inner_loop_adapt_to_environments(
    metarun: Metarun, algo: str
) -> None:
    words = ["algo.batch_norm=transductive", "backbone.hidden=[4]", *NAVIGATION[:3]]
    words += ["algo.hidden=4", "algo.inner_steps=2"] if algo == "lstm" else ["algo.inner_steps=2"]
    code, _, err = metarun(*words, *SHORT, f"algo={algo}", "meta_batch=2", "out=run")
    assert (code, err) == (0, [])
    train = [x for x in metrics.read_metrics(Path("run")) if x["split"] == "train"]
    assert {"return_after_0", "return_after_1", "return"} <= train[0].keys()
    assert "return_after_2" not in train[0]


def test_a_policy_with_a_memory_is_compared_with_the_best_possible_one(metarun: Metarun) -> None:
    code, out, err = metarun(*BANDITS, *SHORT, "out=run")
    assert (code, err) == (0, [])
    assert result("run")["protocol"]["best_possible"]["return"]["mean"] == pytest.approx(41 / 24)
    assert "best possible: 1.7083 ± 0.0000" in out
    assert Path("run", "episodes.png").is_file()
    assert metarun("evaluate", "run=run", "data.pulls=25", "name=longer")[0] == 0
    assert result("run/evaluations/longer")["protocol"]["best_possible"] == {}
    assert metarun("audit", "run=run", "episodes=2")[0] == 0


def test_imitations_of_an_expert_are_judged_by_what_they_do(metarun: Metarun) -> None:
    code, out, err = metarun(*IMITATION, *SHORT, "out=run")
    assert (code, err) == (0, [])
    best = result("run")["protocol"]["best_possible"]["return"]["mean"]
    assert result("run")["test"]["return"]["mean"] < best < 0
    assert "test, further scores: mse " in out
    assert Path("run", "episodes.png").is_file()
    code, _, err = metarun(*IMITATION, *SHORT, "algo=protonet", "out=other")
    assert (code, len(err)) == (2, 1)
    assert metarun("audit", "run=run", "episodes=2")[0] == 0


@pytest.mark.parametrize(
    "words",
    [
        ("navigation2d",),
        ("navigation2d", "data.goals=corners"),
        ("navigation2d_imitation",),
        ("bandits",),
    ],
)
def test_tasks_are_shown_under_random_actions(metarun: Metarun, words: tuple[str, ...]) -> None:
    code, out, err = metarun("show", f"data={words[0]}", *words[1:])
    assert (code, err) == (0, [])
    assert Path(out.splitlines()[-1]).is_file()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["algo=protonet"], "algo=protonet data=navigation2d: protonet needs supports made of ex"),
        (["algo=maml", "shots=5"], "shots=5: tasks of navigation2d have sizes of their own"),
        (["algo=maml", "data.horizon=0"], "data.horizon=0: should be greater than 0"),
        (["algo=maml", "data.discount=1.5"], "data.discount=1.5: should be less than or equal to"),
        (
            ["data=sinusoid", "algo=maml", "optimizer=trpo"],
            "optimizer=trpo data=sinusoid: needs ro",
        ),
        (["algo=rl2"], "algo=rl2 data=navigation2d: rl2 learns from the action and the reward bef"),
        (["data=bandits", "algo=maml"], "algo=maml data=bandits: maml adapts to supports, and tri"),
        (["data=bandits", "algo=protonet"], "algo=protonet data=bandits: protonet adapts to supp"),
        (["algo=maml", "workers=2"], "optimizer=trpo: a step takes one process; use workers=1"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    metarun: Metarun, words: list[str], line: str
) -> None:
    data = [] if any(word.startswith("data=") for word in words) else ["data=navigation2d"]
    code, _, err = metarun(*data, *SHORT, *words, "out=run")
    assert (code, len(err)) == (2, 1)
    assert err[0].startswith(f"metarun: {line}")
    assert not Path("run").exists()


def test_the_cheetah_is_refused_without_mujoco(
    metarun: Metarun, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheetah.model.cache_clear()
    monkeypatch.setattr(cheetah, "find_spec", lambda name: None)
    code, _, err = metarun("data=cheetah_direction", "algo=maml", *SHORT, "out=run")
    assert (code, len(err)) == (2, 1)
    assert err[0].endswith("needs MuJoCo and gymnasium: pip install 'metarun[robots]'")
    assert not Path("run").exists()


@pytest.mark.skipif(
    find_spec("mujoco") is None or find_spec("gymnasium") is None,
    reason="MuJoCo or gymnasium is not installed",
)
@pytest.mark.parametrize("data", ["cheetah_direction", "cheetah_velocity"])
def test_the_cheetah_runs(metarun: Metarun, data: str) -> None:
    cheetah.model.cache_clear()
    small = ("data.horizon=5", "data.rollouts=3", "meta_batch=2", "backbone.hidden=[8]")
    code, _, err = metarun(f"data={data}", "algo=maml", *small, *SHORT, "out=run")
    assert (code, err) == (0, [])
    assert Path("run", "episodes.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("words", [NAVIGATION, (*NAVIGATION, "optimizer=adam"), BANDITS, IMITATION])
def test_a_killed_run_has_the_same_result_after_resume(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    arguments = [*words, *SHORT]
    writes = whole(arguments, tmp_path / "whole")
    killed_at(arguments, tmp_path / "killed", len(writes) // 2)
    assert_same(tmp_path / "whole" / "run", tmp_path / "killed" / "run")
