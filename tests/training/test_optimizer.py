"""Learning rate schedules, gradient clipping, and gradients that are not finite."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from metarun.training.optimizer import Outer, adam, sgd


def one(make: object = sgd, steps: int = 10, **options: object) -> tuple[nn.Parameter, Outer]:
    p = nn.Parameter(torch.tensor([3.0, 4.0]))
    return p, make([p], steps, **options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1, 1, 1, 1, 1]),
        ({"schedule": "step", "decay_every": 2, "decay": 0.5}, [1, 1, 0.5, 0.5, 0.25]),
        ({"schedule": "linear"}, [1 - s / 10 for s in range(5)]),
        ({"schedule": "cosine"}, [0.5 * (1 + math.cos(math.pi * s / 10)) for s in range(5)]),
    ],
)
def test_schedules(options: dict, expected: list[float]) -> None:
    p, outer = one(lr=0.1, momentum=0.0, **options)
    rates = []
    for step in range(5):
        p.grad, before = torch.ones(2), p.detach().clone()
        outer.step(step)
        rates.append((before - p.detach())[0].item() / 0.1)
    assert rates == pytest.approx(expected, rel=1e-4)


def test_elements_are_limited_each_for_itself_after_the_norm() -> None:
    p = nn.Parameter(torch.zeros(3))
    outer = sgd([p], 1, lr=1.0, momentum=0.0, clip_value=10.0)
    p.grad = torch.tensor([30.0, -40.0, 2.0])
    assert outer.step(0) == pytest.approx(2504**0.5)
    assert p.tolist() == [-10.0, 10.0, -2.0]
    both = sgd([p], 1, lr=1.0, momentum=0.0, clip=5.0, clip_value=3.5)
    p.data.zero_()
    p.grad = torch.tensor([3.0, -4.0, 0.0])
    both.step(0)
    assert p.tolist() == pytest.approx([-3.0, 3.5, 0.0])


def test_clipping_limits_the_norm_and_reports_it_before_clipping() -> None:
    p, outer = one(lr=1.0, momentum=0.0, clip=1.0)
    p.grad = torch.tensor([30.0, 40.0])
    assert outer.step(0) == pytest.approx(50.0)
    assert p.tolist() == pytest.approx([3 - 0.6, 4 - 0.8], rel=1e-4)


@pytest.mark.parametrize("make", [adam, sgd])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_changes_no_parameter(make: object, bad: float) -> None:
    p, outer = one(make)
    p.grad = torch.tensor([1.0, bad])
    with pytest.raises(FloatingPointError, match="meta-gradient"):
        outer.step(0)
    assert p.tolist() == [3.0, 4.0]


def test_adam_equals_torchs_adam() -> None:
    p, outer = one(adam, lr=0.01)
    q = nn.Parameter(p.detach().clone())
    reference = torch.optim.Adam([q], lr=0.01)
    for step in range(3):
        p.grad, q.grad = p.detach() * 2, q.detach() * 2
        outer.step(step)
        reference.step()
    torch.testing.assert_close(p, q)
