"""Reptile: moves the initial weights towards the weights trained on each task."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from metarun.algorithms import BatchNormKind, Learner
from metarun.algorithms.gradient_learner import stackable, stacked
from metarun.algorithms.inner_loop import Adapted, unflattened
from metarun.backbones.norm import normalised_by
from metarun.tasks.task import Examples, Inputs, Judged, Model, Spec, Task, each, joined

EPSILON = 1e-8  # of the inner Adam
CHUNK = 25  # queries per call in inductive evaluation, which limits memory


def mini_batches(
    items: int, size: int, count: int, generator: torch.Generator | None = None
) -> Tensor:
    """Draw the indices (count, size) of mini-batches from consecutive shuffled passes.

    A mini-batch may start in one pass and end in the next, as in the authors' code. If it is larger
    than a pass, it contains items twice.
    """
    passes = -(-size * count // items)
    rows = torch.cat([torch.randperm(items, generator=generator) for _ in range(max(passes, 1))])
    return rows[: size * count].view(count, size)


class Reptile(Learner):
    """Learns initial weights by θ ← θ + ε·mean(φ − θ), where φ is θ trained on a task's support.

    Nichol, Achiam & Schulman 2018, "On First-Order Meta-Learning Algorithms", algorithm 2, with the
    settings of its appendix A. The inner loop is `inner_steps` steps of Adam with β₁ = 0 on
    mini-batches of the support, which has more shots in training than in evaluation.

    - The outer loss of a task is ½‖θ − φ‖² with gradient θ − φ, so SGD with learning rate ε is the
      published update; ε decreases linearly from 1 to 0. Training uses the queries only to report
      scores, so a few queries are enough.
    - The second moments and the step count of Adam are buffers. As in the authors' code, they are
      carried over from task to task, also within a meta-batch, whose tasks are trained in sequence.
      The order of the tasks therefore has a (small) effect. In evaluation, each task starts from a
      copy of the buffers.
    - In evaluation, the support is sorted by the sum of each item's values, and the mini-batches of
      all tasks are drawn with the same seed. A prediction therefore depends neither on the order of
      the support nor on other tasks.
    - `engine=vmap` computes the tasks of an evaluation together; training is always in sequence.

    Args:
        backbone: maps (B, *shape) to (B, features).
        spec: sets the number of outputs of the linear head.
        inner_lr: learning rate of the inner Adam, in training and evaluation.
        inner_beta2: decay β₂ of the second moments.
        inner_batch: items per mini-batch in training.
        inner_steps: number of mini-batches in training.
        test_inner_batch: items per mini-batch in evaluation.
        test_inner_steps: number of mini-batches in evaluation.
        batch_norm: how queries are normalised in evaluation, both as published. `transductive`: by
            the statistics of the query batch; `inductive`: each query in one batch with the whole
            support. Inner mini-batches and training queries are always normalised by their own
            statistics.
    """

    per_label_head = True
    needs_labels = False
    engines = ("loop", "vmap")
    sequential = adapts_alike = True
    slope = False  # φ depends on θ but is treated as a constant

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
        net = self._trained_copy(task.support, batches, self.second_moments, int(self.steps_taken))
        self.steps_taken += self.inner_steps
        with torch.no_grad(), normalised_by(net, "batch"):
            scores = task.query.judge(net).scores
        trained = parameters_to_vector(net.parameters()).detach()
        difference = parameters_to_vector(self.net.parameters()) - trained
        return Judged(difference.square().sum() / 2, scores)

    def adapt(self, support: Examples) -> Model:
        support, batches = self._for_evaluation(support)
        moments = self.second_moments.clone()
        net = self._trained_copy(support, batches, moments, int(self.steps_taken))
        return self._model(net, support)

    def adapt_all(self, supports: Sequence[Examples]) -> list[Model]:
        if self.engine != "vmap" or not stackable(supports):
            return super().adapt_all(supports)
        supports, (batches, *_) = zip(*map(self._for_evaluation, supports), strict=True)
        x, y = stacked(supports)
        flat = parameters_to_vector(self.net.parameters()).detach()
        weights, moments = (v.repeat(len(y), 1) for v in (flat, self.second_moments))  # (T, P)

        def loss(weights: Tensor, x: Inputs, y: Tensor) -> Tensor:
            net = Adapted(self.net, unflattened(weights, self.net))
            return replace(supports[0], x=x, y=y).loss(net)

        def gradient(rows: Tensor) -> Tensor:
            with normalised_by(self.net, "closed_form"):
                return vmap(grad(loss))(weights, each(lambda x: x[:, rows], x), y[:, rows])

        with torch.no_grad():
            self._descend(gradient, batches.to(y.device), weights, moments, int(self.steps_taken))
        nets = (Adapted(self.net, unflattened(w, self.net)) for w in weights)
        return [self._model(net, support) for net, support in zip(nets, supports, strict=True)]

    def _for_evaluation(self, support: Examples) -> tuple[Examples, Tensor]:
        """Return the sorted support and its mini-batches."""
        sums = each(lambda x: x.reshape(len(x), -1).sum(1), support.x)
        order = (sum(sums.values()) if isinstance(sums, dict) else sums).argsort(stable=True)
        size, count, rng = self.test_inner_batch, self.test_inner_steps, torch.Generator()
        return support[order], mini_batches(len(support), size, count, rng.manual_seed(0))

    def _model(self, net: nn.Module, support: Examples) -> Model:
        """Return the model with the trained network, whose support is sorted."""

        def outputs(x: Inputs) -> Tensor:
            with normalised_by(net, "batch"):
                if self.batch_norm == "transductive":
                    return net(x)
                forward = vmap(  # one batch per query, in parallel
                    lambda item: net(joined(support.x, each(lambda row: row[None], item)))[-1],
                    chunk_size=CHUNK,
                )
                return forward(x)

        return outputs

    def _trained_copy(
        self, support: Examples, batches: Tensor, moments: Tensor, previous_steps: int
    ) -> nn.Module:
        """Return a copy of the network after one Adam step on each mini-batch; see `_descend`."""
        net = copy.deepcopy(self.net)
        weights = parameters_to_vector(net.parameters()).detach()
        vector_to_parameters(weights, net.parameters())  # parameters become views of `weights`

        def gradient(rows: Tensor) -> Tensor:
            loss = support[rows].loss(net)
            return parameters_to_vector(torch.autograd.grad(loss, list(net.parameters())))

        with torch.enable_grad(), normalised_by(net, "batch"):
            self._descend(gradient, batches.to(support.y.device), weights, moments, previous_steps)
        return net

    def _descend(
        self,
        gradient: Callable[[Tensor], Tensor],
        batches: Tensor,
        weights: Tensor,
        moments: Tensor,
        previous_steps: int,
    ) -> None:
        """Take one step of Adam on each mini-batch.

        Args:
            gradient: maps the indices of support items to the gradient (…, P) at `weights`.
            batches: (steps, batch) indices of support items.
            weights, moments: (…, P) all parameters and their second moments, updated in place.
            previous_steps: number of Adam steps that `moments` already contains.
        """
        for step, rows in enumerate(batches, start=previous_steps + 1):
            g = gradient(rows)
            moments.mul_(self.inner_beta2).addcmul_(g, g, value=1 - self.inner_beta2)
            scale = (moments / (1 - self.inner_beta2**step)).sqrt_().add_(EPSILON)
            weights.addcdiv_(g, scale, value=-self.inner_lr)
