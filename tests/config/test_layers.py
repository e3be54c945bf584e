"""The order in which settings win: recommended, preset, cell, debug, command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hydra.types import RunMode
from omegaconf import OmegaConf

from metarun.config.compose import compose, plain
from metarun.config.groups import choices, hydra_for
from metarun.config.published import cell_of
from metarun.config.schema import Start
from metarun.errors import Refused

CONF = Path(__file__).parents[2] / "conf"


def composed(*overrides: str, folder: str | None = None) -> dict[str, Any]:
    return plain(compose(list(overrides), folder))


def test_an_algorithm_recommends_choices_and_values_of_other_groups() -> None:
    config = composed("algo=reptile")
    assert config["choices"]["backbone"] == "conv4_strided"
    assert config["choices"]["optimizer"] == "sgd"
    assert (config["optimizer"]["lr"], config["steps"], config["train_shots"]) == (1.0, 3000, 10)


def test_on_certain_data_it_recommends_something_else() -> None:
    config = composed("algo=maml", "data=sinusoid")
    assert (config["algo"]["inner_lr"], config["steps"]) == (0.01, 10000)
    assert composed("algo=maml")["algo"]["inner_lr"] == 0.4


def test_data_wins_over_the_algorithm() -> None:
    assert composed("algo=maml", "data=sinusoid")["choices"]["backbone"] == "mlp_regression"
    assert composed("algo=lstm", "data=clinc150")["backbone"]["hidden"] == 0


@pytest.mark.parametrize("data", ["glyphs", "clinc150", "banking77", "omniglot"])
def test_what_an_algorithm_recommends_on_any_data_wins_over_the_data(data: str) -> None:
    config = composed("algo=nearest_centroid", f"data={data}")
    assert (config["choices"]["backbone"], config["steps"]) == ("identity", 0)
    typed = composed("algo=nearest_centroid", f"data={data}", "backbone=mlp")
    assert typed["choices"]["backbone"] == "mlp"


@pytest.mark.parametrize("data", ["clinc150", "banking77"])
@pytest.mark.parametrize(
    ("backbone", "hidden"), [("mlp", [256, 128, 64, 64]), ("mlp_regression", [40, 40])]
)
def test_keys_recommended_for_one_backbone_do_not_reach_another(
    data: str, backbone: str, hidden: list[int]
) -> None:
    config = composed("algo=lstm", f"data={data}", f"backbone={backbone}")
    assert config["backbone"]["hidden"] == hidden
    assert composed("algo=lstm", f"data={data}", "backbone=ngrams")["backbone"]["hidden"] == 0
    assert composed("algo=protonet", f"data={data}")["backbone"]["hidden"] == 256


def test_keys_recommended_for_one_optimizer_do_not_reach_another() -> None:
    assert composed("algo=reptile", "optimizer=adam")["optimizer"] == composed()["optimizer"]
    assert composed("algo=reptile", "optimizer=sgd")["optimizer"]["lr"] == 1.0
    assert composed("algo=reptile", "optimizer=adam", "optimizer.lr=0.1")["optimizer"]["lr"] == 0.1


def test_a_preset_that_chooses_another_backbone_has_none_of_the_recommended_keys(
    tmp_path: Path,
) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\n"
        "defaults: [override /algo: lstm, override /data: clinc150, override /backbone: mlp]\n"
    )
    config = composed("experiment=mine", folder=str(tmp_path))
    assert config["choices"]["backbone"] == "mlp"
    assert config["backbone"]["hidden"] == [256, 128, 64, 64]


@pytest.mark.parametrize(
    ("preset", "word"),
    [
        ("anil/mini_imagenet", "backbone=mlp"),  # has no filters
        ("maml/mini_imagenet", "backbone=resnet12"),
        ("reptile/omniglot", "optimizer=adam"),  # a rate of 1.0 is for SGD
        ("protonet/omniglot", "optimizer=sgd"),
    ],
)
def test_a_preset_changes_no_setting_of_another_choice_than_its_own(preset: str, word: str) -> None:
    group, _, choice = word.partition("=")
    config = composed(f"experiment={preset}", word)
    own = plain(OmegaConf.load(CONF / group / f"{choice}.yaml"))
    assert {key: config[group][key] for key in own} == own
    assert set(config[group]) - set(own) <= set(Start.model_fields)


def test_nor_does_its_cell(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults: [override /backbone: conv4]\n"
        "cells: {5way_1shot: {backbone.filters: 8, steps: 7}}\n"
    )
    own = composed("experiment=mine", folder=str(tmp_path))
    other = composed("experiment=mine", "backbone=mlp", folder=str(tmp_path))
    assert (own["backbone"]["filters"], own["steps"]) == (8, 7)
    assert "filters" not in other["backbone"]
    assert other["steps"] == 7


def test_data_of_ones_own_change_no_setting_of_another_choice_than_their_own() -> None:
    config = composed("data=point", "algo=maml", "backbone=mlp_regression", folder="tests/own")
    assert config["backbone"]["hidden"] == [40, 40]
    config = composed("data=point", "algo=maml", folder="tests/own")
    assert config["backbone"]["hidden"] == [16]


@pytest.mark.parametrize("file", sorted(CONF.glob("*/**/*.yaml")), ids=lambda file: str(file.stem))
def test_a_file_names_the_choice_that_its_settings_of_a_group_are_for(file: Path) -> None:
    text = file.read_text()
    for group in {"backbone", "optimizer"} - {file.parent.name}:
        # the norm of gradients is limited whatever the optimizer
        if re.search(rf"(^|[ {{]){group}(:$|\.(?!clip))", text, re.MULTILINE):
            assert re.search(rf"{group}: \w", text), f"{file} sets keys of {group}"


def test_each_job_of_a_sweep_has_the_keys_recommended_for_its_backbone() -> None:
    loader = hydra_for(None).config_loader
    typed = ["algo=lstm", "data=clinc150", "backbone=ngrams,mlp"]
    master = loader.load_configuration("config", typed, RunMode.MULTIRUN)
    for backbone, hidden in (("ngrams", 0), ("mlp", [256, 128, 64, 64]), ("ngrams", 0)):
        job = ["algo=lstm", "data=clinc150", f"backbone={backbone}"]
        assert loader.load_sweep_config(master, job).backbone.hidden == hidden


def test_what_it_recommends_on_one_data_set_wins_over_that_on_any(tmp_path: Path) -> None:
    (tmp_path / "algo").mkdir()
    (tmp_path / "algo" / "mine.yaml").write_text(
        "_target_: metarun.algorithms.protonet.ProtoNet\n"
        "recommended: {steps: 5, on_data: {any: {steps: 6}, omniglot: {steps: 7}}}\n"
    )
    folder = str(tmp_path)
    assert composed("algo=mine", "data=omniglot", folder=folder)["steps"] == 7
    assert composed("algo=mine", folder=folder)["steps"] == 6


def test_a_preset_wins_over_both() -> None:
    config = composed("experiment=maml/mini_imagenet")
    assert config["choices"]["backbone"] == "conv4"
    assert config["steps"] == 60000


def test_a_cell_wins_over_its_preset_and_debug_over_the_cell() -> None:
    preset = ("experiment=maml/omniglot", "ways=20")
    assert composed("experiment=maml/omniglot")["meta_batch"] == 32
    assert composed(*preset)["meta_batch"] == 16
    tiny = composed(*preset, "debug=tiny")
    assert tiny["meta_batch"] == 2
    assert tiny["algo"]["inner_steps"] == 5  # which debug leaves alone


def test_the_command_line_wins_over_everything() -> None:
    typed = ("algo.inner_steps=3", "meta_batch=9", "backbone=conv4", "steps=7")
    config = composed("experiment=maml/omniglot", "ways=20", "debug=tiny", *typed)
    assert config["algo"]["inner_steps"] == 3
    assert (config["meta_batch"], config["steps"]) == (9, 7)
    assert config["choices"]["backbone"] == "conv4"


def test_each_job_of_a_sweep_has_the_settings_of_its_own_cell() -> None:
    loader = hydra_for(None).config_loader
    typed = ["experiment=maml/omniglot", "ways=5,20"]
    master = loader.load_configuration("config", typed, RunMode.MULTIRUN)
    for ways, meta_batch in ((5, 32), (20, 16), (5, 32)):
        job = ["experiment=maml/omniglot", f"ways={ways}"]
        assert loader.load_sweep_config(master, job).meta_batch == meta_batch


def test_the_layers_leave_no_trace_in_the_words_or_the_configuration() -> None:
    typed = ["experiment=maml/omniglot", "ways=20", "quick=true"]
    cfg = compose(typed)
    assert OmegaConf.to_container(cfg.hydra.overrides.task) == typed
    left = {"cells", "quick_cells", "published", "recommended"}
    assert not left & {*cfg, *cfg.algo}


@pytest.mark.parametrize("algo", ["protonet", "maml", "lstm", "nearest_centroid"])
def test_one_composition_does_not_depend_on_the_one_before(algo: str) -> None:
    compose(["experiment=reptile/omniglot", "ways=20", "quick=true"])
    config = composed(f"algo={algo}")
    assert config == {**composed(f"algo={algo}"), "out": config["out"]}
    assert config["test_episodes"] == 1000


def test_a_file_of_ones_own_recommends_and_publishes_likewise(tmp_path: Path) -> None:
    for group in ("algo", "experiment"):
        (tmp_path / group).mkdir()
    (tmp_path / "algo" / "mine.yaml").write_text(
        "_target_: metarun.algorithms.protonet.ProtoNet\n"
        "recommended: {backbone: mlp, steps: 5, on_data: {sinusoid: {steps: 6}}}\n"
    )
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\n"
        "defaults: [override /algo: mine]\n"
        "cells: {5way_2shot: {steps: 8, data.cache: here}}\n"
    )
    folder = str(tmp_path)
    config = composed("algo=mine", folder=folder)
    assert (config["choices"]["backbone"], config["steps"]) == ("mlp", 5)
    assert composed("algo=mine", "data=sinusoid", folder=folder)["steps"] == 6
    assert composed("experiment=mine", folder=folder)["steps"] == 5
    assert composed("experiment=mine", "shots=2", folder=folder)["steps"] == 8


def test_a_file_from_windows_is_read_or_refused(tmp_path: Path) -> None:
    """Hydra overlooks a header that a byte-order mark precedes, so such a file is refused."""
    (tmp_path / "algo").mkdir()
    mine = tmp_path / "algo" / "mine.yaml"
    node = b"_target_: metarun.algorithms.protonet.ProtoNet\r\ntemperature: 2.0\r\n"
    mine.write_bytes(b"\xef\xbb\xbf# metarun algo=mine\r\n# My learner\r\n" + node)
    assert composed("algo=mine", folder=str(tmp_path))["algo"]["temperature"] == 2.0
    assert choices("algo", str(tmp_path))["mine"] == "My learner"
    mine.write_bytes(b"\xef\xbb\xbf# @package _global_\r\nsteps: 7\r\n")
    with pytest.raises(Refused, match="starts with a byte-order mark"):
        composed("algo=mine", folder=str(tmp_path))


def test_the_name_of_a_cell() -> None:
    assert (cell_of(20, 1), cell_of(1, 10)) == ("20way_1shot", "10shot")
