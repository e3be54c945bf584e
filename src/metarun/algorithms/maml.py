"""Model-agnostic meta-learning."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from pydantic import NonNegativeInt, PositiveFloat
from torch import Tensor, nn

from metarun.algorithms import BatchNormKind
from metarun.algorithms.gradient_learner import GradientLearner, stackable, stacked
from metarun.algorithms.inner_loop import Adapted, Normalised, Weights
from metarun.config.explanation import show
from metarun.errors import Refused
from metarun.layerwise.chain import Outputs, chain_of
from metarun.layerwise.inner_loop import adapted_together
from metarun.tasks.task import Evidence, Examples, Judged, Model, Spec, Task


class MAML(GradientLearner):
    """Learns initial weights from which a few gradient steps on the support solve a new task.

    Finn, Abbeel & Levine 2017, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks",
    algorithm 2. The inner loss is the mean over the N·K support items. The authors' code divides
    their sum by K, so its learning rates are N times smaller than the equivalent rates here.

    Args:
        backbone: maps (B, *shape) to (B, features).
        spec: sets the number of outputs of the linear head.
        inner_lr: step size α of the inner loop.
        later_inner_lr: step size after the first inner step; `None`: `inner_lr`. The authors halve
            it in reinforcement learning, where the first step finds the task.
        inner_steps: inner steps in training.
        test_inner_steps: inner steps in evaluation.
        first_order: leave out the second derivatives.
        batch_norm: statistics that normalise queries, in training and evaluation. `transductive`:
            those of the task's query batch, as published; `inductive`: those of the support under
            the adapted weights (MetaBN, Bronskill et al. 2020). The support is always normalised by
            its own statistics. There are no running averages.
        adapts: parts of the network that the inner loop adapts, by their names in the backbone; the
            linear layer behind it is the `head`. `null`: all. With `[head]`, the learner is `ANIL`,
            which computes the same faster; with `[decision, head]` of the backbone `melu`, it is
            MeLU (Lee et al. 2019). The other weights learn in the outer loop only.

    Raises:
        Refused: the network has no part of that name.
    """

    needs_labels = False
    takes = ("examples", "environments")
    adapts_alike = True
    engines = (*GradientLearner.engines, "layerwise")

    def __init__(
        self,
        backbone: nn.Module,
        spec: Spec,
        *,
        inner_lr: PositiveFloat = 0.4,
        later_inner_lr: PositiveFloat | None = None,
        inner_steps: NonNegativeInt = 1,
        test_inner_steps: NonNegativeInt = 3,
        first_order: bool = False,
        batch_norm: BatchNormKind = "transductive",
        adapts: list[str] | None = None,
    ) -> None:
        super().__init__()
        self.net = nn.Sequential(backbone, nn.Linear(backbone.features, spec.outputs))
        self.adapts = None if adapts is None else self._parameters_of(adapts)
        self.inner_lr, self.first_order, self.batch_norm = inner_lr, first_order, batch_norm
        self.inner_steps, self.test_inner_steps = inner_steps, test_inner_steps
        self.later_inner_lr = later_inner_lr

    def fast_weights(self, support: Evidence) -> Weights:
        return self.inner_loop(self.net, support, self.step_sizes(), self.adapts)

    def model(self, weights: Weights, support: Evidence) -> Model:
        return Normalised(Adapted(self.net, weights, getattr(support, "tasks", 1)), support, self)

    def _parameters_of(self, parts: list[str]) -> set[str]:
        """Return the names in `net` of the parameters of these parts."""
        found: dict[str, set[str]] = {}
        for name, _ in self.net.named_parameters():
            place, _, inner = name.partition(".")
            found.setdefault("head" if place == "1" else inner.partition(".")[0], set()).add(name)
        if not parts or not set(parts) <= found.keys():
            raise Refused(
                f"algo.adapts={show(parts)}: should be parts of the network: {', '.join(found)}"
            )
        return set().union(*(found[part] for part in parts))

    def step_sizes(self) -> float | Iterable[Tensor]:
        """Return `lr` of `adapted`."""
        return self.inner_lr

    def fast_weights_together(self, supports: Sequence[Examples]) -> Weights:
        if self.engine != "layerwise":
            return super().fast_weights_together(supports)

        def loss(outputs: Tensor) -> Tensor:
            pairs = zip(supports, outputs.unbind(), strict=True)
            return torch.stack([support.objective.loss(y, support.y) for support, y in pairs]).sum()

        weights, lrs = dict(self.net.named_parameters()), self.step_sizes()
        if isinstance(lrs, int | float):
            lrs = [next(iter(weights.values())).new_tensor(lrs)] * len(weights)
        adapted = adapted_together(
            chain_of(self.net),
            stacked(supports)[0],
            loss,
            weights=list(weights.values()),
            lrs=list(lrs),
            **self.mode(),
        )
        return dict(zip(weights, adapted, strict=True))

    def outer_losses(self, tasks: Sequence[Task]) -> Iterable[Judged]:
        supports, queries = [task.support for task in tasks], [task.query for task in tasks]
        if self.engine != "layerwise" or not (stackable(supports) and stackable(queries)):
            return super().outer_losses(tasks)
        if Normalised(self.net, supports[0], self).by_support:
            models = self.adapt_all(supports)
            return [query.judge(model) for query, model in zip(queries, models, strict=True)]
        weights = self.fast_weights_together(supports)
        outputs = Outputs.apply(chain_of(self.net), stacked(queries)[0], *weights.values())
        return [query.judged(y) for query, y in zip(queries, outputs.unbind(), strict=True)]
