"""The inner loop: gradient steps on the support of a task."""

from __future__ import annotations

from collections.abc import Container, Iterable
from contextlib import nullcontext
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from metarun.algorithms import Learner
from metarun.backbones.norm import BatchNorm, normalised_by
from metarun.tasks.task import Evidence, Examples, Inputs, joined

LARGE = 16  # support items from which batch norm's closed form is faster in a second-order loop

Weights = dict[str, Tensor]
Engine = Literal["loop", "vmap", "learn2learn"]


class Adapted(nn.Module):
    """A network with other weights than its own.

    Args:
        net: the network; only running averages of its own may change, as in any training.
        weights: tensors that replace parameters, by their names in `net`.
        tasks: if several, the weights have a leading dimension of tasks, and the rows of an input
            belong to the tasks in order, equally many to each.
    """

    def __init__(self, net: nn.Module, weights: Weights, tasks: int = 1) -> None:
        super().__init__()
        self.net, self.weights, self.tasks = net, weights, tasks

    def forward(self, x: Inputs) -> Tensor:
        if self.tasks == 1:
            return functional_call(self.net, self.weights, (x,))

        def one(weights: Weights, x: Tensor) -> Tensor:
            return functional_call(self.net, weights, (x,))

        return vmap(one)(self.weights, x.unflatten(0, (self.tasks, -1))).flatten(0, 1)


def unflattened(vector: Tensor, net: nn.Module) -> Weights:
    """Return the parameters of `net` with the values of a vector (P), as views of it."""
    parameters = dict(net.named_parameters())
    parts = vector.split([p.numel() for p in parameters.values()])
    return {k: v.view_as(p) for (k, p), v in zip(parameters.items(), parts, strict=True)}


def adapted(
    net: nn.Module,
    support: Evidence,
    *,
    steps: int,
    lr: float | Iterable[Tensor],
    first_order: bool,
    engine: Engine = "loop",
    adapts: Container[str] | None = None,
    later_lr: float | None = None,
) -> Weights:
    """Return the weights of `net` after gradient steps on the mean loss of one task's support.

    θ' ← θ' − lr·∇L(θ'; support), starting from θ' = θ (Finn et al. 2017, equation 1). The result
    is part of the graph of `net`, so it can be differentiated with respect to θ. All parameters
    with `requires_grad` adapt, including the scale and shift of batch normalisation. The function
    also works under `torch.no_grad()`.

    Args:
        steps: number of gradient steps.
        lr: one step size, or one tensor of step sizes per parameter, of the parameter's shape and
            in the order of `net.parameters()` (Li et al. 2017, equation 2). The weights can be
            differentiated with respect to these tensors.
        first_order: treat the inner gradients as constants (Finn et al. 2017, section 5.2).
        engine: `loop`: autograd; `vmap`: functions that `torch.func.vmap` can batch;
            `learn2learn`: its wrappers, used as documented, which adapt all parameters.
        adapts: names of the parameters that adapt; the others keep their values.
        later_lr: step size after the first step; `None`: `lr`. `learn2learn` does not take it.

    Returns:
        The weights that adapt, by name. If the support is `together` of several environments, they
        have a leading dimension of tasks.
    """
    if engine == "learn2learn":
        from metarun.algorithms.clone_adapt import clone_adapt

        with normalised_by(net, "batch"):
            return clone_adapt(net, support, steps=steps, lr=lr, first_order=first_order)
    weights = dict(net.named_parameters())
    lrs = [lr] * len(weights) if isinstance(lr, int | float) else lr
    lrs = dict(zip(weights, lrs, strict=True))
    weights = {
        name: w
        for name, w in weights.items()
        if w.requires_grad and (adapts is None or name in adapts)
    }
    tasks = getattr(support, "tasks", 1)  # of environments that act together
    if tasks > 1:
        weights = {name: w.expand(tasks, *w.shape).clone() for name, w in weights.items()}
    examples = isinstance(support, Examples)
    large = examples and len(support) >= LARGE
    closed_form = engine == "vmap" or (large and not first_order)
    gradient = _gradient_under_vmap if engine == "vmap" and examples else _gradient
    with normalised_by(net, "closed_form" if closed_form else "batch"):
        for _ in range(steps):
            slopes = gradient(net, weights, support, first_order)
            weights = {name: w - lrs[name] * slopes[name] for name, w in weights.items()}
            lrs = lrs if later_lr is None else dict.fromkeys(weights, later_lr)
    return weights


def _gradient(net: nn.Module, weights: Weights, support: Evidence, first_order: bool) -> Weights:
    """Return the gradient of the support's loss with respect to the weights."""
    with torch.enable_grad():
        if not next(iter(weights.values())).requires_grad:  # under `torch.no_grad()`
            weights = {name: w.requires_grad_() for name, w in weights.items()}
        loss = support.loss(Adapted(net, weights, getattr(support, "tasks", 1)))
        slopes = torch.autograd.grad(loss, [*weights.values()], create_graph=not first_order)
    return dict(zip(weights, slopes, strict=True))


def _gradient_under_vmap(
    net: nn.Module, weights: Weights, support: Evidence, first_order: bool
) -> Weights:
    """Return the same as `_gradient`, by functions that `vmap` accepts but that are slower."""
    with torch.no_grad() if first_order else nullcontext():  # `grad` ignores an outer `no_grad`
        return grad(lambda weights: support.loss(Adapted(net, weights)))(weights)


class Normalised:
    """A network together with the batch-norm statistics for its queries.

    Args:
        net: the network, usually adapted to the task.
        support: support of the task.
        learner: its `batch_norm` is `transductive`: a batch is normalised by its own statistics; or
            `inductive`: by those of the support under the weights of `net` (MetaBN, Bronskill et
            al. 2020). It is read for each batch.
    """

    def __init__(self, net: nn.Module, support: Evidence, learner: Learner) -> None:
        self.net, self.support, self.learner = net, support, learner

    @property
    def by_support(self) -> bool:
        """Whether the statistics are those of the support."""
        inductive = self.learner.batch_norm == "inductive"
        return inductive and any(isinstance(module, BatchNorm) for module in self.net.modules())

    def __call__(self, x: Inputs) -> Tensor:
        """Outputs (items, …) for inputs (items, *shape)."""
        if not self.by_support:
            with normalised_by(self.net, "batch"):
                return self.net(x)
        items = len(self.support)
        with normalised_by(self.net, items):
            return self.net(joined(self.support.x, x))[items:]
