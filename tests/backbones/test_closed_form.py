"""Batch normalisation with derivatives in closed form."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from metarun.backbones.closed_form import batch_norm


def inputs(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> list[Tensor]:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(shape), torch.randn(shape[1]), torch.randn(shape[1])
    return [t.to(dtype).requires_grad_() for t in (2 * x + 1, weight, bias)]


@pytest.mark.parametrize("shape", [(5, 3), (4, 2, 3, 2)])
def test_first_and_second_derivatives_equal_finite_differences(shape: tuple[int, ...]) -> None:
    def normalised(*tensors: Tensor) -> Tensor:
        return batch_norm(*tensors, 1e-5)

    assert torch.autograd.gradcheck(normalised, inputs(shape))
    assert torch.autograd.gradgradcheck(normalised, inputs(shape))


@pytest.mark.parametrize("eps", [1e-5, 0.5])
def test_values_and_derivatives_equal_those_of_torch(eps: float) -> None:
    """Also where eps is not small beside the variance."""
    results = []
    for function in (
        lambda x, w, b: batch_norm(x, w, b, eps),
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True, eps=eps),
    ):
        tensors = inputs((6, 4, 3, 3))
        outputs = function(*tensors)
        first = torch.autograd.grad(outputs.tanh().square().sum(), tensors, create_graph=True)
        second = torch.autograd.grad(sum(g.sin().sum() for g in first), tensors)
        results.append([outputs, *first, *second])
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected)


def test_second_derivatives_are_correct_under_vmap_with_a_scale_for_each_sample() -> None:
    """Those of `F.batch_norm` are not, in PyTorch 2.14."""
    samples = [inputs((4, 3, 2, 2)) for _ in range(3)]
    x, weight, bias = (torch.stack(t).detach() for t in zip(*samples, strict=True))
    weight = weight * torch.arange(1.0, 4.0)[:, None]

    def slope(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        def loss(weight: Tensor, bias: Tensor) -> Tensor:
            return batch_norm(x, weight, bias, 1e-5).tanh().square().sum()

        gw, gb = torch.func.grad(loss, (0, 1))(weight, bias)
        return loss(weight - 0.1 * gw, bias - 0.1 * gb)

    together = torch.func.vmap(torch.func.grad(slope, (0, 1, 2)))(x, weight, bias)
    for t in range(3):
        single = torch.func.grad(slope, (0, 1, 2))(x[t], weight[t], bias[t])
        for actual, expected in zip(together, single, strict=True):
            torch.testing.assert_close(actual[t], expected)
