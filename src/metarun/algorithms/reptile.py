"""Reptile: moves the initial weights towards what ordinary training on each task arrives at."""

from __future__ import annotations

import copy

import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from metarun.algorithms import BatchNormKind, Learner
from metarun.backbones.norm import normalised_by
from metarun.tasks.task import Examples, Inputs, Judged, Model, Spec, Task, each, joined

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


class Reptile(Learner):
    """Learns initial weights θ by θ ← θ + ε·mean(φ − θ), φ being θ trained on one task's support.

    Nichol, Achiam & Schulman 2018, "On First-Order Meta-Learning Algorithms", algorithm 2, with the
    settings of its appendix A. The inner loop is `inner_steps` steps of Adam with β₁ = 0 on
    mini-batches of the support, which has more shots in training than in evaluation.

    - The outer loss of a task is ½‖θ − φ‖², whose gradient is θ − φ: plain SGD with rate ε takes
      the published step; the rate goes from 1 to 0 linearly. Queries have no part in it: they only
      measure the adapted weights, so a few are enough.
    - Adam's second moments and step count are buffers. As in the authors' code they run on from
      task to task, also within a meta-batch, whose tasks are trained one after another: the
      order of the tasks has a (small) effect. In evaluation each task starts from a copy of what
      training left.
    - Evaluation draws its mini-batches by the same numbers for each task, after putting the support
      in an order of its own, so that a prediction depends on neither the order of the support nor
      the other tasks.

    Args:
        backbone: maps (B, *shape) to (B, features).
        spec: its outputs are those of the linear head.
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
    needs_labels = False
    sequential = True
    slope = False  # φ depends on θ, and counts as constant

    def __init__(
        self,
        backbone: nn.Module,
        spec: Spec,
        *,
        inner_lr: PositiveFloat = 1e-3,
        inner_beta2: PositiveFloat = 0.999,
        inner_batch: PositiveInt = 10,
        inner_steps: PositiveInt = 5,
        test_inner_batch: PositiveInt = 5,
        test_inner_steps: NonNegativeInt = 50,
        batch_norm: BatchNormKind = "transductive",
    ) -> None:
        super().__init__()
        self.net = nn.Sequential(backbone, nn.Linear(backbone.features, spec.outputs))
        self.inner_lr, self.inner_beta2 = inner_lr, inner_beta2
        self.inner_batch, self.inner_steps = inner_batch, inner_steps
        self.test_inner_batch, self.test_inner_steps = test_inner_batch, test_inner_steps
        self.batch_norm = batch_norm
        weights = parameters_to_vector(self.net.parameters()).detach()
        self.register_buffer("second_moments", torch.zeros_like(weights))
        self.register_buffer("steps_taken", torch.zeros((), dtype=torch.int64))

    def outer_loss(self, task: Task) -> Judged:
        batches = mini_batches(len(task.support), self.inner_batch, self.inner_steps)
        net = self._trained(task.support, batches, self.second_moments, int(self.steps_taken))
        self.steps_taken += self.inner_steps
        with torch.no_grad(), normalised_by(net, "batch"):
            scores = task.query.judge(net).scores
        end = parameters_to_vector(net.parameters()).detach()
        apart = parameters_to_vector(self.net.parameters()) - end
        return Judged(apart.square().sum() / 2, scores)

    def adapt(self, support: Examples) -> Model:
        sums = each(lambda x: x.reshape(len(x), -1).sum(1), support.x)
        order = (sum(sums.values()) if isinstance(sums, dict) else sums).argsort(stable=True)
        support, draws = support[order], torch.Generator().manual_seed(0)
        batches = mini_batches(len(support), self.test_inner_batch, self.test_inner_steps, draws)
        moments = self.second_moments.clone()
        net = self._trained(support, batches, moments, int(self.steps_taken))

        def outputs(x: Inputs) -> Tensor:
            with normalised_by(net, "batch"):
                if self.batch_norm == "transductive":
                    return net(x)
                one = torch.func.vmap(  # a batch for each query, side by side
                    lambda item: net(joined(support.x, each(lambda row: row[None], item)))[-1],
                    chunk_size=CHUNK,
                )
                return one(x)

        return outputs

    def _trained(
        self, support: Examples, batches: Tensor, moments: Tensor, taken: int
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
            for step, rows in enumerate(batches.to(support.y.device), start=taken + 1):
                loss = support[rows].loss(net)
                g = parameters_to_vector(torch.autograd.grad(loss, list(net.parameters())))
                moments.mul_(self.inner_beta2).addcmul_(g, g, value=1 - self.inner_beta2)
                scale = (moments / (1 - self.inner_beta2**step)).sqrt_().add_(EPSILON)
                weights.addcdiv_(g, scale, value=-self.inner_lr)
        return net
