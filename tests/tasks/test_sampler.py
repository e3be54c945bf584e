"""Sampling: determinism of episodes, disjoint support and query, and augmentation."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metarun.data.classes import Facts, Images, Split, select
from metarun.tasks.augmentation import ImageAugmentation
from metarun.tasks.gathered import source_of
from metarun.tasks.sampler import Sampler
from metarun.tasks.task import Task


def split(classes: int, each: int, **kwargs: object) -> Split:
    """Return a split whose item k is an image with k in all pixels but one."""
    items = np.zeros((classes * each, 1, 4, 4), np.uint8)
    items[:] = np.arange(classes * each).reshape(-1, 1, 1, 1)
    items[:, 0, 0, 1] = 255  # marks the orientation
    names = [f"class{i:03d}" for i in range(classes)]
    return select(Images.of(items, names, [each] * classes), names, **kwargs)


def training(
    source: Split, *sizes: int, seed: int, dtype: torch.dtype = torch.float32, **kwargs: object
) -> Sampler:
    return Sampler.training(source_of(source, sizes, dtype=dtype), seed, **kwargs)


def frozen(source: Split, *sizes: int, split: str = "test", eval_seed: int = 0) -> Sampler:
    return Sampler.frozen(source_of(source, sizes), split, eval_seed)


sizes = st.integers(2, 8).flatmap(
    lambda ways: st.tuples(
        st.just(ways),
        st.integers(1, 4),
        st.integers(1, 4),
        st.integers(ways, 12),
        st.integers(0, 2**40),
        st.integers(0, 2**40),
    )
)


@given(sizes)
@settings(max_examples=60, deadline=None)
def test_support_and_query_are_disjoint_and_each_label_is_one_class(task: tuple) -> None:
    ways, shots, queries, classes, seed, number = task
    sampler = training(split(classes, 8), ways, shots, queries, seed=seed)
    pick = sampler.choose(number)
    assert len(set(pick.classes.tolist())) == ways
    assert len(set(pick.items.ravel().tolist())) == ways * (shots + queries)
    assert (pick.items // 8 == pick.classes[:, None]).all()

    (episode,) = sampler.tasks([number])
    assert episode.number == number
    assert episode.support.x.shape == (ways * shots, 1, 4, 4)
    assert episode.query.x.shape == (ways * queries, 1, 4, 4)
    for part, each in ((episode.support, shots), (episode.query, queries)):
        assert part.labels == ways
        assert Counter(part.y.tolist()) == {label: each for label in range(ways)}
        item = (part.x[:, 0, 3, 3] * 255).round().long()
        assert (item // 8 == episode.classes[part.y]).all()
    assert episode.classes.tolist() == pick.classes.tolist()


def same(first: Task, second: Task) -> bool:
    """Return whether the tasks are bitwise equal."""
    pairs = ((first.support, second.support), (first.query, second.query))
    return all(torch.equal(a.x, b.x) and torch.equal(a.y, b.y) for a, b in pairs)


@given(st.integers(0, 2**63 - 1), st.lists(st.integers(0, 10**9), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_an_episode_depends_only_on_seed_and_number(seed: int, numbers: list[int]) -> None:
    sampler = training(split(10, 6), 5, 1, 3, seed=seed)
    other = training(split(10, 6), 5, 1, 3, seed=seed)
    for task in sampler.tasks(numbers):
        assert same(task, *other.tasks([task.number]))


def test_streams_differ_by_seed_split_and_use() -> None:
    source = split(40, 20)
    streams = [
        training(source, 5, 1, 1, seed=0),
        training(source, 5, 1, 1, seed=1),
        frozen(source, 5, 1, 1, split="val", eval_seed=0),
        frozen(source, 5, 1, 1, split="test", eval_seed=0),
        frozen(source, 5, 1, 1, split="test", eval_seed=1),
    ]
    assert len({s.sha256(20) for s in streams}) == len(streams)


def test_the_first_frozen_episodes_never_change() -> None:
    """If this fails, new results are not comparable with published ones."""
    sampler = frozen(split(40, 20), 5, 1, 15, split="test", eval_seed=0)
    items = b"".join(sampler.choose(i).items.tobytes() for i in range(100))
    assert hashlib.sha256(items).hexdigest() == FROZEN


FROZEN = "81c23ca03a70b139de44ba7cdcbb0cc8443b423d3f289ca90cb764d1e38ae13c"


def test_the_hash_depends_on_sizes_number_of_episodes_and_data() -> None:
    def digest(source: Split, shots: int = 1, episodes: int = 5) -> str:
        return frozen(source, 5, shots, 2, split="test", eval_seed=0).sha256(episodes)

    reference = digest(split(10, 6))
    assert reference == digest(split(10, 6))
    assert reference != digest(split(10, 6), shots=2)
    assert reference != digest(split(10, 6), episodes=6)
    original = split(10, 6)
    items = original.items.copy()
    items[0, 0, 3, 3] ^= 1
    changed = select(Images.of(items, original.names, [6] * 10), original.names)
    assert reference != digest(changed)


def test_labels_are_assigned_to_classes_at_random() -> None:
    """If a class always had the same label, a learner could memorise it."""
    sampler = training(split(5, 4), 5, 1, 1, seed=0)
    labels = np.zeros((5, 5), int)
    for i in range(1000):
        labels[sampler.choose(i).classes, np.arange(5)] += 1
    assert labels.min() > 150  # 200 expected, standard deviation 13


def test_each_class_of_an_episode_has_its_own_rotation() -> None:
    """Support and query of a class have the same rotation."""
    sampler = training(split(10, 6, spin="class"), 5, 2, 2, seed=0)
    turns = np.stack([sampler.choose(i).turns for i in range(200)])
    assert (np.bincount(turns.ravel(), minlength=4) > 200).all()
    assert (turns != turns[:, :1]).any(axis=1).mean() > 0.9
    mark = {0: (0, 1), 1: (2, 0), 2: (3, 2), 3: (1, 3)}  # position after k counter-clockwise turns
    for task in sampler.tasks(range(5)):
        for part in (task.support, task.query):
            for image, label in zip(part.x[:, 0], part.y, strict=True):
                assert image[mark[turns[task.number, label]]] == 1


def test_rotated_copies_are_separate_classes() -> None:
    source = split(3, 6, turns=(0, 1, 2, 3))
    assert source.facts == Facts(12, 6)
    sampler = training(source, 12, 1, 1, seed=0)
    pick, (task,) = sampler.choose(0), sampler.tasks([0])
    plain = split(3, 6).items
    for label, rotated_class in enumerate(pick.classes):
        rotated = np.rot90(plain[pick.items[label, 0], 0], rotated_class % 4)
        assert np.array_equal((task.support.x[label, 0] * 255).round().numpy(), rotated)


def test_images_are_scaled_to_one_in_all_splits() -> None:
    for sampler in (
        training(split(5, 4), 5, 1, 1, seed=0),
        frozen(split(5, 4), 5, 1, 1, split="test", eval_seed=0),
    ):
        assert sampler.tasks([0])[0].support.x.max() == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inputs_have_the_requested_dtype(dtype: torch.dtype) -> None:
    sampler = training(split(5, 4), 5, 1, 1, seed=0, dtype=dtype)
    (task,) = sampler.tasks([0])
    assert (task.query.x.dtype, task.query.y.dtype) == (dtype, torch.int64)


def augmentation(split: Split) -> ImageAugmentation:
    return ImageAugmentation(split.shape, crop=2, flip=True, jitter=0.5, rotation=0)


@given(sizes)
@settings(max_examples=20, deadline=None)
def test_augmentation_changes_only_the_images(task: tuple) -> None:
    ways, shots, queries, classes, seed, number = task
    source = split(classes, 8)
    plain = training(source, ways, shots, queries, seed=seed)
    augmented = training(source, ways, shots, queries, seed=seed, augment=augmentation(source))
    assert augmented.sha256(3) == plain.sha256(3)
    (a,), (b,) = plain.tasks([number]), augmented.tasks([number])
    assert torch.equal(a.support.y, b.support.y) and torch.equal(a.query.y, b.query.y)
    assert torch.equal(a.classes, b.classes)
    assert not same(a, b)


@given(st.integers(0, 2**63 - 1), st.lists(st.integers(0, 10**9), min_size=1, max_size=5))
@settings(max_examples=20, deadline=None)
def test_augmentation_depends_only_on_seed_and_number(seed: int, numbers: list[int]) -> None:
    source = split(10, 6)
    sampler = training(source, 5, 1, 3, seed=seed, augment=augmentation(source))
    for task in sampler.tasks(numbers):
        assert same(task, *sampler.tasks([task.number]))


def test_all_items_of_support_and_query_have_separate_draws() -> None:
    recorded: list[np.ndarray] = []

    class Spy:
        def draw(self, rng: np.random.Generator, items: int) -> np.ndarray:
            return rng.random((items, 1))

        def __call__(self, x: torch.Tensor, draws: np.ndarray) -> torch.Tensor:
            assert x.shape == (len(draws), 1, 4, 4)
            recorded.append(draws)
            return torch.zeros_like(x)

    tasks = training(split(5, 6), 5, 1, 3, seed=0, augment=Spy()).tasks([4, 5])
    assert [len(draws) for draws in recorded] == [5, 15, 5, 15]
    assert len(set(np.concatenate(recorded).ravel().tolist())) == 40
    assert not any(task.support.x.any() or task.query.x.any() for task in tasks)


def test_evaluation_episodes_cannot_be_augmented() -> None:
    source = split(5, 6)
    with pytest.raises(TypeError):
        Sampler.frozen(source_of(source, (5, 1, 1)), "val", 0, augment=augmentation(source))


def test_the_classes_of_tasks_are_those_of_the_tasks_without_their_rotation() -> None:
    source = split(6, 8, turns=(0, 1, 2, 3))
    sampler = frozen(source, 3, 1, 2)
    names, of_tasks = sampler.classes(20)
    assert names == [f"class{i:03d}" for i in range(6)]
    for task, numbers in zip(sampler.tasks(range(20)), of_tasks, strict=True):
        assert [source.names[c][:8] for c in task.classes] == [names[i] for i in numbers]
