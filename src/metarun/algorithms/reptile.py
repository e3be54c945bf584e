"""Reptile: moves the initial weights towards what ordinary training on each task arrives at."""

from __future__ import annotations

import copy
from typing import Literal

import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from metarun.algorithms import Algorithm, Task
from metarun.algorithms.inner_loop import predict_each
from metarun.backbones.norm import normalised_by
from metarun.tasks.objectives import loss_of, score
from metarun.tasks.sampler import Episodes

EPSILON = 1e-8  # of the inner Adam
CHUNK = 25  # queries that the inductive forward takes at once, for its memory


def mini_batches(
    items: int, size: int, count: int, generator: torch.Generator | None = None
) -> Tensor:
    """Row numbers (count, size) of mini-batches: shuffled passes over the items, end to end.

    A batch may begin in one pass and end in the next, as in the authors' code; one that is larger
    than a pass holds items twice.
    """
    passes = -(-size * count // items)
    rows = torch.cat([torch.randperm(items, generator=generator) for _ in range(max(passes, 1))])
    return rows[: size * count].view(count, size)


class Reptile(Algorithm):
    """Learns initial weights θ by θ ← θ + ε·mean(φ − θ), φ being θ trained on one task's support.

    Nichol, Achiam & Schulman 2018, "On First-Order Meta-Learning Algorithms", algorithm 2, with the
    settings of its appendix A. The inner loop is `inner_steps` steps of Adam with β₁ = 0 on
    mini-batches of the support, which has more shots in training than in evaluation.

    - `accumulate` leaves θ − mean φ in `.grad`: plain SGD with rate ε takes the published step; the
      rate goes from 1 to 0 linearly. Queries have no part in it: they only measure the
      adapted weights, so a few are enough.
    - Adam's second moments and step count are buffers. As in the authors' code they run on from
      task to task, also within a meta-batch, whose tasks are trained one after another: the
      order of the tasks has a (small) effect. In evaluation each task starts from a copy of what
      training left.
    - Evaluation draws its mini-batches by the same numbers for each task, after putting the support
      in an order of its own, so that a prediction depends on neither the order of the support nor
      the other tasks.

    Args:
        backbone: maps (B, *shape) to (B, features).
        task: its outputs are those of the linear head.
        inner_lr: rate of the inner Adam, in training and evaluation.
        inner_beta2: its decay of second moments.
        inner_batch: items in a mini-batch in training.
        inner_steps: mini-batches in training.
        test_inner_batch: items in a mini-batch in evaluation.
        test_inner_steps: mini-batches in evaluation.
        batch_norm: how queries are normalised, both as published. `transductive`: by the task's
            query batch; `inductive`: each in one batch with the whole support. It is a matter of
            evaluation alone: a mini-batch of the inner loop is normalised by itself, and so are
            the queries of training, which only measure.
    """

    per_label_head = True
    minimises = None  # the difference of weights is not the slope of a loss
    regresses = True

    def __init__(
        self,
        backbone: nn.Module,
        task: Task,
        *,
        inner_lr: PositiveFloat = 1e-3,
        inner_beta2: PositiveFloat = 0.999,
        inner_batch: PositiveInt = 10,
        inner_steps: PositiveInt = 5,
        test_inner_batch: PositiveInt = 5,
        test_inner_steps: NonNegativeInt = 50,
        batch_norm: Literal["transductive", "inductive"] = "transductive",
    ) -> None:
        super().__init__()
        self.net = nn.Sequential(backbone, nn.Linear(backbone.features, task.outputs))
        self.inner_lr, self.inner_beta2 = inner_lr, inner_beta2
        self.inner_batch, self.inner_steps = inner_batch, inner_steps
        self.test_inner_batch, self.test_inner_steps = test_inner_batch, test_inner_steps
        self.batch_norm = batch_norm
        weights = parameters_to_vector(self.net.parameters()).detach()
        self.register_buffer("second_moments", torch.zeros_like(weights))
        self.register_buffer("steps_taken", torch.zeros((), dtype=torch.int64))

    def accumulate(self, episodes: Episodes) -> dict[str, Tensor]:
        start = parameters_to_vector(self.net.parameters()).detach()
        mean, outputs = torch.zeros_like(start), []
        parts = (episodes.support_x, episodes.support_y, episodes.query_x)
        for sx, sy, qx in zip(*parts, strict=True):
            batches = mini_batches(len(sx), self.inner_batch, self.inner_steps)
            net = self._trained(sx, sy, batches, self.second_moments, int(self.steps_taken))
            self.steps_taken += self.inner_steps
            mean += parameters_to_vector(net.parameters()).detach() / len(episodes)
            with torch.no_grad(), normalised_by(net, "batch"):
                outputs.append(net(qx))
        weights = list(self.net.parameters())
        moves = (start - mean).split([p.numel() for p in weights])
        for p, move in zip(weights, moves, strict=True):
            p.grad = move.view_as(p) + (0 if p.grad is None else p.grad)
        return score(torch.stack(outputs), episodes.query_y)

    def predict(self, support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        return predict_each(self._outputs, support_x, support_y, query_x)

    def _outputs(self, sx: Tensor, sy: Tensor, qx: Tensor) -> Tensor:
        """Logits (N·Q, N) of one task's queries after training on its support."""
        order = sx.flatten(1).sum(1).argsort(stable=True)
        sx, sy = sx[order], sy[order]
        draws = torch.Generator().manual_seed(0)
        batches = mini_batches(len(sx), self.test_inner_batch, self.test_inner_steps, draws)
        net = self._trained(sx, sy, batches, self.second_moments.clone(), int(self.steps_taken))
        with normalised_by(net, "batch"):
            if self.batch_norm == "transductive":
                return net(qx)
            one = torch.func.vmap(  # a batch for each query, side by side
                lambda query: net(torch.cat([sx, query.unsqueeze(0)]))[-1], chunk_size=CHUNK
            )
            return one(qx)

    def _trained(
        self, x: Tensor, y: Tensor, batches: Tensor, moments: Tensor, taken: int
    ) -> nn.Module:
        """A copy of the network after one Adam step on each mini-batch.

        Args:
            batches: (steps, batch) row numbers.
            moments: all second moments, one after another; they are updated in place.
            taken: steps that lie behind them.
        """
        net = copy.deepcopy(self.net)
        weights = parameters_to_vector(net.parameters()).detach()
        vector_to_parameters(weights, net.parameters())  # views: changing one changes the other
        with torch.enable_grad(), normalised_by(net, "batch"):
            for step, rows in enumerate(batches.to(x.device), start=taken + 1):
                loss = loss_of(net(x[rows]), y[rows])
                g = parameters_to_vector(torch.autograd.grad(loss, list(net.parameters())))
                moments.mul_(self.inner_beta2).addcmul_(g, g, value=1 - self.inner_beta2)
                scale = (moments / (1 - self.inner_beta2**step)).sqrt_().add_(EPSILON)
                weights.addcdiv_(g, scale, value=-self.inner_lr)
        return net
