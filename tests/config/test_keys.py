"""The keys of a choice with default, allowed values and help, from its file and its class."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, NonNegativeInt, PositiveFloat, TypeAdapter

from metarun.config.groups import OF_SWEEPS, conf_dir, files
from metarun.config.keys import Key, allowed, describe
from metarun.errors import Refused
from tests.conftest import OWN

BUILT = ("algo", "backbone", "data", "optimizer", "augmentation", "logger")
CHOICES = [(group, name) for group in (*BUILT, "debug") for name in files(group)]
MAML = "_target_: metarun.algorithms.maml.MAML\n"


def described(folder: Path, text: str, group: str = "algo") -> dict[str, Key]:
    """The keys in a file of the user with this text."""
    file = folder / "mine.yaml"
    file.write_text(text, "utf-8")
    return {key.name: key for key in describe(group, file, [folder])}


@pytest.mark.parametrize(("group", "name"), CHOICES)
def test_every_key_of_a_shipped_choice_has_help_and_allowed_values(group: str, name: str) -> None:
    for key in describe(group, files(group)[name]):
        assert key.help, key.name
        assert len(key.help) <= 150, key.name
        assert bool(key.allowed) == key.name.startswith(f"{group}."), key.name


@pytest.mark.parametrize("group", OF_SWEEPS)
def test_every_key_of_a_launcher_and_a_sweeper_has_help(group: str) -> None:
    for name, file in files(group).items():
        if file and file.is_relative_to(conf_dir()):
            for key in describe(group, file):
                assert key.help, f"{group}={name} {key.name}"


def test_the_keys_of_maml() -> None:
    statistics = (
        "statistics that normalise queries: transductive, the query batch's; "
        "inductive, the support's"
    )
    assert describe("algo", files("algo")["maml"]) == [
        Key(
            "algo.inner_lr",
            "0.4",
            "number > 0",
            "step size of the inner loop, whose loss is the mean over the support",
        ),
        Key(
            "algo.later_inner_lr",
            "null",
            "number > 0, null",
            "step size after the first inner step; null: inner_lr",
        ),
        Key("algo.inner_steps", "1", "integer ≥ 0", "inner steps in training"),
        Key("algo.test_inner_steps", "3", "integer ≥ 0", "inner steps in evaluation"),
        Key("algo.first_order", "false", "true, false", "leave out the second derivatives"),
        Key("algo.batch_norm", "transductive", "transductive, inductive", statistics),
        Key(
            "algo.adapts",
            "null",
            "list of text, null",
            "parts of the network that adapt, such as [head]; null: all",
        ),
    ]


def test_recommended_settings_are_not_keys() -> None:
    names = [key.name for key in describe("algo", files("algo")["reptile"])]
    assert all(name.startswith("algo.") and "recommended" not in name for name in names)


def test_a_comment_is_beside_the_key_or_in_the_lines_above_it(tmp_path: Path) -> None:
    keys = described(
        tmp_path,
        MAML
        + "# above,\n"
        + "# in two lines\n"
        + "inner_lr: 0.1\n"
        + "# not used, because there is one beside the key\n"
        + "inner_steps: 1   # beside\n"
        + "# separated by a blank line\n"
        + "\n"
        + "test_inner_steps: 1\n"
        + "first_order: true\n",
    )
    assert keys["algo.inner_lr"].help == "above, in two lines"
    assert keys["algo.inner_steps"].help == "beside"
    assert keys["algo.test_inner_steps"].help == ""
    assert keys["algo.first_order"].help == ""


def test_a_comment_may_contain_colons_and_number_signs(tmp_path: Path) -> None:
    keys = described(tmp_path, MAML + "inner_lr: 0.1  # inner_steps: 1, see #3\n")
    assert keys["algo.inner_lr"].help == "inner_steps: 1, see #3"
    assert list(keys) == ["algo.inner_lr"]


@pytest.mark.parametrize("value", ["a#b", "'a # b'", '"a # b"', "'it''s # b'", '"a \\" # b"'])
def test_a_number_sign_in_a_value_does_not_start_a_comment(tmp_path: Path, value: str) -> None:
    keys = described(tmp_path, f"project: {value}   # a comment\nentity: {value}\n", "debug")
    assert keys["debug.project"].help == "a comment"
    assert keys["debug.entity"].help == ""


def test_keys_of_nested_nodes_have_dotted_names(tmp_path: Path) -> None:
    text = (
        "a:   # a node\n  b: 1   # first\n  c:\n    d: [1, 2]   # second\n  e: {}\nb: 2   # last\n"
    )
    assert list(described(tmp_path, text, "debug").values()) == [
        Key("debug.a.b", "1", "", "first"),
        Key("debug.a.c.d", "[1, 2]", "", "second"),
        Key("debug.a.e", "{}", "", ""),
        Key("debug.b", "2", "", "last"),
    ]


def test_a_global_file_has_keys_of_several_groups(tmp_path: Path) -> None:
    keys = described(
        tmp_path,
        "# @package _global_\n"
        "# metarun data=mine\n"
        "# Waves of the user\n"
        "defaults:\n"
        "  - override /backbone: mlp_regression\n"
        "data:\n"
        "  _target_: metarun.data.glyphs.Glyphs\n"
        "  cache: here   # folder\n"
        "optimizer:\n"
        "  lr: 0.5   # rate\n"
        "ways: 1   # classes\n",
        "data",
    )
    assert list(keys.values()) == [
        Key("data.cache", "here", "text", "folder"),
        Key("optimizer.lr", "0.5", "", "rate"),
        Key("ways", "1", "", "classes"),
    ]


def test_the_choices_of_a_config_folder_are_described() -> None:
    power, steps = describe("algo", OWN / "algo" / "nearest_item.yaml", [OWN])
    assert (power.name, power.default) == ("algo.power", "2.0")
    assert power.allowed
    assert steps == Key("steps", "1", "", "")
    with pytest.raises(Refused, match="--config-dir"):
        describe("algo", OWN / "algo" / "nearest_item.yaml")


@pytest.mark.parametrize("text", ["[", "- a", "text"])
def test_a_malformed_file_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(Refused):
        described(tmp_path, text)


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int, "integer"),
        (NonNegativeInt, "integer ≥ 0"),
        (Annotated[int, Field(ge=1, le=10)], "integer ≥ 1 and ≤ 10"),
        (Annotated[int, Field(lt=65536)], "integer < 65536"),
        (float, "number"),
        (PositiveFloat, "number > 0"),
        (Annotated[float, Field(ge=0, lt=0.5)], "number ≥ 0 and < 0.5"),
        (bool, "true, false"),
        (str, "text"),
        (Literal["a", "b"], "a, b"),
        (Literal["a"], "a"),
        (Literal[0, 1, 2], "0, 1, 2"),
        (list[PositiveFloat], "list of number > 0"),
        (list[str], "list of text"),
        (list, "list"),
        (dict[str, int], "mapping"),
        (PositiveFloat | None, "number > 0, null"),
        (Literal["a", "b"] | None, "a, b, null"),
        (list[NonNegativeInt] | None, "list of integer ≥ 0, null"),
        (int | bool, "integer, true, false"),
        (Any, "any value"),
    ],
)
def test_allowed_values_in_words(annotation: Any, words: str) -> None:
    assert allowed(TypeAdapter(annotation).json_schema()) == words
