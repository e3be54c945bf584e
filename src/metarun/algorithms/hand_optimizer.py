"""Hand-made optimizers, baselines of learned ones, with a rate tuned on training functions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import PositiveFloat
from torch import nn

from metarun.algorithms.function_optimizer import FunctionOptimizer, Step
from metarun.algorithms.update_rules import RULES
from metarun.tasks.optimizee import Optimizee, diverged
from metarun.tasks.task import Spec, Task

RATES = [10 ** (k / 4) for k in range(-16, 9)]  # 1e-4 to 100


class HandOptimizer(FunctionOptimizer):
    """Minimises by gradient descent, momentum, Adam or L-BFGS. Nothing is trained.

    Each is that of `torch.optim` with its defaults, for many functions side by side; `momentum` is
    `SGD(momentum=0.9)`, `l_bfgs` has no line search. The rate is the one of `RATES` with the best
    mean score on 200 training functions, among those with which none diverges.

    Args:
        backbone: not used.
        spec: names the score.
        method: the optimizer.
        lr: its rate; by default it is tuned.
    """

    learns = False

    def __init__(
        self,
        backbone: nn.Module,
        spec: Spec,
        *,
        method: Literal["sgd", "momentum", "adam", "l_bfgs"] = "adam",
        lr: PositiveFloat | None = None,
    ) -> None:
        super().__init__()
        self.method, self.tuned = method, lr is None
        self.last = spec.objective.headline.score == "final_loss"
        self.register_buffer("rate", torch.tensor(lr or RATES[0], dtype=torch.float64))

    def begin(self, functions: Optimizee) -> Step:
        rule = RULES[self.method](functions.start, float(self.rate))
        return lambda value, gradient: rule(gradient)

    def see_training_tasks(self, tasks: Iterable[Task]) -> None:
        """Tune the rate."""
        if not self.tuned:
            return
        functions = Optimizee.stack([task.support for task in tasks])
        scores = {}
        for rate in RATES:
            self.rate.fill_(rate)
            values = functions.along(self.path(functions))
            score = float(values[:, -1].mean() if self.last else values[:, 1:].mean())
            if not diverged(values).any():
                scores[rate] = score
        self.rate.fill_(min(scores, key=scores.__getitem__, default=RATES[0]))
