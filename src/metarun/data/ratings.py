"""Tasks of a user each: ratings of items that are described by categories."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from metarun.tasks.ranking import RATINGS
from metarun.tasks.task import Examples, Spec, Task


class Rated(NamedTuple):
    """One task: a user and ratings, those of the support first.

    Attributes:
        user: (user fields) the category of the user in each field.
        items: (n) different item numbers.
        stars: (n) the ratings.
    """

    user: np.ndarray
    items: np.ndarray
    stars: np.ndarray


class Items(NamedTuple):
    """The items that can be rated.

    Attributes:
        fields: name → (items, categories), whether the item is of each category.
        means: (items) mean rating by the training users, for the baseline `item_mean`.
    """

    fields: Mapping[str, np.ndarray]
    means: np.ndarray


@dataclass(frozen=True)
class RatingTasks:
    """Base class of `TaskSource`s of users. A subclass defines `choose` and `sha256`.

    The inputs of a task are a mapping. Each field of the item and of the user is a row of weights
    of its categories, (rows, categories), with sum 1; so their product with a matrix is the mean
    embedding of the categories. `item_mean` (rows) is the mean rating of the item.

    Attributes:
        items: the items.
        user_fields: name → number of categories.
        queries: ratings of a query; all others of the user are the support.
        device, dtype: device and type of the inputs.
    """

    items: Items
    user_fields: Mapping[str, int]
    queries: int
    device: torch.device | str = field(default="cpu", kw_only=True)
    dtype: torch.dtype = field(default=torch.float32, kw_only=True)
    facts = None

    @property
    @abstractmethod
    def sha256(self) -> str:
        """Hash that identifies the tasks."""

    @abstractmethod
    def choose(self, rng: np.random.Generator) -> Rated:
        """Draw a user and the order of the ratings."""

    @property
    def sizes(self) -> tuple[int]:
        return (self.queries,)

    @cached_property
    def spec(self) -> Spec:
        shapes = {name: rows.shape[1:] for name, rows in self.items.fields.items()}
        shapes |= {name: (size,) for name, size in self.user_fields.items()}
        return Spec({**shapes, "item_mean": ()}, 1, RATINGS)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Self:
        return replace(self, device=device, dtype=dtype)

    def build(self, choices: Rated, number: int) -> Task:
        support, query = slice(None, -self.queries), slice(-self.queries, None)
        return Task(self._examples(choices, support), self._examples(choices, query), number)

    def _examples(self, choices: Rated, rows: slice) -> Examples:
        items = choices.items[rows]
        x = {name: self._tensor(of_all[items]) for name, of_all in self.items.fields.items()}
        x = {name: weights / weights.sum(1, keepdim=True) for name, weights in x.items()}
        for (name, size), value in zip(self.user_fields.items(), choices.user, strict=True):
            one_hot = F.one_hot(torch.tensor(int(value)), size).to(self.device, self.dtype)
            x[name] = one_hot.expand(len(items), size)
        x["item_mean"] = self._tensor(self.items.means[items])
        return Examples(x, self._tensor(choices.stars[rows]).unsqueeze(1), RATINGS)

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device, self.dtype)
