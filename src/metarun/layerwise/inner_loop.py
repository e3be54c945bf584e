"""The inner loops of several tasks, whose results can be differentiated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from metarun.layerwise.chain import Passes

Loss = Callable[[Tensor], Tensor]


def adapted_together(
    chain: Sequence[nn.Module],
    x: Tensor,
    loss: Loss,
    *,
    weights: Sequence[Tensor],
    lrs: Sequence[Tensor],
    steps: int,
    first_order: bool,
) -> list[Tensor]:
    """Return weights after gradient steps: `algorithms.inner_loop.adapted` for several tasks.

    Args:
        chain: the layers of the network.
        x: (T, B, *shape) inputs of the supports.
        loss: outputs (T, B, N) → the sum of the losses of the tasks.
        weights: the initial weights, which the tasks share.
        lrs: a step size for each tensor of weights, scalar or of its shape.

    Returns:
        For each tensor of weights, the adapted ones (T, …).
    """
    settings = (chain, loss, steps, first_order)
    return list(_InnerLoop.apply(settings, x, *lrs, *weights))


class _InnerLoop(Function):
    """θ' ← θ' − α∘∇L(θ'), and the products of its transposed Jacobian with vectors v.

    A step takes v to v − H·(α∘v), where H is the Hessian of L at θ', and adds −v∘∇L to the gradient
    with respect to α.
    """

    @staticmethod
    def forward(ctx: Any, settings: tuple, x: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        chain, loss, steps, ctx.first_order = settings
        ctx.lrs, weights = tensors[: len(tensors) // 2], tensors[len(tensors) // 2 :]
        ctx.steps, values = [], [w[None] for w in weights]
        for _ in range(steps):
            passes = Passes(chain, values, x)
            with torch.enable_grad():
                y = passes.y.detach().requires_grad_()
                (g,) = torch.autograd.grad(loss(y), y, create_graph=not ctx.first_order)
            slopes = passes.backward(g.detach().clone())
            ctx.steps.append((slopes, None if ctx.first_order else (passes, y, g)))
            values = [s.mul(-lr).add_(w) for w, lr, s in zip(values, ctx.lrs, slopes, strict=True)]
        return tuple(v.expand(len(x), *v.shape[1:]) if len(v) == 1 else v for v in values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *v: Tensor) -> tuple[Tensor | None, ...]:
        of_lrs: list[Tensor | None] = [None] * len(ctx.lrs)
        for slopes, second in reversed(ctx.steps):
            for i, lr in enumerate(ctx.lrs):
                if ctx.needs_input_grad[2 + i]:
                    own = -(v[i] * slopes[i]).sum_to_size(1, *lr.shape)[0]
                    of_lrs[i] = own if of_lrs[i] is None else of_lrs[i] + own
            if second is not None:
                passes, y, g = second
                dy = passes.tangent([-lr * part for lr, part in zip(ctx.lrs, v, strict=True)])
                with torch.enable_grad():
                    (dg,) = torch.autograd.grad(g, y, dy)
                products = passes.tangent_backward(dg)
                v = [part.sum_to_size(h.shape) + h for part, h in zip(v, products, strict=True)]
        return None, None, *of_lrs, *(part.sum(0) for part in v)
