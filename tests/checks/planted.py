"""Splits, samplers and learners that are sound, for the tests to plant defects in."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from metarun.data.classes import Images, Split, select
from metarun.tasks.sampler import Sampler
from metarun.testing import build


def images(classes: int = 12, each: int = 10, seed: int = 0) -> Images:
    """Noisy copies of a picture for each class."""
    rng = np.random.default_rng(seed)
    pictures = rng.uniform(0, 255, (classes, 1, 1, 28, 28))
    items = (pictures + rng.normal(0, 60, (classes, each, 1, 28, 28))).clip(0, 255)
    names = [f"c{i:02d}" for i in range(classes)]
    return Images.of(items.astype(np.uint8).reshape(-1, 1, 28, 28), names, [each] * classes)


def split(known: Images | None = None, names: Any = None) -> Split:
    known = known or images()
    return select(known, names or known.names)


class Doctored:
    """A split whose episodes go through `change` before they are drawn from."""

    def __init__(self, tasks: Split, change: Any) -> None:
        self.tasks, self.change = tasks, change

    def __getattr__(self, key: str) -> Any:
        return getattr(self.tasks, key)

    def pick(self, *args: Any) -> Any:
        return self.change(self.tasks.pick(*args))


def sampler(
    tasks: Any = None, ways: int = 3, shots: int = 2, queries: int = 3, **kwargs: Any
) -> Sampler:
    return Sampler.frozen(
        tasks or split(), ways, shots, queries, split="test", eval_seed=0, **kwargs
    )


def in_double(tasks: Any = None) -> Sampler:
    return sampler(tasks, dtype=torch.float64)


class Faulty(nn.Module):
    """A sound prototypical network, with a defect planted in one of its two verbs."""

    per_label_head = False
    minimises: str | None = "loss"

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

    def accumulate(self, e: Any) -> dict[str, Tensor]:
        scores = self.inner.accumulate(e)
        for k, p in enumerate(self.inner.parameters()):
            if self.fault == "sums over tasks":
                p.grad *= len(e)
            elif self.fault == "forgets a tensor" and k == 0:
                p.grad = None
            elif self.fault == "is a little off":
                p.grad += 0.02 * p.grad.abs()
            elif self.fault == "has no gradient":
                p.grad = None
            elif self.fault == "overflows":
                p.grad *= torch.inf
        return scores

    def predict(self, sx: Tensor, sy: Tensor, qx: Tensor) -> Tensor:
        self.calls += 1
        if self.fault == "leaks into a buffer":
            self.seen += 1
        if self.fault == "follows the batches":
            self.inner.backbone.train()
            with torch.no_grad():
                self.inner.backbone(sx.flatten(0, 1))
        if self.fault == "trains in evaluation":
            next(self.inner.parameters()).data += 1e-3
        if self.fault == "leaves a gradient":
            next(self.inner.parameters()).grad = torch.ones_like(next(self.inner.parameters()))
        outputs = self.inner.predict(sx, sy, qx)
        if self.fault == "remembers beside its buffers":
            outputs = outputs * (1 + 1e-3 * self.calls)
        if self.fault == "looks at other queries":
            outputs = outputs - 0.1 * outputs.mean(1, keepdim=True)
        if self.fault == "prefers a label":
            outputs = outputs + torch.tensor([1e6, 0, 0]).to(outputs)
        return outputs
