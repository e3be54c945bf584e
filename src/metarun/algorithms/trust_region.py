"""Trust-region policy optimization: a natural-gradient step with a line search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters


class Step(NamedTuple):
    """A step that was taken; all values are 0 if none was acceptable.

    Attributes:
        improvement: decrease of the loss.
        kl: divergence of the new policy from the old one.
        fraction: of the full step.
    """

    improvement: float = 0.0
    kl: float = 0.0
    fraction: float = 0.0


def conjugate_gradient(
    product: Callable[[Tensor], Tensor], b: Tensor, steps: int = 10, tolerance: float = 1e-10
) -> Tensor:
    """Solve A·x = b for a symmetric positive definite A (Hestenes & Stiefel 1952).

    Args:
        product: maps a vector v to A·v.
        b: (P) right-hand side.
        steps: the largest number of products.
        tolerance: squared norm of the residual at which to stop.

    Returns:
        The solution after these steps, (P).
    """
    x, residual = torch.zeros_like(b), b.clone()
    direction, squared = residual.clone(), residual @ residual
    for _ in range(steps):
        if squared <= tolerance:
            break
        image = product(direction)
        rate = squared / (direction @ image)
        x, residual = x + rate * direction, residual - rate * image
        previous, squared = squared, residual @ residual
        direction = residual + squared / previous * direction
    return x


def curvature(scalar: Tensor, parameters: Sequence[Tensor]) -> Callable[[Tensor], Tensor]:
    """Return the function that maps a vector (P) to its product with the Hessian of a scalar.

    The Hessian of the mean divergence KL(old ‖ new) at new = old is the Fisher information of the
    policy.
    """
    parts = torch.autograd.grad(scalar, parameters, create_graph=True)
    slope = parameters_to_vector(parts)

    def product(vector: Tensor) -> Tensor:
        parts = torch.autograd.grad(slope @ vector, parameters, retain_graph=True)
        return parameters_to_vector(parts)

    return product


def trust_region_step(
    parameters: Sequence[Tensor],
    slope: Tensor,
    product: Callable[[Tensor], Tensor],
    evaluate: Callable[[], tuple[float, float]],
    *,
    max_kl: float = 0.01,
    damping: float = 1e-5,
    cg_steps: int = 10,
    backtracks: int = 15,
    shrink: float = 0.8,
) -> Step:
    """Minimise a loss within a divergence of `max_kl` (Schulman et al. 2015, appendix C).

    The direction is F⁻¹·slope by conjugate gradients, and its length that at which the quadratic
    model of the divergence is `max_kl`. The step is shortened until the loss decreases and the
    divergence is at most `max_kl`; if it never is, the parameters stay as they were.

    Args:
        parameters: leaf tensors with P values in all; changed in place.
        slope: (P) gradient of the loss.
        product: maps a vector (P) to its product with F, for example `curvature` of the divergence.
        evaluate: returns the loss and the divergence from the policy before the step, for the
            present values of the parameters.
        max_kl: the largest divergence.
        damping: multiple of the identity that is added to F.
        cg_steps: products with F.
        backtracks: lengths that are tried, each `shrink` times the one before.
    """
    old = parameters_to_vector(parameters).detach().clone()
    direction = conjugate_gradient(lambda v: product(v) + damping * v, slope, cg_steps)
    squared = direction @ (product(direction) + damping * direction)
    if not squared > 0:  # the slope is 0, or the curvature is not positive
        return Step()
    full = (2 * max_kl / squared).sqrt() * direction
    with torch.no_grad():
        loss, _ = evaluate()
        for k in range(backtracks):
            vector_to_parameters(old - shrink**k * full, parameters)
            new, kl = evaluate()
            if new < loss and kl <= max_kl:
                return Step(loss - new, kl, shrink**k)
        vector_to_parameters(old, parameters)
    return Step()
