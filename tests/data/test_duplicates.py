"""Checks at every start: each finds its defect and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from metarun.data.classes import Images, select
from metarun.data.duplicates import repeats, shared_classes, shared_items, warnings


def images(counts=(4, 4, 4, 4)) -> Images:
    items = np.random.default_rng(0).integers(0, 256, (sum(counts), 1, 3, 3), dtype=np.uint8)
    return Images.of(items, [f"A/{i}" for i in range(len(counts))], counts)


def with_a_copy() -> Images:
    known = images()
    items = known.items.copy()
    items[5] = items[14]  # item 1 of A/1, item 2 of A/3
    return Images.of(items, known.names, known.counts)


def splits(known: Images, **names: list[str]):
    return {split: select(known, chosen) for split, chosen in names.items()}


def test_disjoint_splits_give_no_lines():
    fine = splits(images(), train=["A/0", "A/1"], val=["A/2"], test=["A/3"])
    assert shared_classes(fine) == shared_items(fine) == []


def test_a_class_in_two_splits_is_named():
    known = splits(images(), train=["A/0", "A/1"], val=["A/2"], test=["A/3", "A/1"])
    (line,) = shared_classes(known)
    assert line.startswith("A/1: in both train and test")


def test_a_rotated_copy_counts_as_the_same_class():
    known = images()
    train, test = select(known, ["A/0"], (0, 1)), select(known, ["A/0"], (2, 3))
    (line,) = shared_classes({"train": train, "test": test})
    assert "A/0/rot000, A/0/rot090" in line


def test_an_item_in_two_splits_is_named_with_its_copy():
    known = splits(with_a_copy(), train=["A/0", "A/1"], val=["A/2"], test=["A/3"])
    assert shared_items(known) == ["1 item of train is in test too, to the byte: A/1/1 = A/3/2"]
    assert shared_classes(known) == []


def equal(*groups: tuple[int, ...], counts=(4, 4, 4, 4)) -> Images:
    """Items of which those at the positions of a group are equal."""
    known = images(counts)
    items = known.items.copy()
    for first, *others in groups:
        items[others] = items[first]
    return Images.of(items, known.names, known.counts)


def test_a_copy_within_a_split_is_not_a_shared_item():
    known = splits(with_a_copy(), train=["A/1", "A/3"], val=["A/2"], test=["A/0"])
    assert shared_items(known) == []
    assert warnings(known) == [
        "2 of 8 items of train are in another class too, to the byte (A/1 = A/3: 1): "
        "no learner can tell which class is meant"
    ]


def test_copies_within_classes_are_counted_by_class():
    known = splits(equal((0, 1, 3), (4, 6), (8, 9)), train=["A/0", "A/1"], val=["A/3"])
    found = repeats(known["train"])
    assert dict(found.within) == {"A/0": 2, "A/1": 1}
    assert found.counts == {"within_classes": 3, "between_classes": 0}
    assert found.lines("train") == [
        "3 of 8 items of train equal another item of their class, to the byte (A/0: 2, A/1: 1): "
        "a query may be in its own support"
    ]
    assert repeats(known["val"]).lines("val") == []


def test_a_class_without_an_item_of_its_own_is_named():
    whole = equal((0, 4), (1, 5), (2, 6), (3, 7))
    found = repeats(select(whole, whole.names))
    assert found.between == {("A/0", "A/1"): 4}
    assert found.without_own == ["A/0", "A/1"]
    part = equal((0, 4), (1, 5), (2, 6))
    assert repeats(select(part, part.names)).without_own == []


def test_one_picture_in_every_class_counts_once_per_class() -> None:
    """A placeholder, say: its copies are not counted in pairs."""
    known = equal((0, 4, 8, 12))
    found = repeats(select(known, known.names))
    assert found.counts == {"within_classes": 0, "between_classes": 4}
    assert found.lines("test")[0].startswith("4 of 16 items of test are in another class too")


def test_a_class_and_its_rotated_copies_count_once():
    known = equal((0, 1))
    turned = repeats(select(known, ["A/0", "A/1"], (0, 1, 2, 3)))
    assert (turned.items, turned.counts["within_classes"]) == (8, 1)


@given(st.lists(st.integers(0, 5), min_size=12, max_size=12), st.permutations(range(3)))
def test_counts_agree_with_a_set_based_implementation(values: list[int], order: list[int]):
    """Equal items within each class and in each pair of classes."""
    items = np.array(values, np.uint8).reshape(12, 1, 1, 1)
    known = Images.of(items, ["a", "b", "c"], [3, 4, 5])
    held = {"a": values[:3], "b": values[3:7], "c": values[7:]}
    chosen = ["abc"[i] for i in order][:2]
    found = repeats(select(known, chosen))
    assert found.items == sum(len(held[name]) for name in chosen)
    for name in chosen:
        assert found.within[name] == len(held[name]) - len(set(held[name]))
    one, two = sorted(chosen)
    both = set(held[one]) & set(held[two])
    assert found.between[one, two] == len(both)
    assert found.shared == sum(value in both for name in chosen for value in held[name])
    assert found.without_own == [name for name in sorted(chosen) if set(held[name]) <= both]


def test_a_run_warns_of_items_that_splits_share(metarun, tmp_path, monkeypatch):
    (tmp_path / "mine" / "data").mkdir(parents=True)
    (tmp_path / "mine" / "data" / "twins.yaml").write_text("_target_: twins.Twins\nshared: item\n")
    (tmp_path / "mine" / "twins.py").write_text(
        "import numpy as np\n"
        "from metarun.data.classes import Images, select\n"
        "class Twins:\n"
        "    def __init__(self, *, shared: str): self.shared = shared\n"
        "    def facts(self): return {}\n"
        "    def load(self):\n"
        "        rng = np.random.default_rng(0)\n"
        "        items = rng.integers(0, 256, (180, 1, 8, 8), dtype=np.uint8)\n"
        "        if self.shared == 'item': items[0] = items[179]\n"
        "        if self.shared == 'copies': items[120:130:2] = items[121:130:2]\n"
        "        names = [f'c{i}' for i in range(18)]\n"
        "        all = Images.of(items, names, [10] * 18)\n"
        "        last = names[12:] + names[:1] * (self.shared == 'class')\n"
        "        parts = {'train': names[:6], 'val': names[6:12], 'test': last}\n"
        "        return {k: select(all, v) for k, v in parts.items()}\n"
    )
    tiny = ["--config-dir", str(tmp_path / "mine"), "data=twins", "debug=tiny", "backbone=mlp"]
    code, _, err = metarun(*tiny, "out=one")
    assert code == 0
    assert "1 item of train is in test too, to the byte: c0/0 = c17/9" in err[0]
    code, _, err = metarun(*tiny, "data.shared=copies", "out=copies")
    assert (code, len(err)) == (0, 1)
    assert "5 of 60 items of test equal another item of their class, to the byte (c12: 5)" in err[0]
    protocol = json.loads(Path("copies/result.json").read_text())["protocol"]
    assert protocol["copies"] == {"within_classes": 5, "between_classes": 0}
    code, out, err = metarun("show", *tiny[:4], "data.shared=copies")
    assert code == 0
    assert "(c12: 5)" in err[0]
    code, out, _ = metarun("audit", "run=copies", *tiny[:2], "episodes=2")
    assert code == 1
    assert any(line.startswith("✗ copies: 5 of 60 items of test") for line in out.splitlines())
    code, _, err = metarun(*tiny, "data.shared=class", "out=two")
    assert code == 2
    assert err == ["metarun: c0: in both train and test; a class may be in one split only"]
    code, _, err = metarun(*tiny, "queries=20", "out=three")
    assert code == 2
    assert "a class of twins has 10 items (c0: 10, c1: 10, c2: 10 and 15 more)" in err[0]
