"""Presets: each cell composes to the settings in `published_settings.csv` and can be built."""

from __future__ import annotations

import csv
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from metarun.config.compose import compose, plain
from metarun.config.groups import choices, conf_dir, files
from metarun.config.instantiate import blueprint
from metarun.config.published import BATCH_NORMS
from metarun.errors import Refused

BUILT = ("data", "backbone", "algo", "optimizer", "augmentation", "logger")
NAMES = [name for name in choices("experiment") if "/" in name]
with Path(__file__).with_name("published_settings.csv").open(encoding="utf-8") as table:
    SETTINGS = list(csv.DictReader(table))  # columns: dotted keys of the configuration
FULL = [row for row in SETTINGS if row["quick"] == "false"]
QUICK = [row for row in SETTINGS if row["quick"] == "true"]


def words(row: dict[str, str]) -> list[str]:
    """The overrides that select the cell of a row."""
    sizes = [f"ways={row['ways']}"] * (row["ways"] != "1") + [f"shots={row['shots']}"]
    return [f"experiment={row['experiment']}", *sizes, f"quick={row['quick']}"]


def label(row: dict[str, str]) -> str:
    return " ".join(words(row))


@cache
def configuration(*overrides: str) -> dict[str, Any]:
    return plain(compose(list(overrides)))


def value(config: dict[str, Any], key: str) -> Any:
    if key in ("backbone", "algo", "data"):
        return config["choices"][key]
    for part in key.split("."):
        config = config.get(part, {})
    return config


def file_of(name: str) -> dict[str, Any]:
    path = files("experiment")[name]
    assert path is not None
    return yaml.safe_load(path.read_text("utf-8"))


@pytest.mark.parametrize("row", SETTINGS, ids=label)
def test_a_cell_composes_to_its_published_settings(row: dict[str, str]) -> None:
    config = configuration(*words(row))
    for key, text in row.items():
        if key not in ("experiment", "quick") and text:
            found = value(config, key)
            assert found == (text if isinstance(found, str) else json.loads(text)), key
    algo, data = row["experiment"].split("/")
    assert (config["choices"]["algo"], config["choices"]["data"]) == (algo, data)


@pytest.mark.parametrize("name", ["demo", *NAMES])
def test_every_part_of_a_preset_is_valid(name: str) -> None:
    config = configuration(f"experiment={name}")
    for group in BUILT:
        blueprint(group, config[group])


@pytest.mark.parametrize("name", NAMES)
def test_the_tables_of_a_file_have_the_published_cells(name: str) -> None:
    content = file_of(name)
    published = content["published"]
    figures = [published[key] for key in BATCH_NORMS if key in published]
    cells = set(figures[0])
    assert published["source"]
    assert all(set(figure) == cells for figure in figures)
    assert all(1 <= len(values) <= 2 for figure in figures for values in figure.values())
    assert set(content.get("cells", {})) <= cells
    assert set(content.get("quick_cells", cells)) == cells
    rows = [row for row in FULL if row["experiment"] == name]
    by_ways = {f"{row['ways']}way_{row['shots']}shot".removeprefix("1way_") for row in rows}
    assert by_ways == cells


@pytest.mark.parametrize("row", QUICK, ids=label)
def test_quick_settings_are_shorter_and_tested_alike(row: dict[str, str]) -> None:
    size = ("experiment", "ways", "shots")
    (full,) = (other for other in FULL if all(other[key] == row[key] for key in size))
    for key in ("queries", "backbone", "backbone.filters", "algo.batch_norm", "data.rotations"):
        assert row[key] == full[key]
    assert int(row["steps"]) <= int(full["steps"]) / 4
    assert int(row["meta_batch"]) <= int(full["meta_batch"])
    assert int(row["eval_every"]) <= int(row["steps"]) / 2  # there is a checkpoint to choose


@pytest.mark.parametrize(("ways", "published"), [(5, 0.4), (20, 0.1)])
@pytest.mark.parametrize("shots", [1, 5])
def test_the_inner_rate_of_maml_is_converted(ways: int, shots: int, published: float) -> None:
    """The authors sum the loss over N·K items and divide by K; here it is a mean."""
    config = configuration("experiment=maml/omniglot", f"ways={ways}", f"shots={shots}")
    assert config["algo"]["inner_lr"] == pytest.approx(published * ways * shots / shots)


