"""Terminal tables and CSV files; hostile names and formulas are escaped."""

from __future__ import annotations

import csv
import io
import shlex
from pathlib import Path

import pytest
from rich.console import Console
from scipy import stats

from metarun.report import tables
from metarun.report.ranking import Ranking
from tests.report.folders import lines, ranked, run
from tests.report.test_comparison import RETURN


def printed(ranking: Ranking, width: int = 160) -> list[str]:
    """The lines of the tables in a terminal of this width."""
    screen = Console(width=width, highlight=False)
    with screen.capture() as capture:
        tables.show(screen, ranking)
    return capture.get().splitlines()


def shown(ranking: Ranking, width: int = 160) -> list[str]:
    """The lines above the table over seeds, with single spaces."""
    text = "\n".join(printed(ranking, width)).partition("over seeds")[0]
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def over_seeds(ranking: Ranking) -> list[str]:
    """The lines of the table over seeds, with single spaces."""
    return lines(tables.seeds_table(ranking, 160))


def test_the_interval_over_seeds_is_students_t_over_their_means(sweep: Path) -> None:
    means = [0.90, 0.93, 0.91]
    for seed, mean in enumerate(means):
        run(sweep / str(seed), seed=seed, mean=mean, config={"seed": seed, "out": f"x{seed}"})
    ranking = ranked(sweep)
    low, high = stats.t.interval(0.95, 2, loc=sum(means) / 3, scale=stats.sem(means))
    (group,) = ranking.groups
    assert group.seeds == [0, 1, 2]
    assert group.test == pytest.approx((sum(means) / 3, (high - low) / 2))
    assert all(ranking.seed_group(entry) is group for entry in ranking.entries)
    assert f"91.33 ± {50 * (high - low):.2f} %" in over_seeds(ranking)[-1]


def test_seed_groups_contain_only_runs_that_differ_in_the_seed(sweep: Path) -> None:
    for i, (shots, seed, mean) in enumerate(
        [(1, 0, 0.5), (5, 0, 0.8), (1, 1, 0.6), (5, 1, 0.9), (20, 1, 0.1), (1, 1, 0.4)]
    ):
        config = {"seed": seed, "train_shots": shots, "logger": {"group": str(i)}}
        command = f"metarun train_shots={shots} seed={seed}"
        run(sweep / str(i), seed=seed, mean=mean, config=config, command=command)
    more = {"command": "metarun train_shots=1 seed=2", "config": {"seed": 2, "train_shots": 1}}
    run(sweep / "6", seed=2, status="failed", test=None, **more)
    five_shot, one_shot = over_seeds(ranked(sweep))[-2:]
    assert five_shot.startswith("5 85.00 ±")
    assert one_shot.startswith("1 55.00 ±")
    assert one_shot.endswith(" 0 1")


def test_runs_with_different_protocols_form_no_seed_group(sweep: Path) -> None:
    protocol = {"data": "glyphs", "ways": 5, "shots": 1, "batch_norm": "transductive"}
    run(sweep / "0", seed=0)
    run(sweep / "1", seed=1, protocol=protocol)
    assert ranked(sweep).groups == []
    assert tables.seeds_table(ranked(sweep), 160) is None


def test_shared_facts_are_in_the_title_only(sweep: Path) -> None:
    run(sweep / "0", command="metarun algo.lr=1")
    run(sweep / "1", command="metarun algo.lr=2", status="failed", test=None, val=None)
    title, head, _, *rows = shown(ranked(sweep))
    assert title == "protonet, glyphs, 5-way 1-shot, inductive batch norm"
    assert head == "run algo.lr test validation steps time status"
    assert rows == [
        "0 1 90.00 ± 1.00 % 90.00 ± 1.00 % 10 1:01 completed",
        "1 2 – – 10 1:01 failed",
    ]


def test_squared_errors_are_not_percentages(sweep: Path) -> None:
    run(sweep / "0", score="mse", mean=0.12345)
    assert "0.1235 ± 0.0100" in shown(ranked(sweep))[-1]


def test_a_custom_headline_in_table_and_csv(sweep: Path) -> None:
    values = {"score": "return", "protocol": {"headline": RETURN.as_dict()}}
    for seed, mean in enumerate((-7.5, -2.5)):
        run(sweep / str(seed), seed=seed, mean=mean, **values)
    ranking = ranked(sweep)
    assert "-2.5000 ± 0.0100" in shown(ranking)[-2]
    assert "-5.0000 ± " in over_seeds(ranking)[-1]
    best, second = csv.DictReader(io.StringIO(tables.as_csv(ranking)))
    assert (best["score"], best["test"], second["test"]) == ("return", "-2.5", "-7.5")


def test_markup_in_a_name_is_not_interpreted(sweep: Path) -> None:
    run(sweep / "[red]a[/red]")
    run(sweep / "[/nothing]")
    assert any("[red]a[/red]" in line for line in shown(ranked(sweep)))


def test_csv_contains_fractions_and_every_run(sweep: Path) -> None:
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
def test_formulas_in_csv_are_escaped(sweep: Path, text: str) -> None:
    run(sweep / "0", status="failed", error=text)
    run(sweep / "1", command="metarun shots=-1")
    for row in csv.DictReader(io.StringIO(tables.as_csv(ranked(sweep)))):
        assert row["error"] in ("", f"'{text}")


def test_formulas_in_csv_titles_are_escaped(sweep: Path) -> None:
    for value in "12":
        run(sweep / value, command=shlex.join(["metarun", f"@SUM(A1:A9)={value}"]))
    titles = next(csv.reader(tables.as_csv(ranked(sweep)).splitlines()))
    assert titles[:3] == ["run", "status", "'@SUM(A1:A9)"]


