"""MovieLens, on small invented files in the official formats."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metarun.data.movielens import MovieLens, Raters
from metarun.data.preparation.movielens_files import FLAGS, VERSIONS, read
from metarun.errors import Refused
from metarun.tasks.gathered import source_of
from metarun.tasks.sampler import Sampler

Metarun = Callable[..., tuple[int, str, list[str]]]
USERS, ITEMS = 30, 60
GENRES = [("Action", "Sci-Fi"), ("Comedy",), ("Drama", "Romance", "War")]
YEARS = [1985, 1999, 1993, 1976, 2014]
RNG = np.random.default_rng(0)
RATINGS = [  # user, item, stars; users have 20 to 49 ratings
    (int(user), int(item) + 1, int(RNG.integers(1, 6)))
    for user in range(1, USERS + 1)
    for item in RNG.choice(ITEMS, RNG.integers(20, 50), replace=False)
]


def write(root: Path, version: str) -> Path:
    """Write the invented ratings as a version of MovieLens."""
    root.mkdir()
    names, encoding = VERSIONS[version].files, "utf-8" if version == "latest-small" else "latin-1"
    ratings, items, users = [], [], []
    separator = {"100k": "\t", "1m": "::", "latest-small": ","}[version]
    for user, item, stars in RATINGS:
        ratings.append(separator.join(map(str, (user, item, stars, 978300760))))
    for item in range(1, ITEMS + 1):
        genres, year = GENRES[item % 3], YEARS[item % 5]
        if version == "100k":
            flags = "|".join(str(int(name in genres)) for name in FLAGS.split())
            items.append(f"{item}|Amélie, {item} ({year})|01-Feb-{year}||http://x|{flags}")
        elif version == "1m":
            items.append(f"{item}::Amélie, {item} ({year})::{'|'.join(genres)}")
        else:
            items.append(f'{item},"Amélie, {item} ({year})",{"|".join(genres)}')
    for user in range(1, USERS + 1):
        gender, occupation = "MF"[user % 2], user % 4
        if version == "100k":
            users.append(f"{user}|{19 + user}|{gender}|{occupation}|{90000 + user}")
        else:
            age = max(low for low in (1, 18, 25, 35, 45, 50, 56) if low <= 19 + user)
            users.append(f"{user}::{gender}::{age}::{occupation}::{90000 + user}")
    if version == "latest-small":
        ratings.insert(0, "userId,movieId,rating,timestamp")
        items.insert(0, "movieId,title,genres")
    for name, lines in zip(names, (ratings, items, users), strict=False):
        (root / name).write_bytes("\n".join([*lines, ""]).encode(encoding))
    return root


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "files", "1m")


def made(root: Path, version: str = "1m", **keys: Any) -> dict[str, Raters]:
    return MovieLens(root=str(root), version=version, **keys).load()


def test_every_format_has_the_same_content(tmp_path: Path, version: str) -> None:
    found = read(write(tmp_path / "files", version), version)
    assert found.ratings == [(str(user), str(item), float(n)) for user, item, n in RATINGS]
    assert found.items["4"] == (2014, ["Comedy"])
    assert found.items["5"] == (1985, ["Drama", "Romance", "War"])
    if version != "latest-small":
        expected = {"gender": "M", "age": "25", "occupation": "2", "zip": "90006"}
        assert found.users["6"] == expected


def test_the_unpacked_folder_is_found(tmp_path: Path) -> None:
    write(tmp_path / "ml-100k", "100k")
    assert len(read(tmp_path, "100k").users) == USERS


@pytest.mark.parametrize("users", ["new", "old"])
@pytest.mark.parametrize("items", ["new", "old"])
def test_partitions_of_users_and_items(root: Path, users: str, items: str) -> None:
    splits = made(root, users=users, items=items, fewest=5, queries=2)
    zips = {name: set(map(tuple, split.users.tolist())) for name, split in splits.items()}
    assert not zips["train"] & zips["val"]
    assert (zips["test"] <= zips["train"]) == (users == "old")
    assert users == "old" or not zips["test"] & (zips["train"] | zips["val"])
    for name, split in splits.items():
        for numbers, _ in split.rated:
            years = {YEARS[(number + 1) % 5] for number in numbers.tolist()}
            assert years <= (
                {1999, 2014} if (name, items) == ("test", "new") else {1985, 1993, 1976}
            )
    if users == items == "old":
        assert splits["test"].sha256 == splits["train"].sha256


def test_users_have_70_10_and_20_percent_and_13_to_100_ratings(root: Path) -> None:
    sizes = {name: len(split.rated) for name, split in made(root, new_from=2030).items()}
    assert sizes == {"train": 21, "val": 3, "test": 6}
    for split in made(root, fewest=25, most=30, new_from=2030).values():
        assert 25 <= split.counts.min() <= split.counts.max() <= 30


def test_a_task_contains_the_ratings_of_one_user(root: Path) -> None:
    source = source_of(made(root, new_from=2030)["test"], (None, None, None), dtype=torch.float64)
    stars = {(str(item), str(90000 + user)): value for user, item, value in RATINGS}
    genres = sorted({name for names in GENRES for name in names})
    for number, task in enumerate(Sampler.frozen(source, "test", 0).tasks(range(5))):
        rated = Sampler.frozen(source, "test", 0).choose(number)
        code = sorted(str(90001 + i) for i in range(USERS))[int(rated.user[3])]
        expected = [stars[str(item + 1), code] for item in rated.items]
        assert torch.cat([task.support.y, task.query.y]).flatten().tolist() == expected
        assert (len(task.query), len(task.support)) == (10, len(expected) - 10)
        row, item = task.query.x["genre"][0], rated.items[-10] + 1
        names = GENRES[item % 3]
        assert {g for g, w in zip(genres, row.tolist(), strict=True) if w} == set(names)
        assert row.max() == 1 / len(names)


def test_the_mean_of_an_item_is_that_of_the_training_users(root: Path) -> None:
    splits = made(root, new_from=2030)
    train = splits["train"]
    item = int(train.rated[0][0][0])
    of_item = [float(s[list(i).index(item)]) for i, s in train.rated if item in i]
    assert splits["test"].items.means[item] == pytest.approx(np.mean(of_item))
    everything = np.concatenate([stars for _, stars in made(root)["train"].rated])
    new = [i for i in range(ITEMS) if YEARS[(i + 1) % 5] >= 1998]
    np.testing.assert_allclose(made(root)["test"].items.means[new], everything.mean())


def test_files_that_are_not_the_official_ones_give_a_warning(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        made(root)
    assert re.search(r"[\d,]+ ratings of 30 users, not the 1,000,209 of 6,040 of", caplog.text)


def edited(root: Path, name: str, old: str, new: str) -> None:
    content = (root / name).read_text("latin-1")
    assert old in content
    (root / name).write_text(content.replace(old, new, 1), "latin-1")


@pytest.mark.parametrize(
    ("version", "name", "old", "new", "message"),
    [
        ("1m", "ratings.dat", "::978300760", "", "ratings.dat: line 1: has 3 columns, not 4"),
        ("1m", "movies.dat", "::Comedy\n", "::\n", "movies.dat: item 1 has no genre; it needs one"),
        ("1m", "movies.dat", "1::Am", "77::Am", "item 1 is not in movies.dat, which is incomplete"),
        ("1m", "movies.dat", "2::Am", "1::Am", "movies.dat: line 2: number 1 a second time"),
        ("1m", "users.dat", "1::F", "99::F", "user 1 is not in users.dat, which is incomplete"),
        ("1m", "users.dat", "::18::", "::old::", "users.dat: line 1: malformed (invalid literal"),
        (
            "latest-small",
            "ratings.csv",
            "userId,movieId",
            "movieId,userId",
            "ratings.csv: line 1: movieId,userId,",
        ),
        (
            "latest-small",
            "ratings.csv",
            "userId,movieId,rating,timestamp\n",
            "",
            "ratings.csv: line 1: 1,",
        ),
        (
            "latest-small",
            "ratings.csv",
            "timestamp\n",
            'timestamp\nu,"i,r,t\n',
            "ratings.csv: line ",
        ),
        ("latest-small", "movies.csv", '"Am', '"A"m', "movies.csv: line 2: not CSV ("),
        ("100k", "u.item", "|1", "|2", "u.item: line 1: malformed (flag of a genre '2', "),
    ],
)
def test_a_malformed_file_is_refused(
    tmp_path: Path, version: str, name: str, old: str, new: str, message: str
) -> None:
    root = write(tmp_path / "files", version)
    edited(root, name, old, new)
    with pytest.raises(Refused, match=re.escape(message)):
        made(root, version)


@pytest.mark.parametrize("stars", ["0", "6", "3.5", "nan", "x"])
def test_a_rating_out_of_range_is_refused(root: Path, stars: str) -> None:
    user, item, value = RATINGS[0]
    edited(root, "ratings.dat", f"{user}::{item}::{value}::", f"{user}::{item}::{stars}::")
    with pytest.raises(Refused, match=r"line 1: (rating .*; ratings are 1, 2 … 5|malformed)"):
        made(root)


def test_a_repeated_rating_and_an_empty_file_are_refused(root: Path) -> None:
    content = (root / "ratings.dat").read_bytes()
    (root / "ratings.dat").write_bytes(content + content.splitlines(keepends=True)[0])
    with pytest.raises(Refused, match=r"user 1 rates item \d+ a second time; once is right"):
        made(root)
    (root / "users.dat").write_bytes(b"")
    with pytest.raises(Refused, match=r"users\.dat: the file is empty"):
        made(root)


def test_half_stars_and_items_without_a_listed_genre_belong_to_latest_small(tmp_path: Path) -> None:
    root = write(tmp_path / "files", "latest-small")
    user, item, value = RATINGS[0]
    edited(root, "ratings.csv", f"{user},{item},{value},", f"{user},{item},0.5,")
    edited(root, "movies.csv", ",Comedy\n", ",(no genres listed)\n")
    found = read(root, "latest-small")
    assert found.ratings[0] == ("1", str(item), 0.5)
    assert found.items["1"][1] == ["(no genres listed)"]
    assert "gender" not in made(root, "latest-small")["train"].spec.inputs


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"fewest": 12}, "data.fewest=12: a task has 10 queries and 3 support ratings or more"),
        ({"most": 12}, "data.most=12: should be at least data.fewest=13"),
    ],
)
def test_sizes_that_contradict_each_other_are_refused(
    root: Path, keys: dict[str, int], message: str
) -> None:
    with pytest.raises(Refused, match=message):
        MovieLens(root=str(root), **keys).facts()


def test_wrong_requests_are_one_line_and_write_nothing(root: Path, metarun: Metarun) -> None:
    words = ("data=movielens", "algo=user_mean", "out=run")
    for more, message in {
        (f"data.root={root}", "data.version=100k"): (
            f"data.root={root}: has no u.data and no u.item and no u.user; these are files of "
            "data.version=1m; unpack ml-100k.zip there, which https://grouplens.org"
        ),
        (f"data.root={root}/none",): f"data.root={root}/none: has no ratings.dat and no movies",
        (f"data.root={root}", "data.fewest=60", "data.new_from=2030"): (
            f"data.root={root}: none of 21 train users has 60 to 100 ratings of old items; lower"
        ),
    }.items():
        code, _, err = metarun(*words, *more)
        lines = [line for line in err if "not the 1,000,209" not in line]
        assert (code, len(lines)) == (2, 1)
        assert lines[0].startswith(f"metarun: {message}")
        assert not Path("run").exists()
