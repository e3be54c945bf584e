"""The content of a checkpoint is checked completely, because anybody can write a valid checksum."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch

from metarun.runs.content import MAX_NODES, Best, Last, check, misfit

FIGURE = {"mean": 0.9, "ci95": float("nan")}
WEIGHTS = {"w": torch.arange(4.0), "count": torch.tensor(3)}
BEST = {
    "format": 3,
    "step": 2,
    "id": "0a1b2c3d",
    "command": "metarun algo=maml",
    "task": {"outputs": 5, "shots": 1, "classes": 64},
    "trained_on": {"train_data": "glyphs", "train_split_sha256": "0" * 64},
    "config": {"ways": 5, "algo": {"inner_lr": 0.4}, "tags": ["a"], "threads": None},
    "best": {"best_step": 2, "loss": FIGURE, "accuracy": FIGURE},
    "learner": WEIGHTS,
}
GROUP = {"lr": 0.1, "betas": (0.9, 0.999), "foreach": None, "params": [0]}


def last(**values: Any) -> dict[str, Any]:
    """The content of `last.pt` before the first validation."""
    return deepcopy(BEST) | {
        "step": 3,
        "best": None,
        "best_learner": None,
        "resumed_with": [],
        "splits": {"train": "0" * 64},
        "validated": 0,
        "recent": [{"loss": 0.5}],
        "metrics": {"lines": 0, "sha256": ""},
        "wall_seconds": 1.5,
        "step_seconds": 1,
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [GROUP]},
        **values,
    }


VALIDATED = last(validated=2, best=BEST["best"], best_learner=WEIGHTS, trial=7)


def test_what_metarun_writes_is_accepted() -> None:
    check(BEST, Best)
    check({**BEST, "learner": {}, "step": 0}, Best)  # of a learner without weights
    for state in (last(), VALIDATED, last(step=0, validated=0)):
        check(state, Last)
        check(state, None)


SHARED: list[Any] = [0]
for _ in range(20):  # a list of 2**20 values that are 20 lists
    SHARED = [SHARED, SHARED]
ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (ENDLESS, "more than"),
        (SHARED, "more than"),
        ([0] * MAX_NODES, "more than"),
        (torch.zeros(1).expand(10**12), r"of shape \(1000000000000,\) lacks values"),
        (torch.eye(2).to_sparse(), "is torch.sparse_coo"),
        (torch.zeros(2, device="meta"), "on meta"),
        ({1, 2}, "contains a set"),
        (1j, "contains a complex"),
        (torch.float32, "contains a dtype"),
    ],
    ids=["endless", "shared", "many", "expanded", "sparse", "meta", "set", "complex", "dtype"],
)
def test_only_plain_containers_of_a_bounded_size_are_accepted(value: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check({"optimizer": {"state": {0: [value]}}}, None)


OTHERS = (None, 3, -1, 1.5, True, "x", [], [3], {}, {"x": 3}, {3: "x"}, torch.zeros(2))
VALID: dict[str, tuple[object, ...]] = {  # of `OTHERS`
    "step": (3,),
    "id": ("x",),
    "command": ("x",),
    "config": ({}, {"x": 3}),
    "learner": ({},),
    "resumed_with": ([],),
    "splits": ({},),
    "recent": ([],),
    "wall_seconds": (3, -1, 1.5),
    "step_seconds": (3, -1, 1.5),
    "trial": (None, 3, -1),
    "validated": (3,),
    "best_learner": ({},),
}
NEVER = ("best", "metrics", "task", "trained_on", "optimizer")


def is_one_of(value: object, values: tuple[object, ...]) -> bool:
    return any(type(value) is type(v) and str(value) == str(v) for v in values)


@pytest.mark.parametrize("key", [*VALID, *NEVER])
def test_a_value_of_another_type_is_refused(key: str) -> None:
    for content, state in ((Best, BEST), (Last, VALIDATED)):
        if key not in state:
            continue
        for value in (v for v in OTHERS if not is_one_of(v, VALID.get(key, ()))):
            with pytest.raises(ValueError, match="^(content|validated|best|" + key + ")"):
                check({**state, key: value}, content)
        for value in VALID.get(key, ()):
            check({**state, key: value}, content)
        if key != "trial":
            with pytest.raises(ValueError, match=f"^{key}: Field required"):
                check({k: v for k, v in state.items() if k != key}, content)


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("id", lambda _: "../../x"),
        ("task.outputs", lambda task: task | {"outputs": 10**12}),
        ("task.outputs", lambda task: {"ways": 5}),
        ("task.classes", lambda task: task | {"classes": "64"}),
        ("trained_on.train_data", lambda old: old | {"train_data": 3}),
        ("best.best_step", lambda best: {"loss": FIGURE}),
        ("best.best_step", lambda best: best | {"best_step": 1.5}),
        ("best.accuracy.mean", lambda best: best | {"accuracy": {"ci95": 0.1}}),
        ("best.accuracy", lambda best: best | {"accuracy": "high"}),
        ("best.accuracy.mean", lambda best: best | {"accuracy": {"mean": "1", "ci95": 0.1}}),
        ("config.tags", lambda config: config | {"tags": torch.ones(3)}),
        ("config.ways", lambda config: config | {"ways": (1, 2)}),
        ("learner.w", lambda weights: weights | {"w": [0.0, 1.0]}),
    ],
)
def test_an_entry_of_another_type_is_named(key: str, change: Callable[[Any], Any]) -> None:
    top = key.split(".")[0]
    for content, state in ((Best, BEST), (Last, VALIDATED)):
        with pytest.raises(ValueError, match=f"^{key}[.:]"):
            check({**state, top: change(state[top])}, content)


@pytest.mark.parametrize(
    "values",
    [
        {"best": None},
        {"best_learner": None},
        {"validated": 4},
        {"best": None, "best_learner": None},
    ],
)
def test_the_entries_of_a_run_fit_each_other(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"belong together|do not fit the step"):
        check({**VALIDATED, **values}, Last)


@pytest.mark.parametrize(
    ("recent", "reason"),
    [
        ([{"accuracy": 0.5}], "recent.0.loss: Field required"),
        ([{"loss": 0.5}, {}], "recent.1.loss: Field required"),
        ([{"loss": "0.5"}], "recent.0.loss: Input should be a valid number"),
        ([{"loss": 0.5, "accuracy": None}], "recent.0.accuracy: Input should be a valid number"),
        ([{"loss": 0.5, 3: 0.5}], "recent.0.3: Keys should be strings"),
        ([{"loss": 0.5}, {"loss": 0.5, "accuracy": 1.0}], "steps have different names"),
    ],
)
def test_the_scores_of_recent_steps_have_the_same_names(recent: list[Any], reason: str) -> None:
    both = {"loss": 0.5, "accuracy": 1.0}
    check(last(recent=[both, both]), Last)
    with pytest.raises(ValueError, match=reason):
        check(last(recent=recent), Last)


def test_weights_fit_a_learner_with_the_same_names_shapes_and_types() -> None:
    assert misfit(WEIGHTS, deepcopy(WEIGHTS)) is None
    assert misfit({}, {}) is None
    assert misfit({}, {"w": torch.zeros(1)}) == "w is missing"
    assert misfit({"w": torch.zeros(1)}, {}) == "w is not one of its weights"
    assert misfit({"w": torch.zeros(2)}, {"w": torch.zeros(3)}) == (
        "w is torch.float32 (2,), not torch.float32 (3,)"
    )
    assert misfit({"w": torch.zeros(2)}, {"w": torch.zeros(2).double()}) == (
        "w is torch.float32 (2,), not torch.float64 (2,)"
    )
