"""Invented users and items whose ratings follow a known law."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from pydantic import PositiveFloat

from metarun.data.class_splits import SPLITS
from metarun.data.classes import Facts
from metarun.data.ratings import Items, Rated, RatingTasks

ITEMS, GENRES, FACTORS = 300, 12, 4
USER_FIELDS = {"gender": 2, "age": 7, "occupation": 21}
SUPPORT, QUERIES = (3, 90), 10  # ratings of a user: as many as in MeLU's tasks
MEAN, TASTE = 3.5, 0.45  # of all ratings; deviation of a user's factor from the user's groups
GROUP, QUALITY = 0.25, 0.3  # deviation of the mean factor of a group; of the quality of a genre


class Law(NamedTuple):
    """The law of the ratings: rating = `factors`[item] · (1, preferences) + Gaussian noise.

    The preferences of a user are Gaussian with deviation `TASTE` around the sum of the means of the
    user's groups. The first factor of an item is its quality, in which all users agree; the
    preference for the second, which is 1, makes some users give more stars than others.

    Attributes:
        genres: (ITEMS, GENRES) whether an item is of a genre; each is of one to three.
        factors: (ITEMS, 2 + FACTORS) mean of the factors of the item's genres.
        groups: field of the users → (categories, 1 + FACTORS) mean preferences of each group.
    """

    genres: np.ndarray
    factors: np.ndarray
    groups: Mapping[str, np.ndarray]

    def expected(self, user: np.ndarray) -> np.ndarray:
        """The mean preferences of users of these groups."""
        return sum(rows[i] for rows, i in zip(self.groups.values(), user, strict=True))


@cache
def law() -> Law:
    """The law, the same in every run."""
    rng = np.random.default_rng(19)
    genres = np.stack(
        [np.isin(np.arange(GENRES), rng.choice(GENRES, rng.integers(1, 4))) for _ in range(ITEMS)]
    )
    of_genre = rng.normal(0, 1, (GENRES, 2 + FACTORS)) * ([QUALITY, 0] + [1] * FACTORS)
    factors = genres @ of_genre / genres.sum(1, keepdims=True)
    factors[:, 0] += MEAN
    factors[:, 1] = 1
    groups = {k: rng.normal(0, GROUP, (n, 1 + FACTORS)) for k, n in USER_FIELDS.items()}
    return Law(genres, factors, groups)


@dataclass(frozen=True)
class RatingsWorld(RatingTasks):
    """Users drawn from the law; the splits have the same distribution.

    Attributes:
        noise: deviation of the noise of a rating.
    """

    noise: float

    @property
    def sha256(self) -> str:
        arrays = (law().genres, law().factors, *law().groups.values())
        head = f"ratings_world 1 {SUPPORT} {TASTE} {self.noise}".encode()
        return hashlib.sha256(head + b"".join(a.tobytes() for a in arrays)).hexdigest()

    def choose(self, rng: np.random.Generator) -> Rated:
        user = np.array([rng.integers(n) for n in USER_FIELDS.values()])
        low, high = np.log(SUPPORT[0]), np.log(SUPPORT[1] + 1)
        count = int(np.exp(rng.uniform(low, high))) + self.queries
        items = rng.choice(ITEMS, count, replace=False)
        preferences = rng.normal(law().expected(user), TASTE)
        stars = law().factors[items] @ [1, *preferences] + rng.normal(0, self.noise, count)
        return Rated(user, items, stars)

    def best(self, choices: Rated) -> tuple[np.ndarray, np.ndarray]:
        """Return the best possible predictions of the queries and their deviations, (queries).

        The posterior of the preferences, given the support, is Gaussian: Bayesian linear regression
        (Bishop 2006, equations 3.49–3.51 and 3.59). No prediction has a smaller expected squared or
        absolute error than its mean.
        """
        v, stars = law().factors[choices.items], choices.stars - law().factors[choices.items, 0]
        v, n, prior = v[:, 1:], -self.queries, law().expected(choices.user)
        precision = np.eye(1 + FACTORS) / TASTE**2 + v[:n].T @ v[:n] / self.noise**2
        covariance = np.linalg.inv(precision)
        mean = covariance @ (prior / TASTE**2 + v[:n].T @ stars[:n] / self.noise**2)
        variance = self.noise**2 + np.einsum("ij,jk,ik->i", v[n:], covariance, v[n:])
        return law().factors[choices.items[n:], 0] + v[n:] @ mean, np.sqrt(variance)

    def best_possible(self, choices: Rated) -> dict[str, float]:
        """Return the least expected score of each name on a task, over the noise of its queries."""
        _, deviation = self.best(choices)
        return {
            "mae": float(deviation.mean() * np.sqrt(2 / np.pi)),
            "loss": float(np.square(deviation).mean()),
        }


class Ratings:
    """Invented users with 3 to 90 ratings, and 10 more as the query, of 300 invented items.

    Preferences depend on gender, age, occupation and a taste of the user's own, and ratings on the
    genres of an item. Ratings are real numbers around 3.5 and not rounded, so that the best
    possible error has a closed form.

    Args:
        noise: deviation of the noise of a rating.
    """

    def __init__(self, *, noise: PositiveFloat = 0.5) -> None:
        self.noise = noise

    def facts(self) -> dict[str, Facts | None]:
        """`None` for each split, as there are no classes."""
        return dict.fromkeys(SPLITS)

    def load(self) -> dict[str, RatingsWorld]:
        """The splits `train`, `val` and `test`."""
        means = np.mean([rows.mean(0) for rows in law().groups.values()], 0) * len(law().groups)
        items = Items({"genre": law().genres}, law().factors @ [1, *means])
        return dict.fromkeys(SPLITS, RatingsWorld(items, USER_FIELDS, QUERIES, self.noise))
