"""Correct meta-gradients pass; planted defects are found."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from metarun.algorithms.inner_loop import Weights, adapted
from metarun.checks.gradient import meta_gradient
from metarun.testing import build
from tests.algorithms.learners import SHIPPED, WITHOUT_TRAINING
from tests.checks.planted import Faulty, in_double


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_learners(name: str) -> None:
    learner = build(name, "transductive")
    finding = meta_gradient(learner, in_double())
    without = ("fomaml", "reptile", "lstm", *WITHOUT_TRAINING)
    expected = "measured" if name in without else "passed"
    assert finding.status == expected, finding


@pytest.mark.parametrize(
    "fault", ["forgets a tensor", "is a little off", "has no gradient", "overflows"]
)
def test_a_wrong_gradient_is_found(fault: str) -> None:
    assert meta_gradient(Faulty("none"), in_double()).status == "passed"
    assert meta_gradient(Faulty(fault), in_double()).status == "failed"


@pytest.mark.parametrize("name", ["maml", "anil", "meta_sgd"])
def test_first_order_by_design_is_measured(name: str) -> None:
    learner = build(name, "transductive")
    learner.first_order = True
    finding = meta_gradient(learner, in_double())
    assert finding.status == "measured"
    assert "by design (first_order=true)" in finding.text
    learner.inner_steps = 0  # without inner steps, the gradient is exact
    assert meta_gradient(learner, in_double()).status == "passed"


@pytest.mark.parametrize("name", ["maml", "anil", "meta_sgd"])
def test_a_missing_second_derivative_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_second_derivatives(*args: Any, **options: Any) -> Weights:
        return adapted(*args, **{**options, "first_order": True})

    monkeypatch.setattr("metarun.algorithms.gradient_learner.adapted", without_second_derivatives)
    finding = meta_gradient(build(name, "transductive"), in_double())
    assert finding.status == "failed"
    assert "not the gradient of the outer loss" in finding.text


def test_a_learner_with_slope_false_is_measured() -> None:
    learner = Faulty("is a little off")
    learner.slope = False
    finding = meta_gradient(learner, in_double())
    assert finding.status == "measured"
    assert "Faulty.slope is False" in finding.text


def test_the_learner_is_not_changed() -> None:
    learner = build("protonet", "inductive")
    before = {k: v.clone() for k, v in learner.state_dict().items()}
    meta_gradient(learner, in_double())
    assert all(torch.equal(v, before[k]) for k, v in learner.state_dict().items())
    assert all(p.grad is None for p in learner.parameters())


def test_a_flat_loss_is_measured() -> None:
    learner = build("protonet", "inductive")
    learner.start = 1e12  # the temperature; all logits become equal
    finding = meta_gradient(learner, in_double())
    assert finding.status == "measured"
    assert "flat" in finding.text