def test_the_terminal_table_has_a_limited_number_of_keys(sweep: Path) -> None:
    for i in range(2):
        words = " ".join(f"key{k}={i}" for k in range(12 if i else 3))
        run(sweep / str(i), mean=i / 2, command=f"metarun {words}")
    table = shown(ranked(sweep))
    head = next(line for line in table if line.startswith("run ")).split()
    assert head[1:9] == [f"key{k}" for k in range(8)]
    assert table[-1] == "also in the CSV: key8, key9, key10, key11"
    assert "key11" in tables.as_csv(ranked(sweep)).splitlines()[0]


def test_keys_of_the_protocol_are_preferred_in_the_terminal_table(sweep: Path) -> None:
    for i, norm in enumerate(("inductive", "transductive")):
        words = " ".join(f"a{key}={i}" for key in range(20))
        run(sweep / str(i), command=f"metarun {words} algo.batch_norm={norm}")
    assert "algo.batch_norm" in shown(ranked(sweep))[1]


def test_control_characters_in_a_name_are_removed(sweep: Path) -> None:
    run(sweep / "a\x1b[2Jb")
    assert "\x1b" not in "".join(shown(ranked(sweep)))


def test_different_batch_norm_has_a_column(sweep: Path) -> None:
    protocol = {"data": "glyphs", "ways": 5, "shots": 1, "batch_norm": "transductive"}
    run(sweep / "0", command="metarun algo=protonet")
    run(sweep / "1", command="metarun algo=maml", protocol=protocol)
    head = shown(ranked(sweep))[1]
    assert head == "run algo batch norm test validation steps time status"


def mixed(folder: Path) -> Ranking:
    """Runs that differ in many keys, with long names and published figures."""
    names = ("maml_omniglot_20way_1shot_with_the_settings_of_the_paper", "b", "c/d/e", "f")
    for i, name in enumerate(names):
        task = {"data": ("omniglot", "glyphs")[i % 2], "ways": 5, "shots": 1 + 4 * (i > 1)}
        words = " ".join(f"algo.setting_{k}={i * k}" for k in range(1, 15))
        algo = ("maml", "matchingnet")[i % 2]
        published = {"accuracy": {"mean": 0.958, "ci95": 0.003}, "source": f"table {i}"}
        protocol = task | {"batch_norm": "inductive", "published": published}
        command = f"metarun algo={algo} data={task['data']} shots={task['shots']} {words}"
        run(folder / name, command=command, protocol=protocol, config={"algo.setting_1": i})
    return ranked(folder)


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_tables_fit_their_terminal(sweep: Path, width: int) -> None:
    lines_of_table = [line for line in printed(mixed(sweep), width) if line.startswith(" ")]
    assert max(map(len, lines_of_table)) <= width
    assert sum("90.00 ± 1.00 %   " in line for line in lines_of_table) == 4  # no figure is wrapped
    heads = next(line for line in lines_of_table if line.startswith(" run")).split()
    assert {"run", "test", "validation"} <= set(heads)
    if width >= 80:
        assert heads[1:2] == ["algo"]
    if width >= 100:
        assert heads[1:4] == ["algo", "data", "shots"]


def test_keys_without_a_column_are_named_and_in_the_csv(sweep: Path) -> None:
    ranking = mixed(sweep)
    (line,) = (line for line in printed(ranking, 80) if line.startswith("also in the CSV: "))
    named = line.removeprefix("also in the CSV: ").split(", ")
    assert {f"algo.setting_{k}" for k in range(2, 15)} < set(named)
    header = next(csv.reader(tables.as_csv(ranking).splitlines()))
    assert set(named) < set(header)


def test_notes_on_published_figures_are_not_folded_into_the_table(sweep: Path) -> None:
    assert "published: table 2" in printed(mixed(sweep), 60)


def test_the_table_over_seeds_keeps_its_keys(sweep: Path) -> None:
    for i in range(8):
        algo, seed = ("maml", "matchingnet")[i % 2], i // 2
        command = f"metarun algo={algo} seed={seed}"
        run(sweep / str(i), seed=seed, command=command, config={"seed": seed, "algo": algo})
    lines_of_table = printed(ranked(sweep), 60)
    start = lines_of_table.index(next(li for li in lines_of_table if li.startswith("over seeds")))
    assert max(map(len, lines_of_table[start:])) <= 60
    assert sum("matchingnet   90.00 ± 0.00 %" in line for line in lines_of_table[start:]) == 1


def test_tables_say_how_runs_are_ranked(sweep: Path) -> None:
    run(sweep / "0", mean=0.6)
    assert shown(ranked(sweep))[0].endswith("inductive batch norm")
    run(sweep / "1", mean=0.5)
    assert shown(ranked(sweep))[0].endswith("; ranked by validation")


def test_own_pictures_have_a_column_with_their_names(sweep: Path) -> None:
    for i, name in enumerate(("pets", "cells")):
        protocol = {"data": "image_folder", "data_name": name, "ways": 5, "shots": 1}
        config = {"choices": {"data": "image_folder"}, "data": {"root": f"/a/{name}"}}
        command = f"metarun data=image_folder data.root=/a/{name}"
        run(sweep / str(i), protocol=protocol, command=command, config=config)
    head, _, *rows = shown(ranked(sweep))[1:]
    assert head.startswith("run data test")
    assert [row.split()[1] for row in rows] == ["pets", "cells"]
    rows = csv.DictReader(io.StringIO(tables.as_csv(ranked(sweep))))
    assert [row["data"] for row in rows] == ["pets", "cells"]
