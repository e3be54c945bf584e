"""A custom data set whose tasks have different sizes: the ratings of one user each."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from metarun import Examples, Headline, Objective, Spec, Task

ITEMS, GENRES = 80, 6


def absolute_error(outputs: Tensor, y: Tensor) -> dict[str, Tensor]:
    return {"mae": F.l1_loss(outputs, y)}


STARS = Objective("ratings", Headline("mae", False), F.l1_loss, absolute_error)


@dataclass(frozen=True)
class Raters:
    """A `TaskSource`: the support is half of the ratings of a user, the query the other half.

    Attributes:
        ratings: item numbers and stars of each user.
        genres: (ITEMS) genre of each item.
    """

    ratings: tuple[tuple[np.ndarray, np.ndarray], ...]
    genres: np.ndarray
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32
    sizes = ()
    facts = None
    spec = Spec({"item": (), "genre": ()}, 1, STARS)

    @property
    def sha256(self) -> str:
        arrays = (array for user in self.ratings for array in user)
        return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Raters":
        return replace(self, device=device, dtype=dtype)

    def choose(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        user = rng.integers(len(self.ratings))
        return np.asarray(user), rng.permutation(len(self.ratings[user][0]))

    def build(self, choices: tuple[np.ndarray, np.ndarray], number: int) -> Task:
        user, order = choices
        items, stars = (array[order] for array in self.ratings[int(user)])
        half = len(items) // 2
        support = self._examples(items[:half], stars[:half])
        return Task(support, self._examples(items[half:], stars[half:]), number)

    def _examples(self, items: np.ndarray, stars: np.ndarray) -> Examples:
        x = {"item": torch.from_numpy(items), "genre": torch.from_numpy(self.genres[items])}
        y = torch.from_numpy(stars).to(self.device, self.dtype).unsqueeze(1)
        return Examples({name: tensor.to(self.device) for name, tensor in x.items()}, y, STARS)


class Users:
    """Simulated users with random preferences.

    Args:
        users: number of users in each split.
    """

    def __init__(self, *, users: PositiveInt = 60) -> None:
        self.users = users

    def facts(self) -> dict[str, None]:
        return dict.fromkeys(("train", "val", "test"))

    def load(self) -> dict[str, Raters]:
        rng = np.random.default_rng(0)
        vectors, genres = rng.normal(size=(ITEMS, 4)), rng.integers(GENRES, size=ITEMS)

        def user() -> tuple[np.ndarray, np.ndarray]:
            count = min(int(np.exp(rng.uniform(np.log(3), np.log(201)))), ITEMS)
            items, preferences = rng.choice(ITEMS, count, replace=False), rng.normal(size=4)
            return items, np.clip(3 + vectors[items] @ preferences / 2, 1, 5)

        return {
            split: Raters(tuple(user() for _ in range(self.users)), genres)
            for split in ("train", "val", "test")
        }


class Ratings(nn.Module):
    """A backbone with a mapping as input: item and genre numbers → (B, features)."""

    def __init__(self, inputs: Mapping[str, tuple[int, ...]], *, features: PositiveInt = 8) -> None:
        super().__init__()
        self.items, self.genres = nn.Embedding(ITEMS, features), nn.Embedding(GENRES, features)
        self.features = features

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        return torch.tanh(self.items(x["item"]) + self.genres(x["genre"]))
