"""A node is checked against the signature of its target; other targets are not called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from metarun.config.instantiate import blueprint
from metarun.errors import Refused
from tests.conftest import OWN

MAML = {"_target_": "metarun.algorithms.maml.MAML", "inner_lr": 0.4, "inner_steps": 1}


def mistakes(node: dict[str, Any], *folders: Path, group: str = "algo") -> list[str]:
    with pytest.raises(Refused) as refused:
        blueprint(group, node, folders)
    return refused.value.mistakes


def test_a_valid_node_is_built_with_its_keys() -> None:
    from metarun import CLASSIFICATION, Spec
    from metarun.backbones.mlp import MLP

    learner = blueprint("algo", {**MAML, "inner_lr": 0.1})(
        MLP((3,), hidden=[2]), Spec((3,), 5, CLASSIFICATION)
    )
    assert learner.inner_lr == 0.1
    assert learner.net[1].out_features == 5


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("inner_lr", -1.0, "algo.inner_lr=-1.0: should be greater than 0"),
        ("inner_lr", float("inf"), "algo.inner_lr=inf: should be a finite number"),
        ("inner_lr", "fast", "algo.inner_lr=fast: should be a valid number"),
        ("inner_lr", True, "algo.inner_lr=true: should be a valid number"),
        ("inner_lr", None, "algo.inner_lr=null: should be a valid number"),
        ("inner_steps", 1.5, "algo.inner_steps=1.5: should be a valid integer"),
        ("first_order", 1, "algo.first_order=1: should be a valid boolean"),
        (
            "batch_norm",
            "both",
            "algo.batch_norm=both: should be 'transductive' or 'inductive'",
        ),
        ("inner_lrr", 1.0, "algo.inner_lrr: no such key; did you mean algo.inner_lr?"),
    ],
)
def test_a_mistake_names_key_value_and_what_would_be_right(key: str, value: Any, line: str) -> None:
    assert mistakes({**MAML, key: value}) == [line]


def test_an_integer_is_accepted_as_a_number() -> None:
    blueprint("algo", {**MAML, "inner_lr": 1})


def test_all_mistakes_are_reported_together() -> None:
    assert len(mistakes({**MAML, "inner_lr": 0, "inner_steps": -1, "foo": 1})) == 3


def test_an_invalid_item_of_a_list_is_shown_as_the_value() -> None:
    node = {"_target_": "metarun.backbones.mlp.MLP", "hidden": [5, -2], "batch_norm": True}
    assert mistakes(node, group="backbone") == ["backbone.hidden=-2: should be greater than 0"]


@pytest.mark.parametrize("target", ["os.system", "builtins.eval", "subprocess.Popen", "torch.load"])
def test_targets_of_other_packages_are_not_imported_or_called(target: str) -> None:
    (line,) = mistakes({"_target_": target})
    assert line.startswith(f"algo._target_={target}: should be in metarun.algorithms, or")


@pytest.mark.parametrize(
    ("group", "target"),
    [
        ("data", "metarun.cli.entry"),  # would start metarun again and again
        ("data", "metarun.algorithms.maml.MAML"),
        ("algo", "metarun.config.instantiate.import_module"),
        ("algo", "metarun.__main__.entry"),
        ("data", "metarun.datax.Y"),
    ],
)
def test_modules_of_metarun_outside_the_package_of_the_group_are_not_imported(
    group: str, target: str
) -> None:
    (line,) = mistakes({"_target_": target}, group=group)
    assert line.startswith(f"{group}._target_={target}: should be in ")


@pytest.mark.parametrize(
    ("group", "target", "message"),
    [
        ("data", "metarun.data.omniglot.Path", "is not defined in metarun.data.omniglot"),
        ("data", "metarun.data.duplicates.named", "cannot be a choice of data"),
        ("backbone", "metarun.backbones.norm.normalised_by", "cannot be a choice"),
        ("algo", "metarun.algorithms.fitting.fit", "cannot be a choice of algo"),
        ("logger", "metarun.loggers.none.__doc__", "is not a class or function"),
    ],
)
def test_other_objects_in_the_package_of_the_group_are_not_called(
    group: str, target: str, message: str
) -> None:
    (line,) = mistakes({"_target_": target}, group=group)
    assert message in line


@pytest.mark.parametrize("target", [None, 3, "maml", "a b.c", "", "metarun.errors;x.y"])
def test_a_target_must_be_a_dotted_name(target: Any) -> None:
    (line,) = mistakes({"_target_": target})
    assert "should be a dotted name" in line


def test_a_target_that_does_not_exist_is_refused() -> None:
    (line,) = mistakes({"_target_": "metarun.algorithms.maml.MAMML"})
    assert line.startswith("algo._target_=metarun.algorithms.maml.MAMML: cannot be imported")


def test_targets_in_files_of_a_config_folder_of_the_user_are_imported() -> None:
    node = {"_target_": "nearest_item.NearestItem", "power": 1.0}
    (line,) = mistakes(node)
    assert "--config-dir" in line
    assert blueprint("algo", node, [OWN]).func.__name__ == "NearestItem"
    (line,) = mistakes({"_target_": "os.system"}, OWN)
    assert "should be in metarun.algorithms" in line
