"""Families of functions on which optimizers are learned, with their laws.

A function maps points (…, d) to values (…). Its data are arrays that a law draws; leading
dimensions of points and data are broadcast.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from metarun.tasks.headline import Headline
from metarun.tasks.objectives import Objective

PENALTY = 5e-4  # λ of the squared weights (Li & Malik 2017)
Arrays = tuple[np.ndarray, ...]

LAST = Objective("minimisation", Headline("final_loss", False, title="loss after the last step"))
MEAN = Objective("minimisation", Headline("loss", False, title="mean loss over the steps"))


class Family(NamedTuple):
    """A family of functions.

    Attributes:
        dimension: d, the length of a point.
        horizon: steps of an optimizer in the paper.
        objective: names the score by which the paper compares.
        draw: draws the data of a function.
        value: maps points (…, d) and the data to values (…).
        start: standard deviation of the numbers of the starting point, which are Gaussian around 0.
        minimum: the least value of a function with this data; `None` if it is unknown.
    """

    dimension: int
    horizon: int
    objective: Objective
    draw: Callable[[np.random.Generator], Arrays]
    value: Callable[..., Tensor]
    start: float
    minimum: Callable[..., float] | None = None


def draw_quadratic(rng: np.random.Generator) -> Arrays:
    """Return W (10, 10) and y (10), standard normal as in the paper (the code: uniform)."""
    return rng.normal(size=(10, 10)), rng.normal(size=10)


def quadratic(x: Tensor, w: Tensor, y: Tensor) -> Tensor:
    """‖Wx − y‖² (Andrychowicz et al. 2016, section 3.1)."""
    return (torch.einsum("...nd,...d->...n", w, x) - y).square().sum(-1)


def least_quadratic(w: np.ndarray, y: np.ndarray) -> float:
    """The least squared residual; 0 unless W is singular."""
    return float(np.square(w @ np.linalg.lstsq(w, y)[0] - y).sum())


def clusters(rng: np.random.Generator, count: int, items: int, features: int) -> np.ndarray:
    """Return (count·items, features) points of Gaussians with random means and covariances.

    Means are standard normal; covariances are A·Aᵀ with standard normal numbers in A.
    """
    mean = rng.normal(size=(count, 1, features))
    a = rng.normal(size=(count, features, features))
    return (mean + rng.normal(size=(count, items, features)) @ a.mT).reshape(-1, features)


def draw_logistic(rng: np.random.Generator) -> Arrays:
    """Return points (100, 3) of two Gaussians, and their labels (100), 0 or 1."""
    return clusters(rng, 2, 50, 3), np.repeat([0.0, 1.0], 50)


def logistic(x: Tensor, points: Tensor, labels: Tensor) -> Tensor:
    """Mean logistic loss plus λ/2·‖w‖², with three weights w and a bias, which is not penalised."""
    w, logits = x[..., :-1], linear(x, points)
    loss = F.softplus(logits) - labels * logits
    return loss.mean(-1) + PENALTY / 2 * w.square().sum(-1)


def least_logistic(points: np.ndarray, labels: np.ndarray) -> float:
    """The least value, by Newton's method with halved steps."""
    z = np.column_stack([points, np.ones(len(points))])
    penalty = np.diag([PENALTY] * points.shape[1] + [0])

    def value(x: np.ndarray) -> float:
        return float((np.logaddexp(0, z @ x) - labels * (z @ x)).mean() + x @ penalty @ x / 2)

    x = np.zeros(z.shape[1])
    for _ in range(100):
        p = 1 / (1 + np.exp(-z @ x))
        gradient = z.T @ (p - labels) / len(z) + penalty @ x
        step = np.linalg.solve((z.T * (p * (1 - p))) @ z / len(z) + penalty, gradient)
        size = 1.0
        while value(x - size * step) > value(x) and size > 1e-9:
            size /= 2
        x = x - size * step
        if gradient @ step < 1e-20:
            break
    return value(x)


def draw_robust(rng: np.random.Generator) -> Arrays:
    """Return points (100, 3) of four Gaussians, and targets (100).

    The points of a Gaussian are projected on a random vector of its own, plus a bias and noise.
    """
    points = clusters(rng, 4, 25, 3)
    vectors, biases = rng.normal(size=(4, 3)), rng.normal(size=4)
    rows = np.repeat(np.arange(4), 25)
    return points, (points * vectors[rows]).sum(1) + biases[rows] + rng.normal(0, 0.1, 100)


def robust(x: Tensor, points: Tensor, targets: Tensor) -> Tensor:
    """Mean of r² / (1 + r²) for the residuals r of linear regression (Geman & McClure 1985)."""
    squared = (linear(x, points) - targets).square()
    return (squared / (1 + squared)).mean(-1)


def draw_network(rng: np.random.Generator) -> Arrays:
    """Return points (100, 2) of four Gaussians, and labels (100); both labels occur."""
    points, of_cluster = (
        clusters(rng, 4, 25, 2),
        rng.permutation([0.0, 1.0, *rng.integers(2, size=2)]),
    )
    return points, np.repeat(of_cluster, 25)


def network(x: Tensor, points: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy plus λ/2·‖x‖² of a network with two hidden ReLU units and two outputs."""
    w1, b1, w2, b2 = x.split([4, 2, 4, 2], -1)
    hidden = F.relu(points @ w1.unflatten(-1, (2, 2)) + b1.unsqueeze(-2))
    outputs = hidden @ w2.unflatten(-1, (2, 2)) + b2.unsqueeze(-2)
    logits = outputs[..., 1] - outputs[..., 0]
    loss = F.softplus(logits) - labels * logits
    return loss.mean(-1) + PENALTY / 2 * x.square().sum(-1)


def linear(x: Tensor, points: Tensor) -> Tensor:
    """Weights and a bias x (…, d + 1) applied to points (…, items, d) → (…, items)."""
    return torch.einsum("...nd,...d->...n", points, x[..., :-1]) + x[..., -1:]


FAMILIES = {
    "quadratic": Family(10, 100, LAST, draw_quadratic, quadratic, 0.01, least_quadratic),
    "logistic": Family(4, 40, MEAN, draw_logistic, logistic, 1.0, least_logistic),
    "robust": Family(4, 40, MEAN, draw_robust, robust, 1.0),
    "network": Family(12, 40, MEAN, draw_network, network, 1.0),
}
