"""MovieLens: ratings of movies; each user is a task."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from metarun.config.schema import Place
from metarun.data.class_splits import SPLITS
from metarun.data.classes import Facts
from metarun.data.preparation.movielens_files import HOME, VERSIONS, Movies, read
from metarun.data.ratings import Items, Rated, RatingTasks
from metarun.errors import Refused

log = logging.getLogger(__name__)

SUPPORT = 3  # the smallest support
PARTS = {"test": 0.2, "val": 0.1}  # of the users; the others are for training
NEW_FROM = {"100k": 1996, "1m": 1998, "latest-small": 2010}  # first year of the new items
Age = Literal["old", "new"]


@dataclass(frozen=True)
class Raters(RatingTasks):
    """The users of a split.

    Attributes:
        users: (users, fields) category of each user in each field.
        rated: item numbers and ratings of each user.
    """

    users: np.ndarray
    rated: Sequence[tuple[np.ndarray, np.ndarray]]

    @cached_property
    def sha256(self) -> str:
        digest = hashlib.sha256(f"{self.user_fields} {list(self.items.fields)}".encode())
        pairs = [array for pair in self.rated for array in pair]
        for array in (self.users, self.items.means, *self.items.fields.values(), *pairs):
            digest.update(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    @property
    def counts(self) -> np.ndarray:
        """The number of ratings of each user."""
        return np.array([len(items) for items, _ in self.rated])

    def choose(self, rng: np.random.Generator) -> Rated:
        user = rng.integers(len(self.rated))
        items, stars = self.rated[user]
        order = rng.permutation(len(items))
        return Rated(self.users[user], items[order], stars[order])


class MovieLens:
    """Users with some ratings (the support), and 10 others as the query (Lee et al. 2019, MeLU).

    The users are divided at random into 70 % of training, 10 % of validation and 20 % of test (new
    users). The training and the validation have old items only. As in the paper, a task has the 13
    to 100 ratings of a user in the partition, and its query is a random part of them. Differences:
    the paper trains on 80 % of the users without validation, and its items also have the director,
    the actors and the age rating of IMDb, which MovieLens does not contain. Here, an item is its
    genres and its decade, so figures cannot be compared with the published ones.

    Args:
        root: folder of the files of MovieLens, or of the unpacked folder `ml-VERSION`.
        version: which files they are.
        users: users of the test: `new`, or `old`, those of the training.
        items: items of the test: `old`, or `new`, which no training task contains. Old users and
            old items together are the training tasks themselves.
        new_from: first year of release of the new items; `null`: 1998, as published, for `1m`, 1996
            for `100k`, 2010 for `latest-small`. Items without a year are old.
        fewest, most: numbers of ratings of a user in a partition; other users are left out.
        queries: ratings of a query.
        split_seed: seed of the division of the users.
    """

    def __init__(
        self,
        *,
        root: Place,
        version: Literal["100k", "1m", "latest-small"] = "1m",
        users: Age = "new",
        items: Age = "old",
        new_from: Annotated[int, Field(ge=1900)] | None = None,
        fewest: PositiveInt = 13,
        most: PositiveInt = 100,
        queries: PositiveInt = 10,
        split_seed: NonNegativeInt = 0,
    ) -> None:
        self.root, self.version = Path(root).expanduser(), version
        self.test = users, items
        self.new_from = new_from or NEW_FROM[version]
        self.fewest, self.most, self.queries = fewest, most, queries
        self.split_seed = split_seed

    def facts(self) -> dict[str, Facts | None]:
        """`None` for each split, as there are no classes.

        Raises:
            Refused: the sizes of tasks contradict each other.
        """
        if self.fewest < self.queries + SUPPORT:
            raise Refused(
                f"data.fewest={self.fewest}: a task has {self.queries} queries and {SUPPORT} "
                f"support ratings or more; should be at least {self.queries + SUPPORT}"
            )
        if self.most < self.fewest:
            raise Refused(f"data.most={self.most}: should be at least data.fewest={self.fewest}")
        return dict.fromkeys(SPLITS)

    def load(self) -> dict[str, Raters]:
        """The splits `train`, `val` and `test`."""
        movies = read(self.root, self.version)
        self._warn_of(movies)
        numbers = {item: i for i, item in enumerate(movies.items)}
        years = np.array([year or 0 for year, _ in movies.items.values()])
        is_new = years >= self.new_from
        of_user: dict[str, list[tuple[int, float]]] = {user: [] for user in movies.users}
        for user, item, stars in movies.ratings:
            of_user[user].append((numbers[item], stars))

        names = np.random.default_rng(self.split_seed).permutation(np.array(sorted(movies.users)))
        ends = np.cumsum([round(len(names) * part) for part in PARTS.values()])
        test, val, train = np.split(names, ends)
        fields = dict(_fields(movies.users.values()))
        category = {name: {v: i for i, v in enumerate(values)} for name, values in fields.items()}
        decades = [f"{year // 10}0s" if year else "unknown" for year in years]
        of_item = {
            "genre": _indicators([genres for _, genres in movies.items.values()]),
            "decade": _indicators([[decade] for decade in decades]),
        }
        sizes = {name: len(values) for name, values in fields.items()}

        def raters(split: str, users: np.ndarray, new: bool, means: np.ndarray) -> Raters:
            chosen, rated = [], []
            for user in users:
                pairs = [pair for pair in of_user[user] if is_new[pair[0]] == new]
                if self.fewest <= len(pairs) <= self.most:
                    items, stars = zip(*pairs, strict=True)
                    rated.append((np.array(items), np.array(stars)))
                    chosen.append([category[f][v] for f, v in movies.users[user].items()])
            if not rated:
                raise Refused(
                    f"data.root={self.root}: none of {len(users)} {split} users has "
                    f"{self.fewest} to {self.most} ratings of {'new' if new else 'old'} items; "
                    "lower data.fewest and data.queries, or use the whole data set"
                )
            items = Items(of_item, means)
            return Raters(items, sizes, self.queries, np.array(chosen), rated)

        means = _means(raters("train", train, False, np.zeros(len(numbers))))
        of_test = {"new": test, "old": train}[self.test[0]]
        return {
            "train": raters("train", train, False, means),
            "val": raters("val", val, False, means),
            "test": raters("test", of_test, self.test[1] == "new", means),
        }

    def _warn_of(self, movies: Movies) -> None:
        found, official = (len(movies.ratings), len(movies.users)), VERSIONS[self.version].counts
        if found != official:
            log.warning(
                "data.root=%s: {:,} ratings of {:,} users, not the {:,} of {:,} of MovieLens "
                "{}; get the official files from %s".format(*found, *official, self.version),
                *(self.root, HOME),
            )


def _fields(users: Iterable[dict[str, str]]) -> list[tuple[str, list[str]]]:
    """The name and the sorted categories of each field."""
    rows = list(users)
    return [(name, sorted({row[name] for row in rows})) for name in rows[0]] if rows else []


def _indicators(categories: Sequence[Sequence[str]]) -> np.ndarray:
    """(items, all categories) whether an item is of a category."""
    everything = sorted({name for names in categories for name in names})
    return np.array([[name in names for name in everything] for names in categories])


def _means(train: Raters) -> np.ndarray:
    """The mean rating of each item; the mean of all ratings where there is none."""
    items, stars = (np.concatenate(arrays) for arrays in zip(*train.rated, strict=True))
    size = len(train.items.means)
    counts, sums = np.bincount(items, minlength=size), np.bincount(items, stars, size)
    return np.where(counts > 0, sums / np.maximum(counts, 1), stars.mean())
