"""The matrices agree with `metarun compare`."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from metarun.report import comparison, matrix, runs, tested
from metarun.report.ranking import rank
from tests.report.material import learned


def find_groups(folder: Path) -> tuple[list[matrix.Group], list[str]]:
    return matrix.groups(rank(runs.find([folder])).entries)


@pytest.mark.parametrize("score", ["accuracy", "mse", "return"])
def test_agrees_bitwise_with_compare(tmp_path: Path, score: str) -> None:
    for seed in range(6):
        learned(tmp_path / str(seed), seed, score=score)
    learned(tmp_path / "same as 0", 0, score=score)
    (group,), problems = find_groups(tmp_path)
    assert problems == []
    differences = matrix.matrix(group.values)
    pairs, _ = comparison.compare([tested.read_test(e.folder) for e in group.entries])
    assert len(pairs) == 21
    place = {entry.folder: i for i, entry in enumerate(group.entries)}
    for pair in pairs:
        a, b = place[pair.first.folder], place[pair.second.folder]
        assert (differences.mean[a, b], differences.ci95[a, b], differences.p[a, b]) == (
            pair.difference.mean,
            pair.difference.ci95,
            pair.p_holm,
        )
        assert (differences.mean[b, a], differences.ci95[b, a], differences.p[b, a]) == (
            -pair.difference.mean,
            pair.difference.ci95,
            pair.p_holm,
        )
    assert np.isnan(np.diag(differences.p)).all()


@settings(max_examples=30)
@given(arrays(float, (3, 5), elements=st.floats(0, 1)))
def test_agrees_with_stats_for_arbitrary_scores(values: np.ndarray) -> None:
    from metarun.stats import difference, holm

    differences = matrix.matrix(list(values))
    single = [difference(values[a], values[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
    for (a, b), expected, p in zip(
        ((0, 1), (0, 2), (1, 2)), single, holm([s.p for s in single]), strict=True
    ):
        assert differences.mean[a, b] == expected.mean
        assert differences.ci95[a, b] == expected.ci95
        assert math.isclose(differences.p[a, b], p, rel_tol=1e-12)


def test_runs_are_grouped_by_protocol(tmp_path: Path) -> None:
    for i, protocol in enumerate([{}, {}, {}, {"shots": 5}, {"shots": 5}, {"batch_norm": "x"}]):
        learned(tmp_path / str(i), i, **protocol)
    learned(tmp_path / "precise", 7, precision="float64")  # compare notes this difference only
    groups, problems = find_groups(tmp_path)
    assert problems == []
    assert [len(group.entries) for group in groups] == [4, 2]
    assert list(matrix.notes(groups[0])) == ["precision differs between these runs"]
    for group in groups:
        comparison.compare([tested.read_test(entry.folder) for entry in group.entries])


def test_the_best_come_first(tmp_path: Path) -> None:
    for seed in range(4):
        learned(tmp_path / str(seed), seed)
    (group,), _ = find_groups(tmp_path)
    means = [values.mean() for values in group.values]
    assert means == sorted(means, reverse=True)


def test_unreadable_runs_are_reported_and_the_others_are_compared(tmp_path: Path) -> None:
    for seed in range(5):
        learned(tmp_path / str(seed), seed)
    (tmp_path / "1" / "test_episodes.csv").write_text("episode,accuracy\n0,9\n")
    (tmp_path / "2" / "test_episodes.csv").unlink()
    (tmp_path / "2" / "test_episodes.csv").symlink_to(tmp_path / "3" / "test_episodes.csv")
    (group,), problems = find_groups(tmp_path)
    assert len(group.entries) == 3
    assert len(problems) == 2
    assert any("row 1" in line for line in problems)
    assert any("not a regular file" in line for line in problems)


def test_runs_beyond_the_limit_of_a_group_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix, "MAX_RUNS", 2)
    for seed in range(5):
        learned(tmp_path / str(seed), seed)
    (group,), _ = find_groups(tmp_path)
    assert (len(group.entries), group.left_out) == (2, 3)


def test_the_number_of_scores_in_memory_is_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix, "MAX_SCORES", 70)  # two runs of 30 episodes
    for seed in range(4):
        learned(tmp_path / str(seed), seed)
    (group,), (problem,) = find_groups(tmp_path)
    assert len(group.entries) == 2
    assert "too many runs to compare at once" in problem


def test_unfinished_runs_are_not_compared(tmp_path: Path) -> None:
    for seed in range(2):
        learned(tmp_path / str(seed), seed)
    result = json.loads((tmp_path / "0" / "result.json").read_text())
    (tmp_path / "0" / "result.json").write_text(json.dumps({**result, "status": "failed"}))
    assert find_groups(tmp_path) == ([], [])


def test_own_pictures_of_equal_content_are_compared_under_their_name(tmp_path: Path) -> None:
    for seed, name in enumerate(("pets", "moved")):
        learned(tmp_path / str(seed), seed, data="image_folder", data_name=name)
    (table,), problems = matrix.tables(rank(runs.find([tmp_path])))
    assert problems == []
    assert " of moved test" in table["title"] or " of pets test" in table["title"]
