"""The best first; what differs is told; seeds are put together; a spreadsheet gets no formula."""

from __future__ import annotations

import csv
import io
import shlex
from pathlib import Path

import pytest
from PIL import Image
from scipy import stats

from metarun.display import console
from metarun.report import picture, ranking, runs, tables
from metarun.report.ranking import Ranking
from metarun.report.runs import Stat
from tests.report.folders import run


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return tmp_path / "sweep"


def ranked(folder: Path) -> Ranking:
    return ranking.rank(runs.find([folder]))


def lines(table: object) -> list[str]:
    screen = console()
    with screen.capture() as capture:
        screen.print(table if table is not None else "none")
    return [" ".join(line.split()) for line in capture.get().splitlines() if line.strip()]


def test_the_best_comes_first_and_what_has_no_figure_last(sweep: Path) -> None:
    run(sweep / "0", mean=0.5)
    run(sweep / "1", mean=0.9)
    run(sweep / "2", status="failed", test=None, val=None, error="no luck")
    run(sweep / "3", mean=0.2, score="mse")
    run(sweep / "4", mean=0.1, score="mse")
    run(sweep / "5", status="interrupted", test=None)
    order = [e.name for e in ranked(sweep).entries]
    assert order == ["1", "0", "4", "3", "5", "2"]  # accuracies, then errors: the least is best


def test_typed_keys_that_differ_are_columns(sweep: Path) -> None:
    same = "metarun data=glyphs out=x hydra.sweep.dir=y"
    run(sweep / "0", command=f"{same} steps=1 algo=maml", config={"steps": 1})
    run(sweep / "1", command=f"{same} steps=5 +tags=[a]", config={"steps": 5})
    found = ranked(sweep)
    assert found.varied == ["steps", "algo", "tags"]
    assert [found.value(e, "steps") for e in found.entries] == ["1", "5"]
    assert [found.value(e, "algo") for e in found.entries] == ["maml", "–"]


def test_a_key_that_was_typed_once_has_the_others_default(sweep: Path) -> None:
    run(sweep / "0", mean=0.8, command="metarun algo.lr=0.10", config={"algo": {"lr": 0.1}})
    run(sweep / "1", mean=0.7, command="metarun", config={"algo": {"lr": 0.5}})
    found = ranked(sweep)
    assert found.varied == ["algo.lr"]
    assert [found.value(e, "algo.lr") for e in found.entries] == ["0.1", "0.5"]


def test_the_interval_over_seeds_is_students_t_over_their_means(sweep: Path) -> None:
    means = [0.90, 0.93, 0.91]
    for seed, mean in enumerate(means):
        run(sweep / str(seed), seed=seed, mean=mean, config={"seed": seed, "out": f"x{seed}"})
    found = ranked(sweep)
    low, high = stats.t.interval(0.95, 2, loc=sum(means) / 3, scale=stats.sem(means))
    (group,) = found.groups
    assert group.seeds == [0, 1, 2]
    assert group.test == pytest.approx((sum(means) / 3, (high - low) / 2))
    assert all(found.over(entry) is group for entry in found.entries)
    assert f"91.33 ± {50 * (high - low):.2f} %" in lines(tables.seeds_table(found))[-1]


def test_only_what_differs_in_nothing_but_the_seed_is_put_together(sweep: Path) -> None:
    for i, (shots, seed, mean) in enumerate(
        [(1, 0, 0.5), (5, 0, 0.8), (1, 1, 0.6), (5, 1, 0.9), (20, 1, 0.1), (1, 1, 0.4)]
    ):
        config = {"seed": seed, "train_shots": shots, "logger": {"group": str(i)}}
        command = f"metarun train_shots={shots} seed={seed}"
        run(sweep / str(i), seed=seed, mean=mean, config=config, command=command)
    more = {"command": "metarun train_shots=1 seed=2", "config": {"seed": 2, "train_shots": 1}}
    run(sweep / "6", seed=2, status="failed", test=None, **more)
    five, one = lines(tables.seeds_table(ranked(sweep)))[-2:]
    assert five.startswith("5 85.00 ±")
    assert one.startswith("1 55.00 ±")
    assert one.endswith(" 0 1")


def test_of_two_runs_with_one_seed_the_better_is_not_picked(sweep: Path) -> None:
    run(sweep / "0", seed=0, mean=0.5)
    run(sweep / "1", seed=0, mean=0.9)  # on another machine, say
    run(sweep / "2", seed=1, mean=0.7)
    (group,) = ranked(sweep).groups
    assert [e.name for e in group.entries] == ["0", "2"]
    assert group.test.mean == pytest.approx(0.6)


def test_other_protocols_are_other_settings(sweep: Path) -> None:
    protocol = {"data": "glyphs", "ways": 5, "shots": 1, "batch_norm": "transductive"}
    run(sweep / "0", seed=0)
    run(sweep / "1", seed=1, protocol=protocol)
    assert ranked(sweep).groups == []
    assert tables.seeds_table(ranked(sweep)) is None


def test_a_table_says_once_what_all_share(sweep: Path) -> None:
    run(sweep / "0", command="metarun algo.lr=1")
    run(sweep / "1", command="metarun algo.lr=2", status="failed", test=None, val=None)
    title, head, _, *rows = lines(tables.as_table(ranked(sweep)))
    assert title == "protonet, glyphs, 5-way 1-shot, inductive batch norm"
    assert head == "run algo.lr test validation steps time status"
    assert rows == [
        "0 1 90.00 ± 1.00 % 90.00 ± 1.00 % 10 1:01 completed",
        "1 2 – – 10 1:01 failed",
    ]


