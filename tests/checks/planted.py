"""Valid splits, samplers and learners, with options to introduce defects."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from metarun.algorithms import Learner
from metarun.data.classes import Images, Split, select
from metarun.tasks.gathered import source_of
from metarun.tasks.sampler import Sampler
from metarun.tasks.task import Examples, Judged, Model, Task
from metarun.testing import build


def images(classes: int = 12, each: int = 10, seed: int = 0) -> Images:
    """Each class: noisy copies of one picture."""
    rng = np.random.default_rng(seed)
    pictures = rng.uniform(0, 255, (classes, 1, 1, 28, 28))
    items = (pictures + rng.normal(0, 60, (classes, each, 1, 28, 28))).clip(0, 255)
    names = [f"c{i:02d}" for i in range(classes)]
    return Images.of(items.astype(np.uint8).reshape(-1, 1, 28, 28), names, [each] * classes)


def split(source: Images | None = None, names: Any = None) -> Split:
    source = source or images()
    return select(source, names or source.names)


class Doctored:
    """A split whose picks are passed through `change`."""

    def __init__(self, tasks: Split, change: Any) -> None:
        self.tasks, self.change = tasks, change

    def __getattr__(self, key: str) -> Any:
        return getattr(self.tasks, key)

    def pick(self, *args: Any) -> Any:
        return self.change(self.tasks.pick(*args))


def sampler(
    tasks: Any = None, ways: int = 3, shots: int = 2, queries: int = 3, **kwargs: Any
) -> Sampler:
    return Sampler.frozen(source_of(tasks or split(), (ways, shots, queries), **kwargs), "test", 0)


def in_double(tasks: Any = None) -> Sampler:
    return sampler(tasks, dtype=torch.float64)


class Faulty(Learner):
    """A prototypical network with a defect in its outer loss or in its model."""

    def __init__(self, fault: str, batch_norm: str = "inductive") -> None:
        super().__init__()
        self.inner, self.fault = build("protonet", batch_norm), fault
        self.register_buffer("seen", torch.zeros(()), persistent=False)
        self.calls = 0

    @property
    def batch_norm(self) -> str:
        return self.inner.batch_norm

    @batch_norm.setter
    def batch_norm(self, kind: str) -> None:
        self.inner.batch_norm = kind

    def outer_loss(self, task: Task) -> Judged:
        loss, scores = self.inner.outer_loss(task)
        first, value = next(self.inner.parameters()), loss.detach()
        if self.fault == "forgets a tensor":
            (slope,) = torch.autograd.grad(loss, first, retain_graph=True)
            loss = loss - (slope.detach() * (first - first.detach())).sum()
        elif self.fault == "is a little off":
            loss = value + 1.02 * (loss - value)
        elif self.fault == "has no gradient":
            loss = value + 0 * first.sum()
        elif self.fault == "overflows":
            loss = loss + torch.inf * (first - first.detach()).sum()
        return Judged(loss, scores)

    def adapt(self, support: Examples) -> Model:
        self.calls += 1
        if self.fault == "leaks into a buffer":
            self.seen += 1
        if self.fault == "follows the batches":
            self.inner.backbone.train()
            with torch.no_grad():
                self.inner.backbone(support.x)
            self.inner.backbone.eval()
        if self.fault == "trains in evaluation":
            next(self.inner.parameters()).data += 1e-3
        if self.fault == "leaves a gradient":
            next(self.inner.parameters()).grad = torch.ones_like(next(self.inner.parameters()))
        model, factor = self.inner.adapt(support), 1.0
        if self.fault == "remembers beside its buffers":
            factor = 1 + 1e-3 * self.calls

        def outputs(x: Tensor) -> Tensor:
            predictions = factor * model(x)
            if self.fault == "looks at other queries":
                predictions = predictions - 0.1 * predictions.mean(0)
            if self.fault == "prefers a label":
                predictions = predictions + torch.tensor([1e6, 0, 0]).to(predictions)
            return predictions

        return outputs
