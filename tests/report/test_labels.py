"""Labels of runs contain only keys that distinguish them."""

from __future__ import annotations

from pathlib import Path

from metarun.report import labels, runs
from metarun.report.entry import Entry
from metarun.report.ranking import Ranking, rank
from tests.report.folders import run


def ranked(folder: Path, *commands: str) -> Ranking:
    """A ranking of runs with these arguments, in this order."""
    for i, words in enumerate(commands):
        seed = int(words.rpartition("seed=")[2] or 0) if "seed=" in words else 0
        config = dict(word.split("=", 1) for word in words.split())
        values = {"command": f"metarun {words}", "config": config, "seed": seed}
        run(folder / str(i), mean=0.9 - 0.01 * i, **values)
    return rank(runs.find([folder]))


def test_a_key_that_others_determine_is_left_out(tmp_path: Path) -> None:
    ranking = ranked(
        tmp_path,
        "algo=maml meta_batch=4 seed=0",
        "algo=maml meta_batch=4 seed=1",
        "algo=protonet meta_batch=1 seed=0",
        "algo=protonet meta_batch=1 seed=1",
    )
    each = [f"{algo} · seed {seed}" for algo in ("maml", "protonet") for seed in (0, 1)]
    assert labels.run_labels(ranking) == each
    assert labels.run_labels(ranking, ranking.entries[:2]) == ["seed 0", "seed 1"]


def test_a_key_with_a_different_value_in_each_run_does_not_hide_other_keys(tmp_path: Path) -> None:
    drawn = ("0.1 optimizer=sgd", "0.2 optimizer=adam", "0.3 optimizer=sgd", "0.4 optimizer=sgd")
    ranking = ranked(tmp_path, *(f"algo.inner_lr={words}" for words in drawn))
    assert labels.run_labels(ranking)[:2] == ["sgd · inner_lr 0.1", "adam · inner_lr 0.2"]


def test_labels_use_the_last_part_of_a_dotted_key(tmp_path: Path) -> None:
    ranking = ranked(tmp_path, "algo.inner_lr=0.1", "algo.inner_lr=0.01")
    assert labels.run_labels(ranking) == ["inner_lr 0.1", "inner_lr 0.01"]


def test_runs_with_equal_settings_are_labelled_by_their_path(tmp_path: Path) -> None:
    ranking = ranked(tmp_path, "algo=maml", "algo=maml", "algo=protonet")
    assert labels.run_labels(ranking) == ["maml 0", "maml 1", "protonet"]


def test_labels_are_unique_and_short(tmp_path: Path) -> None:
    ranking = ranked(tmp_path, "tags=[a]", "tags=[b]", f"tags=[{'x' * 300}]", f"tags=[{'x' * 301}]")
    assert len(set(labels.run_labels(ranking))) == 4
    assert max(map(len, labels.run_labels(ranking))) <= 200


def test_labels_of_seed_groups_do_not_contain_the_seed(tmp_path: Path) -> None:
    ranking = ranked(tmp_path, *(f"algo.inner_lr={k} seed={s}" for k in (1, 5) for s in (0, 1)))
    assert labels.group_labels(ranking) == ["inner_lr 1", "inner_lr 5"]


def test_a_single_seed_group_is_labelled_by_its_algorithm(tmp_path: Path) -> None:
    ranking = ranked(tmp_path, "seed=0", "seed=1")
    assert labels.group_labels(ranking) == ["protonet"]
    assert labels.run_labels(ranking) == ["seed 0", "seed 1"]


def test_colour_keys_begin_with_choices(tmp_path: Path) -> None:
    ranking = ranked(tmp_path, *(f"shots=1 algo={a} seed={s}" for a in "ab" for s in range(3)))
    assert [title for title, _ in labels.colour_keys(ranking)] == ["algo", "seed"]
    many = ranked(tmp_path / "many", *(f"algo.inner_lr={i}" for i in range(labels.MAX_COLOURS + 1)))
    assert labels.colour_keys(many) == []


def test_a_path_is_shortened(tmp_path: Path) -> None:
    assert len(labels.path_end(Entry(tmp_path, "a/" * 100, "completed"))) <= 60
    assert labels.path_end(Entry(tmp_path, "", "completed")).endswith(str(tmp_path)[-20:])
