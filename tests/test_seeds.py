"""Seeds: what depends on them, and what does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from metarun.config.compose import checked, compose
from metarun.training.parts import Parts, assemble
from tests.conftest import OWN


def parts(*typed: str) -> Parts:
    words = ["data=blobs", "debug=tiny", "backbone.filters=4", "threads=1", *typed]
    return assemble(checked(compose(words, str(OWN))), [OWN])


def weights(*typed: str) -> dict[str, torch.Tensor]:
    return parts(*typed).learner.state_dict()


def training_episodes(*typed: str) -> list[tuple[np.ndarray, ...]]:
    sampler = parts(*typed).training()
    return [sampler.choose(i) for i in range(5)]


def same(one: Any, two: Any) -> bool:
    pairs = zip(one, two, strict=True)
    return all(all(map(np.array_equal, a, b)) for a, b in pairs)


HELD = ("train_ways=5", "train_shots=1", "train_queries=3")
ELSEWHERE = (
    *("shots=2", "queries=1", "steps=9", "eval_seed=1", "val_episodes=2", "test_episodes=3"),
    *("meta_batch=5", "optimizer.lr=0.5", "eval_every=1", "log_every=3"),
)


@pytest.mark.parametrize("algo", ["maml", "protonet", "relationnet", "lstm"])
def test_initial_weights_depend_on_the_seed_and_the_shapes_alone(algo: str) -> None:
    other = (*ELSEWHERE, "data.classes=60", "data.noise=1.0")
    before, after = weights(f"algo={algo}", *HELD), weights(f"algo={algo}", *HELD, *other)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_backbone_starts_alike_under_every_head() -> None:
    """More classes give `baseline` a larger head, behind the same first weights."""
    before, after = (weights("algo=baseline", f"data.classes={n}") for n in (36, 60))
    backbone = [key for key in before if key.startswith("backbone.")]
    assert backbone
    assert all(torch.equal(before[key], after[key]) for key in backbone)


@pytest.mark.parametrize(
    "other", [ELSEWHERE, ("ways=3",), ("algo=maml", *HELD), ("precision=float64",)]
)
def test_training_episodes_depend_on_the_seed_alone(other: tuple[str, ...]) -> None:
    assert same(training_episodes(*HELD), training_episodes(*HELD, "meta_batch=2", *other))


def test_another_seed_is_another_start_and_other_episodes_but_the_same_test() -> None:
    one, two = parts("seed=0"), parts("seed=1")
    first, second = one.learner.state_dict(), two.learner.state_dict()
    assert any(not torch.equal(first[key], second[key]) for key in first)
    assert not same(training_episodes("seed=0"), training_episodes("seed=1"))
    for split in ("val", "test"):
        assert one.frozen(split).sha256(20) == two.frozen(split).sha256(20)


def test_training_episodes_are_never_those_of_an_evaluation() -> None:
    known = parts("seed=3", "eval_seed=3")
    training = known.training()
    for split in ("val", "test"):
        frozen = known.frozen(split)
        assert not same(
            [training.choose(i) for i in range(5)], [frozen.choose(i) for i in range(5)]
        )
