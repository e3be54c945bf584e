"""Logistic regression on each support, against scikit-learn and an optimum by SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from metarun import testing
from metarun.algorithms.linear_probe import LinearProbe
from tests.algorithms.learners import predict, spec
from tests.algorithms.test_simpleshot import Scaled


@pytest.mark.parametrize("ways", [2, 4])
@pytest.mark.parametrize("normalise", [True, False])
def test_probabilities_are_those_of_scikit_learn(ways: int, normalise: bool) -> None:
    model = LinearProbe(Scaled(), spec(classes=12), c=0.5, normalise=normalise).double().eval()
    batch = testing.tasks(2, ways, shots=3, queries=4, shape=(6,), seed=0)
    for task, logits in zip(batch, predict(model, batch), strict=True):
        support, query = (model._features(part.x).detach() for part in (task.support, task.query))
        reference = LogisticRegression(C=0.5, max_iter=1000).fit(support, task.support.y)
        np.testing.assert_allclose(logits.softmax(1), reference.predict_proba(query), atol=1e-6)


def test_the_fit_is_the_minimum_of_the_penalised_loss() -> None:
    (task,) = testing.tasks(1, 3, shots=3, queries=4, shape=(6,), seed=0)
    model = LinearProbe(Scaled(), spec(classes=12), normalise=False).double().eval()
    z, y = model._features(task.support.x).detach(), task.support.y

    def objective(weights: np.ndarray) -> float:
        w = torch.tensor(weights).view(7, 3)
        loss = torch.nn.functional.cross_entropy(z @ w[:6] + w[6], y, reduction="sum")
        return float(loss + w[:6].square().sum() / 2)

    best = minimize(objective, np.zeros(21), method="L-BFGS-B", tol=1e-12).x.reshape(7, 3)
    expected = model._features(task.query.x).detach() @ torch.tensor(best[:6]) + torch.tensor(
        best[6]
    )
    (logits,) = predict(model, [task])
    torch.testing.assert_close(logits.softmax(1), expected.softmax(1), atol=1e-3, rtol=0)
