"""Episode i is a pure function of its stream and i; its classes and items are disjoint."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metarun.data.classes import Images, Split, select
from metarun.tasks.augmentation import ImageAugmentation
from metarun.tasks.sampler import Sampler


def split(classes: int, each: int, **kwargs: object) -> Split:
    """A split whose item number k is a picture with k in every pixel but one."""
    items = np.zeros((classes * each, 1, 4, 4), np.uint8)
    items[:] = np.arange(classes * each).reshape(-1, 1, 1, 1)
    items[:, 0, 0, 1] = 255  # an orientation mark
    names = [f"class{i:03d}" for i in range(classes)]
    return select(Images.of(items, names, [each] * classes), names, **kwargs)


tasks = st.integers(2, 8).flatmap(
    lambda ways: st.tuples(
        st.just(ways),
        st.integers(1, 4),
        st.integers(1, 4),
        st.integers(ways, 12),
        st.integers(0, 2**40),
        st.integers(0, 2**40),
    )
)


@given(tasks)
@settings(max_examples=60, deadline=None)
def test_support_and_query_share_no_item_and_each_label_is_one_class(task: tuple) -> None:
    ways, shots, queries, classes, seed, number = task
    sampler = Sampler.training(split(classes, 8), ways, shots, queries, seed=seed)
    pick = sampler.pick(number)
    assert len(set(pick.classes.tolist())) == ways
    assert len(set(pick.items.ravel().tolist())) == ways * (shots + queries)
    assert (pick.items // 8 == pick.classes[:, None]).all()

    episode = sampler.batch([number])
    assert episode.support_x.shape == (1, ways * shots, 1, 4, 4)
    assert episode.query_x.shape == (1, ways * queries, 1, 4, 4)
    for x, y, each in (
        (episode.support_x, episode.support_y, shots),
        (episode.query_x, episode.query_y, queries),
    ):
        assert Counter(y[0].tolist()) == {label: each for label in range(ways)}
        item = (x[0, :, 0, 3, 3] * 255).round().long()
        assert (item // 8 == torch.from_numpy(pick.classes)[y[0]]).all()


@given(st.integers(0, 2**63 - 1), st.lists(st.integers(0, 10**9), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_an_episode_depends_on_seed_and_number_alone(seed: int, numbers: list[int]) -> None:
    sampler = Sampler.training(split(10, 6), 5, 1, 3, seed=seed)
    together = sampler.batch(numbers)
    again = Sampler.training(split(10, 6), 5, 1, 3, seed=seed)
    for position, number in enumerate(numbers):
        alone = again.batch([number])
        for part in ("support_x", "support_y", "query_x", "query_y"):
            assert torch.equal(getattr(together, part)[position], getattr(alone, part)[0])


def test_streams_differ_by_seed_split_and_purpose() -> None:
    source = split(40, 20)
    streams = [
        Sampler.training(source, 5, 1, 1, seed=0),
        Sampler.training(source, 5, 1, 1, seed=1),
        Sampler.frozen(source, 5, 1, 1, split="val", eval_seed=0),
        Sampler.frozen(source, 5, 1, 1, split="test", eval_seed=0),
        Sampler.frozen(source, 5, 1, 1, split="test", eval_seed=1),
    ]
    assert len({s.sha256(20) for s in streams}) == len(streams)


def test_the_first_frozen_episodes_never_change() -> None:
    """A published figure rests on these: if this fails, results stop being comparable."""
    sampler = Sampler.frozen(split(40, 20), 5, 1, 15, split="test", eval_seed=0)
    drawn = hashlib.sha256(b"".join(sampler.pick(i).items.tobytes() for i in range(100)))
    assert drawn.hexdigest() == FROZEN


FROZEN = "81c23ca03a70b139de44ba7cdcbb0cc8443b423d3f289ca90cb764d1e38ae13c"


def test_the_hash_names_task_and_content() -> None:
    def digest(source: Split, shots: int = 1, episodes: int = 5) -> str:
        return Sampler.frozen(source, 5, shots, 2, split="test", eval_seed=0).sha256(episodes)

    same = digest(split(10, 6))
    assert same == digest(split(10, 6))
    assert same != digest(split(10, 6), shots=2)
    assert same != digest(split(10, 6), episodes=6)
    changed = split(10, 6)
    items = changed.items.copy()
    items[0, 0, 3, 3] ^= 1
    other = select(Images.of(items, changed.names, [6] * 10), changed.names)
    assert same != digest(other)


def test_labels_follow_no_class_order() -> None:
    """Trap: if a class keeps its label, a learner can memorise it."""
    sampler = Sampler.training(split(5, 4), 5, 1, 1, seed=0)
    labels = np.zeros((5, 5), int)
    for i in range(1000):
        labels[sampler.pick(i).classes, np.arange(5)] += 1
    assert labels.min() > 150  # 200 expected, standard deviation 13


def test_each_class_of_an_episode_turns_by_its_own_angle() -> None:
    """Trap: one rotation for the whole task. Support and query of a class turn alike."""
    sampler = Sampler.training(split(10, 6, spin=True), 5, 2, 2, seed=0)
    turns = np.stack([sampler.pick(i).turns for i in range(200)])
    assert (np.bincount(turns.ravel(), minlength=4) > 200).all()
    assert (turns != turns[:, :1]).any(axis=1).mean() > 0.9
    episode = sampler.batch(range(5))
    mark = {0: (0, 1), 1: (2, 0), 2: (3, 2), 3: (1, 3)}  # of (0, 1) after k counter-clockwise turns
    for t in range(5):
        for x, y in (
            (episode.support_x[t], episode.support_y[t]),
            (episode.query_x[t], episode.query_y[t]),
        ):
            for image, label in zip(x[:, 0], y, strict=True):
                assert image[mark[turns[t, label]]] == 1


def test_rotated_copies_are_classes_of_their_own() -> None:
    source = split(3, 6, turns=(0, 1, 2, 3))
    assert source.facts == (12, 6)
    sampler = Sampler.training(source, 12, 1, 1, seed=0)
    pick, episode = sampler.pick(0), sampler.batch([0])
    plain = split(3, 6).items
    for label, kind in enumerate(pick.classes):
        turned = np.rot90(plain[pick.items[label, 0], 0], kind % 4)
        assert np.array_equal((episode.support_x[0, label, 0] * 255).round().numpy(), turned)


def test_pictures_are_scaled_to_one_in_every_split() -> None:
    for sampler in (
        Sampler.training(split(5, 4), 5, 1, 1, seed=0),
        Sampler.frozen(split(5, 4), 5, 1, 1, split="test", eval_seed=0),
    ):
        assert sampler.batch([0]).support_x.max() == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_precision_is_that_of_the_sampler(dtype: torch.dtype) -> None:
    sampler = Sampler.training(split(5, 4), 5, 1, 1, seed=0, dtype=dtype)
    assert sampler.batch([0]).query_x.dtype == dtype
    assert sampler.batch([0]).query_y.dtype == torch.int64


def shaken(tasks: Split) -> ImageAugmentation:
    return ImageAugmentation(tasks.shape, crop=2, flip=True, jitter=0.5, rotation=0)


@given(tasks)
@settings(max_examples=20, deadline=None)
def test_augmentation_changes_pictures_and_nothing_else(task: tuple) -> None:
    ways, shots, queries, classes, seed, number = task
    source = split(classes, 8)
    plain = Sampler.training(source, ways, shots, queries, seed=seed)
    changing = Sampler.training(source, ways, shots, queries, seed=seed, augment=shaken(source))
    assert changing.sha256(3) == plain.sha256(3)
    a, b = plain.batch([number]), changing.batch([number])
    for part in ("support_y", "query_y", "classes"):
        assert torch.equal(getattr(a, part), getattr(b, part))
    assert not torch.equal(a.support_x, b.support_x) or not torch.equal(a.query_x, b.query_x)


@given(st.integers(0, 2**63 - 1), st.lists(st.integers(0, 10**9), min_size=1, max_size=5))
@settings(max_examples=20, deadline=None)
def test_what_augmentation_draws_depends_on_seed_and_number_alone(
    seed: int, numbers: list[int]
) -> None:
    source = split(10, 6)
    sampler = Sampler.training(source, 5, 1, 3, seed=seed, augment=shaken(source))
    together = sampler.batch(numbers)
    for position, number in enumerate(numbers):
        alone = sampler.batch([number])
        assert torch.equal(together.support_x[position], alone.support_x[0])
        assert torch.equal(together.query_x[position], alone.query_x[0])


def test_support_and_query_are_each_changed_by_draws_of_their_own() -> None:
    seen: list[np.ndarray] = []

    class Spy:
        def draw(self, rng: np.random.Generator, items: int) -> np.ndarray:
            return rng.random((items, 1))

        def __call__(self, x: torch.Tensor, drawn: np.ndarray) -> torch.Tensor:
            assert x.shape == (len(drawn), 1, 4, 4)
            seen.append(drawn)
            return torch.zeros_like(x)

    batch = Sampler.training(split(5, 6), 5, 1, 3, seed=0, augment=Spy()).batch([4, 5])
    assert [len(drawn) for drawn in seen] == [2 * 5, 2 * 15]
    assert len(set(np.concatenate(seen).ravel().tolist())) == 40
    assert not batch.support_x.any() and not batch.query_x.any()


def test_evaluation_episodes_cannot_be_augmented() -> None:
    source = split(5, 6)
    with pytest.raises(TypeError):
        Sampler.frozen(source, 5, 1, 1, split="val", eval_seed=0, augment=shaken(source))
