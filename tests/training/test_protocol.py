"""The protocol of `result.json`: what is published, and the name of the data."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from metarun.config.compose import compose, plain
from metarun.config.schema import RunConfig
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


OWN_PICTURES = ["data=image_folder", "debug=tiny", "data.size=8", "ways=2", "train_ways=2"]
OWN_PICTURES += ["backbone=mlp", "threads=1"]


def pictures(root: Path) -> Path:
    """Six classes of eight pictures; the colours depend on the name of the folder."""
    rng = np.random.default_rng(len(root.name))
    for name in "abcdef":
        (root / name).mkdir(parents=True)
        for k in range(8):
            colour = tuple(rng.integers(0, 256, 3).tolist())
            Image.new("RGB", (8, 8), colour).save(root / name / f"{k}.png")
    return root


@pytest.mark.parametrize(
    ("words", "name"), [([], "pets"), (["data.name=cats and dogs"], "cats and dogs")]
)
def test_own_pictures_have_the_name_of_their_folder_or_the_given_one(
    metarun: Metarun, tmp_path: Path, words: list[str], name: str
) -> None:
    root = pictures(tmp_path / "pets")
    code, out, err = metarun(*OWN_PICTURES, f"data.root={root}", *words, "out=run")
    assert code == 0, err
    saved = protocol("run")
    assert (saved["data"], saved["data_name"], saved["train_data"]) == ("image_folder", name, name)
    assert len(saved["split_sha256"]) == 64
    (row,) = (line for line in out.splitlines() if line.startswith(" protonet"))
    assert name in row
    assert "image_folder" not in row


def test_an_evaluation_on_other_pictures_has_their_name(metarun: Metarun, tmp_path: Path) -> None:
    pets, cells = pictures(tmp_path / "pets"), pictures(tmp_path / "cells")
    assert metarun(*OWN_PICTURES, f"data.root={pets}", "out=run")[0] == 0
    assert metarun("evaluate", "run=run", f"data.root={cells}", "name=cells")[0] == 0
    saved = protocol("run/evaluations/cells")
    assert (saved["data_name"], saved["train_data"]) == ("cells", "pets")
    result = json.loads(Path("run/evaluations/cells/result.json").read_text())
    assert result["val_of_same_task"] is False


@pytest.mark.parametrize("root", [".", "./", "../pets", "~/pets/"])
def test_the_name_is_that_of_the_folder_however_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str
) -> None:
    (tmp_path / "pets").mkdir()
    monkeypatch.chdir(tmp_path / "pets")
    monkeypatch.setenv("HOME", str(tmp_path))
    config = plain(compose(["data=image_folder", f"data.root={root}", "ways=2"]))
    assert RunConfig(**config).data_name == "pets"


@pytest.mark.parametrize("data", ["glyphs", "mini_imagenet", "clinc150"])
def test_other_data_sets_have_the_name_of_their_choice(data: str) -> None:
    assert RunConfig(**plain(compose([f"data={data}"]))).data_name == data
