"""Comparison of runs by protocol, and validation of their files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from metarun.errors import Refused
from metarun.report.comparison import as_csv, compare
from metarun.report.tested import MAX_BYTES, read_test
from metarun.tasks.headline import ACCURACY, MSE, Headline

EPISODES = 30
PROTOCOL = {
    "data": "omniglot",
    "data_settings": {"rotations": "classes"},
    "split": "test",
    "split_sha256": "a" * 64,
    "episodes": EPISODES,
    "episodes_sha256": "b" * 64,
    "eval_seed": 0,
    "ways": 5,
    "shots": 1,
    "queries": 15,
    "batch_norm": "inductive",
    "augmentation": "none",
    "selection": "best validation accuracy",
    "precision": "float32",
    "engine": "loop",
    "algo": {"_target_": "metarun.algorithms.protonet.ProtoNet"},
    "backbone": {},
    "train_data": "omniglot",
    "train_split_sha256": "c" * 64,
}


RETURN = Headline("return", higher_is_better=True, title="return of an episode")
MAE = Headline("mae", higher_is_better=False)
OTHERS = {headline.score: headline for headline in (RETURN, MAE)}  # which a run must name


def scores(seed: int, score: str = "accuracy") -> np.ndarray:
    values = np.random.default_rng(seed).integers(20, 76, EPISODES) / 75
    return values if score == "accuracy" else 3 * values - 2 * (score == "return")


def finished(
    folder: Path, seed: int = 0, score: str = "accuracy", **protocol: Any
) -> tuple[Path, dict[str, Any]]:
    """Create the folder of a finished run; return it with its result."""
    values = scores(seed, score)
    if score in OTHERS:
        protocol = {"headline": OTHERS[score].as_dict(), **protocol}
    result = {
        "status": "completed",
        "test": {score: {"mean": float(values.mean()), "ci95": 0.1}, "episodes": EPISODES},
        "protocol": {**PROTOCOL, **protocol},
        "run": {"algo": "protonet"},
    }
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result))
    rows = "".join(f"{i},0.5,{v}\n" for i, v in enumerate(values.tolist()))
    (folder / "test_episodes.csv").write_text(f"episode,loss,{score}\n{rows}")
    return folder, result


def refusal(*folders: Path) -> list[str]:
    with pytest.raises(Refused) as refused:
        compare([read_test(folder) for folder in folders])
    return refused.value.mistakes


def test_every_pair_is_compared_once_by_the_paired_t_test(tmp_path: Path) -> None:
    tests = [read_test(finished(tmp_path / str(seed), seed)[0]) for seed in range(3)]
    pairs, notes = compare(tests)
    assert notes == []
    assert [(p.first.folder.name, p.second.folder.name) for p in pairs] == [
        ("0", "1"),
        ("0", "2"),
        ("1", "2"),
    ]
    for pair in pairs:
        a, b = (scores(int(t.folder.name)) for t in (pair.first, pair.second))
        assert pair.difference.p == pytest.approx(stats.ttest_rel(a, b).pvalue)
        assert pair.p_holm >= pair.difference.p


@pytest.mark.parametrize(
    ("key", "other"),
    [
        ("episodes_sha256", "d" * 64),
        ("split_sha256", "d" * 64),
        ("data", "glyphs"),
        ("split", "val"),
        ("eval_seed", 1),
        ("ways", 20),
        ("shots", 5),
        ("queries", 1),
        ("batch_norm", "transductive"),
        ("selection", "best test accuracy"),
        ("an entry of later versions", "another"),
    ],
)
def test_different_protocols_are_refused_with_both_values(
    tmp_path: Path, key: str, other: Any
) -> None:
    later = {"an entry of later versions": "one"}
    a, _ = finished(tmp_path / "a", **later)
    b, _ = finished(tmp_path / "b", **{**later, key: other})
    line = refusal(a, b)[0]
    assert line.startswith(f"compare: {key}: ")
    assert str(other)[:12] in line
    assert line.endswith("not the same protocol")


def test_all_differences_are_reported_with_a_command_that_removes_them(tmp_path: Path) -> None:
    a, _ = finished(tmp_path / "a")
    b, _ = finished(tmp_path / "b", shots=5, batch_norm="transductive", episodes_sha256="d" * 64)
    lines = refusal(a, b)
    assert [line.split(":")[1] for line in lines[:3]] == [
        " episodes_sha256",
        " shots",
        " batch_norm",
    ]
    assert lines[3].endswith("metarun evaluate run=RUN_DIR shots=1 algo.batch_norm=inductive")


def test_learners_may_differ_and_different_training_data_is_noted(tmp_path: Path) -> None:
    a, _ = finished(tmp_path / "a")
    other = {"algo": {"_target_": "x"}, "backbone": {"filters": 3}, "engine": "vmap"}
    b, _ = finished(tmp_path / "b", 1, **other)
    assert compare([read_test(a), read_test(b)])[1] == []
    c, _ = finished(tmp_path / "c", 2, train_data="glyphs", precision="float64", later="new")
    notes = compare([read_test(a), read_test(b), read_test(c)])[1]
    assert [note.split(":")[0] for note in notes] == ["precision", "train_data", "later"]
    assert notes[2] == f"later: not recorded in {a}, {b}"[: len(notes[2])]


def test_regression_is_compared_by_its_squared_error(tmp_path: Path) -> None:
    a, b = (read_test(finished(tmp_path / n, s, "mse", ways=1)[0]) for n, s in (("a", 0), ("b", 1)))
    ((pair,), _) = compare([a, b])
    assert pair.first.headline == MSE
    assert pair.difference.mean == pytest.approx((scores(0, "mse") - scores(1, "mse")).mean())
    c, _ = finished(tmp_path / "c", 0, "accuracy", ways=1)
    with pytest.raises(Refused, match="accuracy in some and mse in others"):
        compare([a, read_test(c)])


@pytest.mark.parametrize("headline", [RETURN, MAE])
def test_runs_are_compared_by_the_headline_in_their_protocol(tmp_path: Path, headline: Any) -> None:
    score = headline.score
    a, b = (read_test(finished(tmp_path / name, s, score)[0]) for name, s in (("a", 0), ("b", 1)))
    ((pair,), notes) = compare([a, b])
    assert (pair.first.headline, notes) == (headline, [])
    assert pair.difference.mean == pytest.approx((scores(0, score) - scores(1, score)).mean())
    assert next(csv.DictReader(as_csv([pair]).splitlines()))["score"] == score
    c = read_test(finished(tmp_path / "c", 0, "accuracy")[0])
    with pytest.raises(Refused, match=f"accuracy in some and {score} in others"):
        compare([a, c])


def test_results_without_a_headline_are_compatible(tmp_path: Path) -> None:
    headline = {**ACCURACY.as_dict(), "title": "share of queries"}
    a, b = (
        read_test(finished(tmp_path / "a")[0]),
        read_test(finished(tmp_path / "b", 1, headline=headline)[0]),
    )
    assert compare([a, b])[1] == []
    folder, _ = finished(tmp_path / "c", 1, headline={**headline, "higher_is_better": False})
    with pytest.raises(Refused, match="in others: not the same protocol"):
        compare([a, read_test(folder)])


def test_the_table_as_csv(tmp_path: Path) -> None:
    tests = [read_test(finished(tmp_path / name, seed)[0]) for name, seed in (("a", 0), ("b,c", 1))]
    (row,) = csv.DictReader(as_csv(compare(tests)[0]).splitlines())
    assert row["run_b"] == str(tmp_path / "b,c")
    assert float(row["mean_a"]) - float(row["mean_b"]) == pytest.approx(float(row["difference"]))
    assert row["p"] == row["p_holm"]
    assert int(row["episodes"]) == EPISODES


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot be read"),
        ("[]", "is not the result of a run"),
        ("[" * 100_000, "cannot be read"),
        ('{"status": "running"}', "is not finished: status=running"),
        ('{"status": "\\u001b[31mred\\n"}', "is not finished: status=�[31mred�"),
        ('{"status": {"a": 1}}', "is not finished"),
        ('{"status": "completed"}', "protocol and test: missing"),
        ('{"status": "completed", "protocol": {}, "test": {}}', "episodes_sha256"),
        (b"\xff\xfe", "cannot be read"),
        ("9" * 10_000, "cannot be read"),
    ],
)
def test_a_malformed_result_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    folder, _ = finished(tmp_path / "a")
    data = content.encode() if isinstance(content, str) else content
    (folder / "result.json").write_bytes(data)
    with pytest.raises(Refused) as refused:
        read_test(folder)
    (line,) = refused.value.mistakes
    assert message in line
    assert line.isprintable()


@pytest.mark.parametrize("mean", [None, "0.5", True, 10**400, float("nan"), {}, []])
def test_a_mean_that_is_not_a_number_is_refused(tmp_path: Path, mean: Any) -> None:
    folder, result = finished(tmp_path / "a")
    result["test"]["accuracy"]["mean"] = mean
    (folder / "result.json").write_text(json.dumps(result))
    with pytest.raises(Refused, match=r"test.accuracy.mean=|not from the same test"):
        read_test(folder)


@pytest.mark.parametrize("episodes", [1, 0, -1, 10**30, 29, 31, "30", True, 30.0, [30]])
def test_a_wrong_number_of_episodes_is_refused(tmp_path: Path, episodes: Any) -> None:
    folder, result = finished(tmp_path / "a")
    result["protocol"]["episodes"] = episodes
    (folder / "result.json").write_text(json.dumps(result))
    with pytest.raises(Refused, match="episodes"):
        read_test(folder)


def broken(text: str, how: str) -> str:
    lines = text.splitlines(keepends=True)
    return {
        "empty": "",
        "header only": lines[0],
        "no such column": text.replace("accuracy", "acc"),
        "the column twice": text.replace("loss", "accuracy"),
        "a missing row": "".join(lines[:-1]),
        "an extra row": text + "30,0.5,0.5\n",
        "a row twice": "".join([*lines[:5], lines[4], *lines[5:]]),
        "rows swapped": "".join([*lines[:4], lines[5], lines[4], *lines[6:]]),
        "not a number": text.replace("\n3,0.5,", "\n3,0.5,x"),
        "nan": "".join([*lines[:4], "3,0.5,nan\n", *lines[5:]]),
        "infinite": "".join([*lines[:4], "3,0.5,inf\n", *lines[5:]]),
        "above 1": "".join([*lines[:4], "3,0.5,1.01\n", *lines[5:]]),
        "below 0": "".join([*lines[:4], "3,0.5,-0.1\n", *lines[5:]]),
        "an extra column": "".join([*lines[:4], "3,0.5,0.5,0.5\n", *lines[5:]]),
        "a blank line": "".join([*lines[:4], "\n", *lines[4:]]),
        "a huge field": "".join([*lines[:4], "3,0.5," + "1" * 200_000 + "\n", *lines[5:]]),
        "a null byte": "".join([*lines[:4], "3,0.5,\0\n", *lines[5:]]),
        "an escape sequence": "".join([*lines[:4], "3,\x1b[2J,x\n", *lines[5:]]),
        "from another run": "".join([lines[0], *(f"{i},0.5,0.5\n" for i in range(30))]),
    }[how]


@pytest.mark.parametrize(
    "how",
    [
        "empty",
        "header only",
        "no such column",
        "the column twice",
        "a missing row",
        "an extra row",
        "a row twice",
        "rows swapped",
        "not a number",
        "nan",
        "infinite",
        "above 1",
        "below 0",
        "an extra column",
        "a blank line",
        "a huge field",
        "a null byte",
        "an escape sequence",
        "from another run",
    ],
)
def test_malformed_scores_are_refused(tmp_path: Path, how: str) -> None:
    folder, _ = finished(tmp_path / "a")
    file = folder / "test_episodes.csv"
    text = broken(file.read_text(), how)
    assert text != file.read_text()
    file.write_text(text)
    with pytest.raises(Refused) as refused:
        read_test(folder)
    (line,) = refused.value.mistakes
    assert line.startswith(str(file))
    assert line.isprintable()
    assert len(line) < 400


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    folder, _ = finished(tmp_path / "a")
    with open(folder / "test_episodes.csv", "ab") as file:
        file.truncate(MAX_BYTES + 1)  # takes no room on the disk
    with pytest.raises(Refused, match="more than 64 MB"):
        read_test(folder)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no such folder"):
        read_test(tmp_path / "a")
    folder, _ = finished(tmp_path / "b")
    with pytest.raises(Refused, match="is not a folder"):
        read_test(folder / "result.json")
    (folder / "test_episodes.csv").unlink()
    with pytest.raises(Refused, match="missing"):
        read_test(folder)
    (folder / "test_episodes.csv").mkdir()
    with pytest.raises(Refused, match="cannot be read"):
        read_test(folder)
    (folder / "result.json").unlink()
    with pytest.raises(Refused, match="holds no test"):
        read_test(folder)