def test_squared_errors_are_shown_as_they_are(sweep: Path) -> None:
    run(sweep / "0", score="mse", mean=0.12345)
    assert "0.1235 ± 0.0100" in lines(tables.as_table(ranked(sweep)))[-1]


def test_markup_in_a_name_is_text(sweep: Path) -> None:
    run(sweep / "[red]a[/red]")
    run(sweep / "[/nothing]")
    assert any("[red]a[/red]" in line for line in lines(tables.as_table(ranked(sweep))))


def test_csv_holds_fractions_and_every_run(sweep: Path) -> None:
    run(sweep / "0", seed=0, mean=0.5, config={"seed": 0})
    run(sweep / "1", seed=1, mean=0.7, config={"seed": 1})
    run(sweep / "2", status="failed", test=None, val=None, error='no "luck", so far')
    best, second, failed = csv.DictReader(io.StringIO(tables.as_csv(ranked(sweep))))
    assert (best["run"], best["test"], best["test_ci95"], best["seed"]) == ("1", "0.7", "0.01", "1")
    assert float(best["over_seeds"]) == float(second["over_seeds"]) == pytest.approx(0.6)
    assert best["seeds"] == "0 1"
    assert (failed["status"], failed["test"], failed["seeds"]) == ("failed", "", "")
    assert failed["error"] == 'no "luck", so far'


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "+1+1", "-cmd", "@SUM(A1)"])
def test_csv_holds_no_formula(sweep: Path, text: str) -> None:
    run(sweep / "0", status="failed", error=text)
    run(sweep / "1", command="metarun shots=-1")
    for row in csv.DictReader(io.StringIO(tables.as_csv(ranked(sweep)))):
        assert row["error"] in ("", f"'{text}")


def test_a_title_of_the_csv_is_no_formula(sweep: Path) -> None:
    for value in "12":
        run(sweep / value, command=shlex.join(["metarun", f"@SUM(A1:A9)={value}"]))
    titles = next(csv.reader(tables.as_csv(ranked(sweep)).splitlines()))
    assert titles[:3] == ["run", "status", "'@SUM(A1:A9)"]


@pytest.mark.ink
def test_a_picture_of_the_ranking(sweep: Path, tmp_path: Path) -> None:
    for i in range(120):
        run(sweep / str(i), seed=i % 2, mean=i / 200, command=f"metarun $x$={i // 2} seed={i % 2}")
    drawn = picture.draw(ranked(sweep), "a_$sweep", tmp_path / "a.png")
    with Image.open(drawn) as image:
        assert image.width > 500
        assert image.height < 2500  # the best 50 lines


def test_no_picture_without_a_figure(sweep: Path, tmp_path: Path) -> None:
    run(sweep / "0", status="failed", test=None)
    assert picture.draw(ranked(sweep), "a", tmp_path / "a.png") is None


def test_a_run_alone_has_no_columns_but_its_own(sweep: Path) -> None:
    found = ranked(run(sweep / "0"))
    assert found.varied == found.differing == []
    assert found.entries[0].test == Stat(0.9, 0.01)


def test_a_run_of_which_nothing_is_known_adds_no_columns(sweep: Path) -> None:
    run(sweep / "0", command="metarun algo.lr=1")
    run(sweep / "1", command="metarun algo.lr=1")
    (sweep / "1/result.json").write_text("{")
    assert ranked(sweep).varied == []


def test_without_a_configuration_words_tell_settings_apart(sweep: Path) -> None:
    for seed in (0, 1):
        run(sweep / str(seed), seed=seed, command=f"metarun algo.lr={seed} seed={seed}")
    assert ranked(sweep).groups == []


def test_a_screen_has_room_for_some_keys(sweep: Path) -> None:
    for i in range(2):
        words = " ".join(f"key{k}={i}" for k in range(12 if i else 3))
        run(sweep / str(i), mean=i / 2, command=f"metarun {words}")
    table = lines(tables.as_table(ranked(sweep)))
    head = next(line for line in table if line.startswith("run ")).split()
    assert head[1:9] == [f"key{k}" for k in range(8)]
    assert table[-1] == "in the CSV also: key8, key9, key10, key11"
    assert "key11" in tables.as_csv(ranked(sweep)).splitlines()[0]


def test_a_screen_has_room_for_how_a_run_was_tested(sweep: Path) -> None:
    for i, norm in enumerate(("inductive", "transductive")):
        words = " ".join(f"a{key}={i}" for key in range(20))
        run(sweep / str(i), command=f"metarun {words} algo.batch_norm={norm}")
    assert "algo.batch_norm" in lines(tables.as_table(ranked(sweep)))[1]


def test_a_name_moves_no_cursor(sweep: Path) -> None:
    run(sweep / "a\x1b[2Jb")
    assert "\x1b" not in "".join(lines(tables.as_table(ranked(sweep))))


def test_a_title_repeats_no_column(sweep: Path) -> None:
    """One learner failed before it could say what it is: the title is not of the other alone."""
    run(sweep / "0", command="metarun algo=protonet")
    refused = {"status": "failed", "test": None, "val": None, "protocol": None}
    run(sweep / "1", **refused, run={"command": "metarun algo=mamml"})
    assert ranked(sweep).shared == "glyphs, 5-way 1-shot, inductive batch norm"


def test_learners_that_normalise_otherwise_are_told_apart(sweep: Path) -> None:
    protocol = {"data": "glyphs", "ways": 5, "shots": 1, "batch_norm": "transductive"}
    run(sweep / "0", command="metarun algo=protonet")
    run(sweep / "1", command="metarun algo=maml", protocol=protocol)
    head = lines(tables.as_table(ranked(sweep)))[1]
    assert head == "run algo batch norm test validation steps time status"