@pytest.mark.parametrize("algo", ["maml", "fomaml", "anil"])
@pytest.mark.parametrize("shots", [1, 5])
def test_the_inner_rate_is_converted_on_miniimagenet_too(algo: str, shots: int) -> None:
    config = configuration(f"experiment={algo}/mini_imagenet", f"shots={shots}")
    assert config["algo"]["inner_lr"] == pytest.approx(0.01 * config["ways"])


def test_the_published_figure_is_that_of_the_cell_and_of_its_batch_norm() -> None:
    preset = configuration("experiment=maml/omniglot", "ways=20")["preset"]
    assert (preset["cell"], preset["published"]) == ("20way_1shot", {"mean": 95.8, "ci95": 0.3})
    assert preset["protocol"]["queries"] == 1
    both = {
        kind: configuration("experiment=reptile/omniglot", f"algo.batch_norm={kind}")["preset"]
        for kind in ("transductive", "inductive")
    }
    assert both["transductive"]["published"]["mean"] == 97.68
    assert both["inductive"]["published"]["mean"] == 95.39


def test_a_cell_without_a_published_figure_has_the_settings_of_the_file() -> None:
    config = configuration("experiment=maml/omniglot", "ways=10", "shots=3")
    base = file_of("maml/omniglot")
    assert config["meta_batch"] == base["meta_batch"]
    assert config["algo"]["inner_steps"] == base["algo"]["inner_steps"]
    assert config["queries"] == 3
    assert config["preset"]["published"] is None


@pytest.mark.parametrize("other", ["data=glyphs", "algo=anil"])
def test_nothing_is_published_for_other_data_or_another_algorithm(other: str) -> None:
    assert configuration("experiment=maml/omniglot", other)["preset"] is None


def test_what_changes_the_published_setting_is_noted() -> None:
    changed = ("steps=7", "algo.inner_lr=0.1", "debug=tiny")
    preset = configuration("experiment=maml/omniglot", "seed=3", *changed)["preset"]
    assert preset["changes"] == list(changed)
    quick = configuration("experiment=protonet/omniglot", "quick=true")["preset"]
    assert quick["changes"] == ["train_ways=20", "optimizer.decay_every=500", "steps=2000"]


def test_several_presets_can_be_chosen() -> None:
    assert configuration("experiment=[demo,maml/omniglot]")["meta_batch"] == 32


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("maml/omniglot_20way_5shot", "maml/omniglot ways=20 shots=5"),
        ("maml/omniglot_5way_1shot_quick", "maml/omniglot ways=5 shots=1 quick=true"),
        ("maml/sinusoid_5shot", "maml/sinusoid shots=5"),
    ],
)
def test_the_name_of_a_former_preset_gets_the_present_words(old: str, new: str) -> None:
    with pytest.raises(Refused) as refused:
        compose([f"experiment={old}"])
    (line,) = refused.value.mistakes
    assert line == f"experiment={old}: no such choice; it is now experiment={new}"
    compose(f"experiment={new}".split())


def test_a_mistyped_preset_gets_the_nearest_name() -> None:
    with pytest.raises(Refused) as refused:
        compose(["experiment=maml/omniglo"])
    (line,) = refused.value.mistakes
    assert line.startswith("experiment=maml/omniglo: no such choice; did you mean maml/omniglot?")
    assert len(line) < 200  # not the list of all


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["quick=true"], "quick=true: needs a preset that has quick settings"),
        (
            ["experiment=anil/omniglot", "quick=true", "ways=5"],
            "quick=true: no quick settings for 5way_1shot; there are for 20way_1shot, 20way_5shot",
        ),
        (["quick=2"], "quick=2: should be a valid boolean"),
        (
            ["preset.cell=3"],
            "preset.cell: is set automatically; choose a preset with experiment=NAME",
        ),
    ],
)
def test_wrong_requests_are_refused(overrides: list[str], line: str) -> None:
    with pytest.raises(Refused) as refused:
        compose(overrides)
    assert list(refused.value.mistakes) == [line]


def test_files_lie_where_their_command_says() -> None:
    for file in (conf_dir() / "experiment").rglob("*.yaml"):
        name = file.relative_to(conf_dir() / "experiment").with_suffix("").as_posix()
        assert f"# metarun experiment={name}" in file.read_text("utf-8").splitlines()
        assert not re.search(r"_\d+shot", name)
