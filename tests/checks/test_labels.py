"""Label permutation and relabelling: valid episodes pass, planted defects are found."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metarun.checks.labels import label_permutation, relabelled, relabelling
from metarun.data.classes import Pick
from metarun.data.sinusoid import Waves
from metarun.tasks.gathered import source_of
from metarun.tasks.sampler import Sampler
from tests.checks.planted import Doctored, Faulty, images, in_double, sampler, split
from tests.conftest import tasks


def reordered(pick: Pick, order: np.ndarray) -> Pick:
    return Pick(*(array[order] for array in pick))


def by_class(pick: Pick) -> Pick:
    return reordered(pick, np.argsort(pick.classes))


def by_class_backwards(pick: Pick) -> Pick:
    return reordered(pick, np.argsort(-pick.classes))


def by_a_secret_rank(pick: Pick) -> Pick:
    return reordered(pick, np.argsort(pick.classes * 7 % 12))


def now_and_then_by_class(pick: Pick) -> Pick:
    return by_class(pick) if pick.items[0, 0] % 3 == 0 else pick


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 12), st.integers(0, 10**6))
def test_episodes_of_the_sampler_pass(ways: int, eval_seed: int) -> None:
    drawn = Sampler.frozen(source_of(split(), (ways, 1, 1)), "test", eval_seed)
    finding = label_permutation(drawn, "test")
    assert finding.status == "passed", finding


def test_the_number_of_episodes_grows_with_the_number_of_classes() -> None:
    names = [f"{i}" for i in range(700)]
    many = type(images()).of(np.arange(1400, dtype=np.uint8).reshape(-1, 1, 1, 1), names, [2] * 700)
    finding = label_permutation(sampler(split(many), ways=5, shots=1, queries=1), "train")
    assert finding.status == "passed"
    assert finding.values["episodes"] == 1400


@pytest.mark.parametrize(
    "defect", [by_class, by_class_backwards, by_a_secret_rank, now_and_then_by_class]
)
def test_labels_that_depend_on_classes_are_found(defect) -> None:
    finding = label_permutation(sampler(Doctored(split(), defect)), "train")
    assert finding.status == "failed"
    assert "labels depend on classes: c" in finding.text


def test_an_item_with_the_label_of_another_class_is_found() -> None:
    def swapped(pick: Pick) -> Pick:
        items = pick.items.copy()
        items[0, -1], items[1, -1] = items[1, -1], items[0, -1]
        return pick._replace(items=items)

    finding = label_permutation(sampler(Doctored(split(), swapped)), "train")
    assert finding.status == "failed"
    assert "with the label of another class" in finding.text


def test_tasks_without_classes_have_nothing_to_permute() -> None:
    waves = sampler(Waves(), ways=1)
    assert label_permutation(waves, "train").status == "passed"
    assert relabelling(Faulty("none"), waves, 4).status == "measured"


@given(st.permutations(range(3)))
def test_relabelling_changes_the_labels_and_nothing_else(order: list[int]) -> None:
    (task,) = tasks(1, ways=3, shots=2, queries=4)
    new_task = relabelled(task, torch.tensor(order))
    for new, old in ((new_task.support, task.support), (new_task.query, task.query)):
        assert torch.equal(new.y, old.y)  # grouped by label again
        for label in range(3):
            assert torch.equal(new.x[new.y == order[label]], old.x[old.y == label])
    for label in range(3):
        assert new_task.classes[order[label]] == task.classes[label]


def test_learners_that_relabelling_does_not_affect() -> None:
    sound = relabelling(Faulty("none"), in_double(), 10)
    assert (sound.status, sound.values["range"]["mean"]) == ("measured", 0)
    # A third of the queries is correct, whichever class has the label.
    assert relabelling(Faulty("prefers a label"), in_double(), 4).values["range"]["mean"] == 0


def test_the_spread_over_relabellings_is_measured() -> None:
    class Half(Faulty):
        """Correct only if the first support item is brighter than the last."""

        def adapt(self, support):
            model = super().adapt(support)
            wrong = support.x[0].sum() < support.x[-1].sum()
            return lambda x: -model(x) if wrong else model(x)

    values = relabelling(Half("none"), in_double(), 10).values
    assert values["deviation"]["mean"] > 0.1
    assert values["range"]["mean"] > values["deviation"]["mean"]
