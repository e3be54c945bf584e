"""Tasks of any size: the distribution of ways, shots and queries is that of Meta-Dataset."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, ks_2samp

from metarun.data.classes import Split, select
from metarun.data.preparation.images import Images
from metarun.tasks.any_size import AnySize, support_sizes
from metarun.tasks.gathered import source_of
from metarun.tasks.sampler import Sampler
from tests.conftest import TINY
from tests.data.test_recordings import splits as recordings

DRAWS = 1500


def split(counts: list[int], **how: object) -> Split:
    """Pictures of a pixel, whose value tells the class, and another, whose value tells the item."""
    items = np.zeros((sum(counts), 1, 2, 2), np.uint8)
    items[:, 0, 0, 0] = np.repeat(np.arange(len(counts)), counts)
    items[:, 0, 0, 1] = np.concatenate([np.arange(n) for n in counts])
    names = [f"{c:03d}" for c in range(len(counts))]
    return select(Images.of(items, names, counts), names, **how)


def source(counts: list[int], *sizes: int | str, **how: object) -> AnySize:
    return source_of(split(counts, **how), sizes or ("any",) * 3)


def drawn(of: AnySize, number: int = DRAWS) -> list:
    return [of.choose(np.random.default_rng(k)) for k in range(number)]


class TestWays:
    @pytest.mark.parametrize(("classes", "most"), [(12, 12), (70, 50)])
    def test_ways_are_uniform_from_five(self, classes, most):
        found = [len(choices.numbers) for choices in drawn(source([4] * classes))]
        counts = np.bincount(found, minlength=most + 1)
        assert counts[:5].sum() == 0 and len(counts) == most + 1
        assert chisquare(counts[5:]).pvalue > 1e-3

    @pytest.mark.parametrize("classes", [2, 4, 5])
    def test_few_classes_are_all_in_each_task(self, classes):
        assert {len(choices.numbers) for choices in drawn(source([4] * classes), 50)} == {classes}

    def test_a_number_of_ways_stays(self):
        assert {len(c.numbers) for c in drawn(source([4] * 9, 3, "any", "any"), 50)} == {3}


class TestQueries:
    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.integers(2, 40), min_size=2, max_size=20), st.integers(0, 99))
    def test_they_are_ten_or_half_of_the_smallest_class(self, counts, number):
        of = source(counts)
        choices = of.choose(np.random.default_rng(number))
        smallest = min(counts[c] for c in choices.numbers)
        (task,) = Sampler(of, ()).tasks([number])
        query = np.bincount(task.query.y.numpy())
        assert set(query.tolist()) == {min(10, min(counts[c] for c in task.classes) // 2)}
        assert all(
            1 <= k <= counts[c] - min(10, smallest // 2)
            for k, c in zip(choices.shots, choices.numbers, strict=True)
        )

    def test_beside_a_range_of_shots_they_are_what_the_most_leave(self):
        few = Sampler(source([14] * 3, 3, "1-10", "any"), ()).tasks(range(9))
        assert {len(task.query) for task in few} == {3 * 4}
        assert len(Sampler(source([40] * 3, 3, 5, "any"), ()).tasks([0])[0].query) == 3 * 10


class TestSupport:
    def test_sizes_follow_the_published_code(self):
        """Against the formulas of meta_dataset/data/sampling.py, written out for one class each."""
        counts, queries = np.array([20, 60, 400, 1000, 33, 90]), 10
        rng = np.random.default_rng(1)
        found = np.stack([support_sizes(rng, counts, queries) for _ in range(DRAWS)])
        expected = []
        for _ in range(DRAWS):
            beta = rng.uniform()
            size = min(sum(np.floor(beta * min(100, n - 10) + 1) for n in counts), 500)
            weights = [n * np.exp(rng.uniform(np.log(0.5), np.log(2))) for n in counts]
            free = [w / sum(weights) * (size - len(counts)) for w in weights]
            expected.append([min(int(f) + 1, n - 10) for f, n in zip(free, counts, strict=True)])
        for ours, theirs in zip(found.T, np.array(expected).T, strict=True):
            assert ks_2samp(ours, theirs).pvalue > 1e-3
        assert ks_2samp(found.sum(1), np.sum(expected, 1)).pvalue > 1e-3

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.integers(2, 5000), min_size=2, max_size=50), st.integers(0, 99))
    def test_limits_hold(self, counts, seed):
        counts = np.array(counts)
        queries = min(10, counts.min() // 2)
        sizes = support_sizes(np.random.default_rng(seed), counts, queries)
        assert sizes.min() >= 1 and (sizes <= counts - queries).all()
        assert sizes.sum() <= 500

    def test_a_range_is_uniform_and_the_same_for_all_classes(self):
        found = [c.shots for c in drawn(source([30] * 6, 5, "1-10", 3))]
        assert all(len(set(shots.tolist())) == 1 for shots in found)
        counts = np.bincount([shots[0] for shots in found], minlength=11)
        assert counts[0] == 0 and len(counts) == 11
        assert chisquare(counts[1:]).pvalue > 1e-3


class TestTasks:
    @settings(max_examples=20, deadline=None)
    @given(st.integers(0, 10**6))
    def test_items_are_of_their_class_and_in_one_place(self, number):
        (task,) = Sampler(source(list(range(4, 34))), (1,)).tasks([number])
        for part in (task.support, task.query):
            pixels = (part.x[:, 0, 0] * 255).round().int()
            assert (pixels[:, 0] == task.classes[part.y]).all()
            assert (part.y.diff() >= 0).all() and part.labels == len(task.classes)
        both = [(p.x[:, 0, 0] * 255).round().int().tolist() for p in (task.support, task.query)]
        items = [tuple(item) for part in both for item in part]
        assert len(set(items)) == len(items)

    def test_a_task_is_a_function_of_its_number(self):
        of = source([9] * 8)
        one, two = Sampler.frozen(of, "test", 0), Sampler.frozen(source([9] * 8), "test", 0)
        assert one.sha256(20) == two.sha256(20) != Sampler.frozen(of, "test", 1).sha256(20)
        (alone,) = one.tasks([7])
        beside = two.tasks(range(8))[7]
        assert (alone.support.x == beside.support.x).all()

    def test_one_angle_turns_a_task_and_one_each_class(self):
        def angles(spin: str) -> list[set[int]]:
            of = source([4] * 8, spin=spin)
            return [{int(p.turns[0]) for p in c.picks} for c in drawn(of, 20)]

        assert all(len(found) == 1 for found in angles("task"))
        assert any(len(found) > 1 for found in angles("class"))

    def test_queries_of_recordings_keep_their_clips(self):
        (task,) = Sampler(source_of(recordings(clips=3)["val"], ("any", 1, 2)), ()).tasks([0])
        assert (task.support.clips, task.query.clips) == (1, 3)
        assert len(task.query.x) == 3 * len(task.query.y)


class TestCommand:
    def test_learners_are_tested_on_the_same_tasks(self, metarun):
        hashes = set()
        for algo in ("protonet", "relationnet"):
            assert metarun(*TINY, f"algo={algo}", f"out={algo}")[0] == 0
            sizes = ("ways=any", "episodes=6", "name=any", *TINY[:2])
            code, out, err = metarun("evaluate", f"run={algo}", *sizes)
            assert (code, err) == (0, [])
            assert "any-way any-shot" in out
            protocol = json.loads(Path(algo, "evaluations", "any", "result.json").read_text())
            hashes.add(protocol["protocol"]["episodes_sha256"])
        assert len(hashes) == 1
        found = metarun("compare", "protonet/evaluations/any", "relationnet/evaluations/any")
        assert found[0] == 0
        assert "any-way any-shot" in found[1]
        assert metarun("report", "protonet")[0] == 0
        assert "any-way any-shot" in Path("protonet/report.csv").read_text()
        code, out, err = metarun(
            "evaluate", "run=protonet", "shots=1-3", "episodes=6", "name=few", *TINY[:2]
        )
        assert (code, "5-way 1-3-shot" in out) == (0, True)
        assert metarun("show", *TINY[:3], "ways=any", "shots=2")[0] == 0

    def test_training_on_them_is_audited(self, metarun):
        assert metarun(*TINY, "ways=any", "out=run")[0] == 0
        code, out, _ = metarun("audit", "run=run", "episodes=4", *TINY[:2])
        assert code == 0
        assert out.count("no query is in its support, ") == 2
        assert "label permutation, test: not checked where tasks differ in size" in out

    @pytest.mark.parametrize(
        ("words", "line"),
        [
            (("algo=maml", "ways=any"), "ways=any: maml has a head for each label, so all its tas"),
            (("shots=10-1",), "shots=10-1: should be the fewest and the most, e.g. 1-10"),
            (("shots=some",), "shots=some: should be a valid integer"),
            (
                ("data=sinusoid", "algo=fomaml", "shots=1-3", "queries=3", "train_queries=3"),
                "shots=1-3: tasks of sinusoid are not",
            ),
            (
                (*TINY[:3], "shots=1-10", "queries=15"),
                "shots=1-10 queries=15: a class of blobs has 20 items",
            ),
        ],
    )
    def test_what_cannot_be_is_one_line(self, metarun, words, line):
        code, _, err = metarun("debug=tiny", "threads=1", *words, "out=run")
        assert (code, len(err)) == (2, 1)
        assert err[0].startswith(f"metarun: {line}")
