"""Custom classification tasks with varying numbers of classes and of items per class."""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from metarun import Examples, Headline, Objective, Spec, Task

MAX_WAYS = 4


def smoothed(outputs: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(outputs, y, label_smoothing=0.1)


def accuracy(outputs: Tensor, y: Tensor) -> dict[str, Tensor]:
    return {"accuracy": (outputs.argmax(-1) == y).to(outputs.dtype).mean()}


SMOOTHED = Objective(
    "smoothed classification", Headline("accuracy", True, percent=True), smoothed, accuracy, True
)


@dataclass(frozen=True)
class Stripes:
    """A `TaskSource`: each class has its own direction and width of stripes."""

    split: str
    dtype: torch.dtype = torch.float32
    sizes = ()
    facts = None
    spec = Spec((1, 28, 28), MAX_WAYS, SMOOTHED)

    @property
    def sha256(self) -> str:
        return f"stripes {self.split}"

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Stripes":
        return replace(self, dtype=dtype)

    def choose(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        ways = int(rng.integers(2, MAX_WAYS + 1))
        return (
            rng.integers(1, 6, (2, ways)),
            rng.uniform(0, 3, (ways, 2)),
            rng.integers(2**31, size=1),
        )

    def build(self, choices: tuple[np.ndarray, ...], number: int) -> Task:
        (support_counts, query_counts), stripes, (seed,) = choices
        rng = np.random.default_rng(int(seed))
        support = self._examples(support_counts, stripes, rng)
        return Task(support, self._examples(query_counts, stripes, rng), number)

    def _examples(
        self, counts: np.ndarray, stripes: np.ndarray, rng: np.random.Generator
    ) -> Examples:
        y = np.repeat(np.arange(len(counts)), counts)
        across, down = np.mgrid[:28, :28] / 4
        waves = [np.sin(across * a + down * b + rng.uniform(0, 6)) for a, b in stripes[y]]
        x = torch.from_numpy(np.stack(waves)[:, None] / 2 + 0.5).to(self.dtype)
        return Examples(x, torch.from_numpy(y), SMOOTHED, len(counts))


class Ragged:
    """Stripes with new random classes in each task."""

    def facts(self) -> dict[str, None]:
        return dict.fromkeys(("train", "val", "test"))

    def load(self) -> dict[str, Stripes]:
        return {split: Stripes(split) for split in ("train", "val", "test")}
