"""Batch normalisation by batch statistics, with first and second derivatives in closed form.

PyTorch computes the second derivative of its fused kernel by a long chain of small operations,
which is a little slower on large batches. Under `torch.func.vmap`, PyTorch 2.14 computes it
incorrectly if the scale is a batched tensor.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

native_batch_norm = torch.ops.aten.native_batch_norm
native_batch_norm_backward = torch.ops.aten.native_batch_norm_backward


def batch_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Normalise (B, C, …) by the statistics of the batch: the value of `F.batch_norm`."""
    return _BatchNorm.apply(x, weight, bias, eps)[0]


def _backward(
    grad: Tensor, x: Tensor, weight: Tensor, mean: Tensor, invstd: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of x, weight and bias; `mean` and `invstd` are those of the batch."""
    return native_batch_norm_backward(
        grad, x, weight, None, None, mean, invstd, True, 0.0, (True, True, True)
    )


class _BatchNorm(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        return native_batch_norm(x, weight, bias, None, None, True, 0.0, eps)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        x, weight, _, _ = inputs
        _, mean, invstd = output
        ctx.mark_non_differentiable(mean, invstd)
        ctx.save_for_backward(x, weight, mean, invstd)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        return *_Backward.apply(grad, *ctx.saved_tensors), None


class _Backward(torch.autograd.Function):
    """The gradient as a function that has a gradient itself.

    With x̂ = (x − mean)·s, s = invstd, n values per channel, w the weight, g the incoming gradient
    and P(h) = h − mean(h) − x̂·mean(h·x̂), the gradients are w·s·P(g) for x, Σ g·x̂ for w and Σ g for
    the bias. P is self-adjoint, dx̂ = s·P(dx) and ds = −s²·mean(x̂·dx).
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        grad: Tensor, x: Tensor, weight: Tensor, mean: Tensor, invstd: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        return _backward(grad, x, weight, mean, invstd)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        ctx.save_for_backward(*inputs, output[1])

    @staticmethod
    def backward(
        ctx: Any, u: Tensor, u_weight: Tensor, u_bias: Tensor
    ) -> tuple[Tensor | None, ...]:
        grad, x, weight, mean, invstd, sum_grad_xhat = ctx.saved_tensors
        axes, shape = (0, *range(2, x.dim())), (1, -1, *[1] * (x.dim() - 2))
        n, one = x.numel() // x.shape[1], torch.ones_like(weight)

        def column(values: Tensor) -> Tensor:  # (C) → (1, C, 1, …)
            return values.view(shape)

        # s·P(u) and Σ u·x̂ by the fused kernel, then Σ g·s·P(u), the gradient of w.
        projected, sum_u_xhat, _ = _backward(u, x, one, mean, invstd)
        grad_weight = (grad * projected).sum(axes)
        scale = u_weight * invstd  # x̂·u_weight = x·scale − mean·scale
        grad_grad = torch.addcmul(projected * column(weight), x, column(scale))
        grad_grad = grad_grad + column(u_bias - scale * mean)

        # The gradient of x: through x̂, s·P(h), and through the factor s, −w·s·(Σ g·s·P(u))/n·x̂.
        factor = -weight * invstd / n
        h = torch.addcmul(
            u * column(factor * sum_grad_xhat), grad, column(u_weight + factor * sum_u_xhat)
        )
        scale = factor * invstd * grad_weight
        grad_x = torch.addcmul(_backward(h, x, one, mean, invstd)[0], x, column(scale))
        return grad_grad, grad_x - column(scale * mean), grad_weight, None, None
