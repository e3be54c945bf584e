"""Dependence of initial weights and episodes on the seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from metarun.config.compose import checked, compose
from metarun.training.parts import Parts, assemble
from tests.conftest import OWN


def parts(*overrides: str) -> Parts:
    defaults = ["data=blobs", "debug=tiny", "backbone.filters=4", "threads=1"]
    return assemble(checked(compose([*defaults, *overrides], str(OWN))), [OWN])


def weights(*overrides: str) -> dict[str, torch.Tensor]:
    return parts(*overrides).learner.state_dict()


def training_episodes(*overrides: str) -> list[tuple[np.ndarray, ...]]:
    sampler = parts(*overrides).training()
    return [sampler.choose(i) for i in range(5)]


def same(first: Any, second: Any) -> bool:
    pairs = zip(first, second, strict=True)
    return all(all(map(np.array_equal, a, b)) for a, b in pairs)


TRAIN_SIZES = ("train_ways=5", "train_shots=1", "train_queries=3")
UNRELATED = (
    "shots=2",
    "queries=1",
    "steps=9",
    "eval_seed=1",
    "val_episodes=2",
    "test_episodes=3",
    "meta_batch=5",
    "optimizer.lr=0.5",
    "eval_every=1",
    "log_every=3",
)


@pytest.mark.parametrize("algo", ["maml", "protonet", "relationnet", "lstm"])
def test_initial_weights_depend_only_on_the_seed_and_the_shapes(algo: str) -> None:
    overrides = (*UNRELATED, "data.classes=60", "data.noise=1.0")
    first = weights(f"algo={algo}", *TRAIN_SIZES)
    second = weights(f"algo={algo}", *TRAIN_SIZES, *overrides)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_initial_weights_of_a_backbone_do_not_depend_on_the_head() -> None:
    """With more classes, `baseline` has a larger head."""
    first, second = (weights("algo=baseline", f"data.classes={n}") for n in (36, 60))
    backbone = [key for key in first if key.startswith("backbone.")]
    assert backbone
    assert all(torch.equal(first[key], second[key]) for key in backbone)


@pytest.mark.parametrize(
    "overrides", [UNRELATED, ("ways=3",), ("algo=maml", *TRAIN_SIZES), ("precision=float64",)]
)
def test_training_episodes_depend_only_on_the_seed(overrides: tuple[str, ...]) -> None:
    changed = training_episodes(*TRAIN_SIZES, "meta_batch=2", *overrides)
    assert same(training_episodes(*TRAIN_SIZES), changed)


def test_the_seed_changes_weights_and_training_episodes_but_not_the_evaluation() -> None:
    first, second = parts("seed=0"), parts("seed=1")
    a, b = first.learner.state_dict(), second.learner.state_dict()
    assert any(not torch.equal(a[key], b[key]) for key in a)
    assert not same(training_episodes("seed=0"), training_episodes("seed=1"))
    for split in ("val", "test"):
        assert first.frozen(split).sha256(20) == second.frozen(split).sha256(20)


def test_training_episodes_differ_from_evaluation_episodes() -> None:
    equal_seeds = parts("seed=3", "eval_seed=3")
    training = equal_seeds.training()
    for split in ("val", "test"):
        frozen = equal_seeds.frozen(split)
        assert not same(
            [training.choose(i) for i in range(5)], [frozen.choose(i) for i in range(5)]
        )
