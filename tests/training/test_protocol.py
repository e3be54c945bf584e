"""`protocol.published` of `result.json`, and where a person sees it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metarun.runs.results import published
from tests.conftest import OWN, TINY

Metarun = Callable[..., tuple[int, str, list[str]]]
NAME = "nearest_item/blobs"  # published figures belong to ALGO/DATA


@pytest.fixture
def preset(tmp_path: Path) -> list[str]:
    """The words that choose a preset with a published figure for 5-way 1-shot."""
    file = tmp_path / "conf" / "experiment" / f"{NAME}.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(
        "# @package _global_\n"
        "defaults: [override /algo: nearest_item, override /data: blobs]\n"
        "quick_cells: {5way_1shot: {log_every: 2, meta_batch: 1}}\n"
        "published:\n"
        "  source: Nobody 2017, table 1\n"
        "  inductive: {5way_1shot: [98.7, 0.4]}\n"
        "  protocol: {queries: 3, test_episodes: 600}\n"
        "  notes: [pictures have 1 bit]\n"
    )
    tree = f"hydra.searchpath=[file://{OWN}]"
    tiny = [word for word in TINY[2:] if not word.startswith("data=")]
    return ["--config-dir", str(tmp_path / "conf"), tree, f"experiment={NAME}", *tiny]


def protocol(run: str) -> dict[str, Any]:
    return json.loads(Path(run, "result.json").read_text())["protocol"]


def test_a_result_has_the_published_figure_and_every_difference(
    metarun: Metarun, preset: list[str]
) -> None:
    code, out, err = metarun(*preset, "out=run", "quick=true", "seed=3")
    assert code == 0, err
    assert protocol("run")["published"] == {
        "accuracy": {"mean": 0.987, "ci95": 0.004},
        "source": "Nobody 2017, table 1",
        "differences": [
            "test_episodes=8 (published: 600)",
            "meta_batch=1",
            "debug=tiny",
            "backbone.filters=8",
            "paper: pictures have 1 bit",
        ],
    }
    assert "98.7 ± 0.4 %" in out
    assert "published: Nobody 2017, table 1; differences: test_episodes=8" in out


def test_other_shots_have_no_published_setting_and_no_preset_no_entry(
    metarun: Metarun, preset: list[str]
) -> None:
    assert metarun(*preset, "out=two", "shots=2")[0] == 0
    assert protocol("two")["published"] == "no published setting"
    assert metarun(*TINY, "algo=nearest_item", "out=bare")[0] == 0
    assert protocol("bare")["published"] is None
    assert "published" not in metarun("report", "bare")[1]


def test_an_evaluation_keeps_the_figure_only_for_the_same_ways_and_shots(
    metarun: Metarun, preset: list[str]
) -> None:
    assert metarun(*preset, "out=run")[0] == 0
    folder = ["--config-dir", str(OWN)]
    for words, name in (["queries=5"], "same"), (["shots=2"], "other"):
        assert metarun("evaluate", "run=run", f"name={name}", *words, *folder)[0] == 0
    same = protocol("run/evaluations/same")["published"]
    assert "queries=5 (published: 3)" in same["differences"]
    assert protocol("run/evaluations/other")["published"] == "no published setting"


def test_tables_and_the_page_show_it_beside_the_reached_figure(
    metarun: Metarun, preset: list[str]
) -> None:
    assert metarun(*preset, "out=runs/a")[0] == 0
    assert metarun(*TINY, "algo=nearest_item", "out=runs/b")[0] == 0
    _, out, _ = metarun("report", "runs")
    assert "98.7 ± 0.4 %" in out
    assert "published: Nobody 2017, table 1" in " ".join(out.split())
    lines = Path("runs/report.csv").read_text("utf-8").splitlines()
    rows = {row["run"]: row for row in csv.DictReader(lines)}
    assert rows["a"]["published"] == "98.7 ± 0.4 %"
    assert "paper: pictures have 1 bit" in rows["a"]["published_note"]
    assert rows["b"]["published"] == ""
    page = Path("runs/report.html").read_text("utf-8")
    assert "98.7 ± 0.4 %" in page
    assert "paper: pictures have 1 bit" in page


@pytest.mark.parametrize("content", [3, [], {}, {"accuracy": {"mean": "x"}, "differences": 3}])
def test_a_malformed_entry_is_shown_as_none(content: Any) -> None:
    figure, _ = published({"protocol": {"published": content}, "test": {"accuracy": {}}})
    assert figure in ("", "–")


def test_runs_with_and_without_published_figures_are_compared(
    metarun: Metarun, preset: list[str]
) -> None:
    assert metarun(*preset, "out=a")[0] == 0
    assert metarun(*preset, "out=b", "steps=3")[0] == 0
    assert metarun(*TINY, "algo=nearest_item", "out=c")[0] == 0
    code, _, err = metarun("compare", "a", "b", "c")
    assert code == 0, err
