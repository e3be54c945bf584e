"""Presets: each composes, is what it says, and can be built."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest

from metarun.config.compose import compose, plain
from metarun.config.groups import choices, conf_dir
from metarun.config.instantiate import blueprint
from metarun.errors import Refused

ALL = choices("experiment")
CELLS = [name for name in ALL if re.search(r"/omniglot_\d+way_\dshot$", name)]
MINI = [name for name in ALL if re.search(r"/mini_imagenet_\d+way_\dshot$", name)]
BUILT = ("data", "backbone", "algo", "optimizer", "augmentation", "logger")
# What a published figure depends on besides how long one trains: a quick variant keeps it.
PROTOCOL = ("ways", "shots", "queries", "data", "backbone", "precision")


@cache
def preset(name: str) -> dict[str, Any]:
    return plain(compose([f"experiment={name}"]))


@pytest.mark.parametrize("name", ALL)
def test_it_composes_and_every_part_of_it_is_valid(name: str) -> None:
    config = preset(name)
    for group in BUILT:
        blueprint(group, config[group])
    learner = name.partition("/")[0]
    assert config["choices"]["algo"] == (learner if "/" in name else "protonet")


@pytest.mark.parametrize("name", CELLS + MINI)
def test_its_name_is_its_task_and_its_file_has_the_published_figure(name: str) -> None:
    config = preset(name)
    ways, shots = map(int, re.findall(r"(\d+)(?:way|shot)", name))
    assert (config["ways"], config["shots"]) == (ways, shots)
    data, title = ("omniglot", "Omniglot") if name in CELLS else ("mini_imagenet", "miniImageNet")
    assert config["choices"]["data"] == data
    assert re.search(rf"{title} {ways}-way {shots}-shot: \d\d\.\d", ALL[name])


@pytest.mark.parametrize("name", [name for name in ALL if name.endswith("_quick")])
def test_a_quick_variant_is_shorter_and_tested_alike(name: str) -> None:
    full, quick = (preset(n) for n in (name.removesuffix("_quick"), name))
    assert {k: full[k] for k in PROTOCOL} == {k: quick[k] for k in PROTOCOL}
    assert full["algo"]["batch_norm"] == quick["algo"]["batch_norm"]
    assert quick["steps"] <= full["steps"] / 4
    assert quick["meta_batch"] <= full["meta_batch"]
    assert quick["eval_every"] <= quick["steps"] / 2  # there is a checkpoint to choose


def test_every_cell_has_a_quick_variant() -> None:
    assert CELLS
    assert {f"{name}_quick" for name in CELLS} <= set(ALL)


@pytest.mark.parametrize(("ways", "published"), [(5, 0.4), (20, 0.1)])
@pytest.mark.parametrize("shots", [1, 5])
def test_the_inner_rate_of_maml_is_converted(ways: int, shots: int, published: float) -> None:
    """Trap: the authors sum the loss over N·K items and divide by K; here it is a mean."""
    config = preset(f"maml/omniglot_{ways}way_{shots}shot")
    items = ways * shots
    assert config["algo"]["inner_lr"] == pytest.approx(published * items / shots)


@pytest.mark.parametrize("algo", ["maml", "fomaml", "anil"])
@pytest.mark.parametrize("shots", [1, 5])
def test_the_inner_rate_is_converted_on_miniimagenet_too(algo: str, shots: int) -> None:
    config = preset(f"{algo}/mini_imagenet_5way_{shots}shot")
    assert config["algo"]["inner_lr"] == pytest.approx(0.01 * config["ways"])


def test_every_learner_with_a_published_miniimagenet_figure_has_its_presets() -> None:
    learners = ("maml", "fomaml", "anil", "meta_sgd", "reptile", "protonet", "matchingnet")
    both = {
        f"{a}/mini_imagenet_5way_{k}shot"
        for a in (*learners, "relationnet", "lstm")
        for k in (1, 5)
    }
    assert both <= set(MINI)


def test_what_is_typed_wins_over_a_preset() -> None:
    typed = ["experiment=maml/omniglot_20way_1shot", "algo.inner_lr=0.3", "steps=7"]
    found = plain(compose([*typed, "backbone=conv4"]))
    assert (found["algo"]["inner_lr"], found["steps"]) == (0.3, 7)
    assert found["choices"]["backbone"] == "conv4"


def test_a_preset_of_a_folder_can_be_mistyped_and_several_can_be_chosen() -> None:
    with pytest.raises(Refused) as refused:
        compose(["experiment=maml/omniglot_5way_1sho"])
    (line,) = refused.value.mistakes
    assert line.startswith(
        "experiment=maml/omniglot_5way_1sho: no such choice; did you mean maml/omniglot_5way_1shot?"
    )
    assert len(line) < 200  # not the list of all
    both = plain(compose(["experiment=[demo,maml/omniglot_5way_1shot]"]))
    assert both["meta_batch"] == 32


def test_files_lie_where_their_command_says() -> None:
    for file in (conf_dir() / "experiment").rglob("*.yaml"):
        name = file.relative_to(conf_dir() / "experiment").with_suffix("").as_posix()
        assert f"# metarun experiment={name}" in file.read_text("utf-8").splitlines()
        assert name in ALL
