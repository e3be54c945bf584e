"""Class overlap and support–query overlap are found and named."""

from __future__ import annotations

import numpy as np

from metarun.checks.overlap import class_overlap, support_query_overlap
from metarun.data.classes import Images, Pick, select
from metarun.data.sinusoid import Waves
from tests.checks.planted import Doctored, images, sampler, split


def thirds(data: Images) -> dict:
    names = data.names
    return {
        "train": split(data, names[:4]),
        "val": split(data, names[4:8]),
        "test": split(data, names[8:]),
    }


def test_disjoint_splits_pass() -> None:
    classes, items = class_overlap(thirds(images()))
    assert (classes.status, items.status) == ("passed", "measured")
    assert classes.text == "no class is in two splits: 4 in train, 4 in val, 4 in test"
    assert items.values["shared"] == []


def test_a_class_in_two_splits_is_found() -> None:
    data = images()
    splits = {**thirds(data), "test": split(data, data.names[7:])}
    classes = class_overlap(splits)[0]
    assert classes.status == "failed"
    assert "c07: in both val and test" in classes.text


def test_a_class_under_another_name_in_another_array_is_found() -> None:
    data, other = images(), images(4, seed=1)
    twin = np.concatenate([other.items, data.items[:10][::-1]])  # c00 in reverse order
    renamed = Images.of(twin, ["a", "b", "c", "d", "e"], [10] * 5)
    classes, items = class_overlap({"train": split(data), "test": split(renamed)})
    assert classes.status == "failed"
    assert "c00 = e" in classes.text
    assert items.values["shared"][0].startswith("10 items of train are in test too")


def test_an_item_in_two_splits_is_counted() -> None:
    data = images()
    items = data.items.copy()
    items[3] = items[115]
    classes, shared = class_overlap(thirds(Images.of(items, data.names, data.counts)))
    assert classes.status == "passed"
    assert "c00/3 = c11/5" in shared.text


def test_waves_have_no_classes() -> None:
    (finding,) = class_overlap({"train": Waves(), "test": Waves()})
    assert finding.status == "passed"
    assert support_query_overlap(sampler(Waves(), ways=1), "test", 20).status == "passed"


def test_disjoint_support_and_queries_pass() -> None:
    assert support_query_overlap(sampler(), "test", 50).status == "passed"


def test_a_query_from_the_support_is_found() -> None:
    def overlapping(pick: Pick) -> Pick:
        items = pick.items.copy()
        items[1, 4] = items[1, 0]  # 2 shots, 3 queries
        return pick._replace(items=items)

    finding = support_query_overlap(sampler(Doctored(split(), overlapping)), "test", 20)
    assert finding.status == "failed"
    assert finding.text == "20 queries of 20 episodes are in their support"


def test_rotated_copies_in_other_classes_are_different_items() -> None:
    data = images(2, 5)
    turned = select(data, data.names, (0, 1, 2, 3))
    assert support_query_overlap(sampler(turned, ways=8), "test", 50).status == "passed"


def test_symmetric_items_equal_their_rotated_copies() -> None:
    data = images(3, 5)
    items = data.items.copy()
    items[0] = 7
    turned = select(Images.of(items, data.names, data.counts), data.names, (0, 1, 2, 3))
    finding = support_query_overlap(sampler(turned, ways=12), "test", 50)
    assert finding.values["equal_bytes"] == finding.values["same_item"] == 0
    assert finding.values["copies_in_data"] > 0


def test_equal_items_that_the_data_does_not_explain_are_found() -> None:
    class Repeats:
        """Replaces the first query of each class by its first support item."""

        def __init__(self, tasks) -> None:
            self.tasks = tasks

        def __getattr__(self, key):
            return getattr(self.tasks, key)

        def gather(self, picks, shots):
            sx, sy, qx, qy = self.tasks.gather(picks, shots)
            return sx, sy, np.concatenate([sx[:, :1], qx[:, 1:]], 1), qy

    finding = support_query_overlap(sampler(Repeats(split())), "test", 5)
    assert finding.status == "failed"
    assert finding.values["equal_bytes"] == 5
    assert finding.values["same_item"] == 0


def test_copies_in_the_data_are_counted() -> None:
    data = images(3, 5)
    items = data.items.copy()
    items[1] = items[0]
    twins = split(Images.of(items, data.names, data.counts))
    finding = support_query_overlap(sampler(twins), "test", 30)
    assert finding.status == "failed"
    assert finding.values["copies_in_data"] > 5
    assert "of 270 queries equal a support item: copies in the data set" in finding.text
    many = images(3, 40)
    items = many.items.copy()
    items[1] = items[0]
    few = support_query_overlap(
        sampler(split(Images.of(items, many.names, many.counts))), "test", 900
    )
    assert few.status == "measured"
    assert 0 < few.values["copies_in_data"] < 20
