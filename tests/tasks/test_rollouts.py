"""Policies: outputs of a model and noise become actions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from metarun.tasks.rollouts import CATEGORICAL, GAUSSIAN


def test_actions_have_the_distribution_of_the_policy() -> None:
    rng = torch.Generator().manual_seed(0)
    outputs = torch.tensor([0.5, math.log(0.3)])
    actions = GAUSSIAN.act(outputs, GAUSSIAN.noise(torch.empty(20000, 1), generator=rng))
    assert float(actions.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(actions.std()) == pytest.approx(0.3, abs=0.01)
    p = torch.tensor([0.6, 0.3, 0.1])
    arms = CATEGORICAL.act(p.log(), CATEGORICAL.noise(torch.empty(20000, 3), generator=rng))
    np.testing.assert_allclose(arms.bincount() / 20000, p, atol=0.015)
