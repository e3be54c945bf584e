"""Composition of a configuration, and the messages about mistakes in overrides."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from metarun.config.compose import compose, plain
from metarun.config.groups import choices, conf_dir, hydra_for
from metarun.config.overrides import parse, quote_path
from metarun.config.schema import GROUPS, Start
from metarun.errors import Refused
from tests.conftest import OWN


def mistakes(*words: str, folder: Path | None = None) -> list[str]:
    with pytest.raises(Refused) as refused:
        compose(words, folder and str(folder))
    return refused.value.mistakes


def test_typed_values_override_recommended_ones_which_override_defaults() -> None:
    assert plain(compose([]))["meta_batch"] == 1
    maml = plain(compose(["algo=maml"]))
    assert maml["meta_batch"] == 16
    assert maml["choices"]["backbone"] == "conv4_strided"
    typed = plain(compose(["algo=maml", "meta_batch=4", "backbone=conv4"]))
    assert typed["meta_batch"] == 4
    assert typed["choices"]["backbone"] == "conv4"


def test_the_training_task_equals_the_test_task_by_default() -> None:
    config = plain(compose(["ways=7", "shots=3", "train_shots=1"]))
    assert [config[f"train_{k}"] for k in ("ways", "shots", "queries")] == [7, 1, 15]


def test_the_defaults_do_not_change_by_accident() -> None:
    """Scripts of users depend on them; a change must be documented in the README."""
    config = plain(compose([]))
    expected = {"ways": 5, "shots": 1, "queries": 15, "val_episodes": 200, "test_episodes": 1000}
    assert {k: config[k] for k in expected} == expected
    assert config["choices"]["data"] == "glyphs"


def test_the_main_keys_do_not_change_by_accident() -> None:
    keys = set(plain(compose([])))
    assert " ".join(sorted(keys)) == (
        "algo audit augmentation backbone choices data data_home device engine eval_every "
        "eval_seed log_every logger meta_batch optimizer out precision preset queries quick seed "
        "shots steps steps_from tags tasks_at_once test_episodes threads train_queries train_shots "
        "train_ways val_episodes ways workers"
    )


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("algo=mamml", "algo=mamml: no such choice; did you mean maml?"),
        ("data=omniglott", "data=omniglott: no such choice; did you mean omniglot?"),
        ("shots=-1", "shots=-1: should be greater than or equal to 1"),
        ("ways=0", "ways=0: should be greater than or equal to 1"),
        ("steps=many", "steps=many: should be a valid integer"),
        ("steps=1e3", "steps=1000.0: should be a valid integer; write steps=1000"),
        ("shots=4.0", "shots=4.0: should be a valid integer; write shots=4"),
        ("seed=-0.0", "seed=-0.0: should be a valid integer; write seed=0"),
        ("steps=4.5", "steps=4.5: should be a valid integer"),
        ("threads=None", "threads=None: should be a valid integer; no value is written null"),
        ("steps=none", "steps=none: should be a valid integer; no value is written null"),
        ("tags=None", "tags=None: should be a valid list; no value is written null"),
        ("tags=foo", "tags=foo: should be a valid list; write tags=[foo]"),
        ("logger=None", "logger=None: no such choice; did you mean none?"),
        (f"algo={'1' * 300}", f"algo={'1' * 77}…: no such choice"),
        ("algo=maml.yml", "algo=maml.yml: no such choice; did you mean maml?"),
        ("experiment=maml/omniglot.yaml", "experiment=maml/omniglot.yaml: no such choice; did you"),
        ("shots=true", "shots=true: should be a valid integer"),
        ("seed=-1", "seed=-1: should be greater than or equal to 0"),
        ("device=gpu", "device=gpu: should be auto, cpu, cuda, cuda:N or mps"),
        ("precision=half", "precision=half: should be 'float32', 'float64' or 'bfloat16'"),
        ("+algo.foo=1", "algo.foo: no such key (algo has distance, temperature, "),
        ("++algo.foo=1", "algo.foo: no such key (algo has distance, temperature, "),
        ("optimizer.lrr=1", "optimizer.lrr: no such key; did you mean optimizer.lr?"),
        ("lr=1", "lr: no such key; did you mean optimizer.lr?"),
        ("shot=1", "shot: no such key; did you mean shots?"),
        ("choices.algo=maml", "choices.algo: is set automatically; choose with algo=NAME"),
        ("shots", "shots: not an override: should be key=value"),
        ("shots=1,5", "shots=1,5: several values are a sweep: add -m, or quote the value"),
        ("shots=[", "shots=[: not an override: "),
        ("~algo", "algo: missing"),
        ("hydra.foo=1", "Could not override 'hydra.foo'."),
        ("tags=${nothing}", "Interpolation key 'nothing' not found"),
        ("tags=[1]", "tags=1: should be a valid string"),
        ("algo=null", "algo=null: no such choice"),
        ("algo=[maml]", "algo=['maml']: no such choice; did you mean maml?"),
        ("algo={a:1}", "algo={'a': 1}: no such choice"),
    ],
)
def test_a_mistake_is_reported_in_one_line(typed: str, line: str) -> None:
    (message,) = mistakes(typed)
    assert message.startswith(line)
    assert "\n" not in message


@pytest.mark.parametrize("name", ["mine", "mine.yml"])
def test_a_file_that_ends_in_yml_is_named(name: str, tmp_path: Path) -> None:
    """Hydra reads files that end in .yaml only."""
    file = tmp_path / "algo/mine.yml"
    file.parent.mkdir()
    file.touch()
    (line,) = mistakes(f"algo={name}", folder=tmp_path)
    assert line.startswith(f"algo={name}: no such choice; rename {file} to mine.yaml (")


@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("optimizer.clip=choice(null,1.0)", ["null", "1.0"]),
        ("optimizer.clip=choice( 1.0, null )", ["1.0", "null"]),
        ("optimizer.clip=choice(null,null)", ["null", "null"]),
        ("tags=choice([null],[a,null])", ["[null]", "[a,null]"]),
        ("logger.name=choice('a,null',b)", ["a\\,null", "b"]),
        ("logger.name=choice(nullify,b)", ["nullify", "b"]),
    ],
)
def test_null_can_be_a_value_of_a_sweep(word: str, values: list[str]) -> None:
    (override,), wrong = parse(hydra_for(None).config_loader, [word], sweep=True)
    assert not wrong
    assert list(override.sweep_string_iterator()) == values


def test_a_choice_of_null_alone_is_null() -> None:
    assert compose(["optimizer.clip=choice(null)"]).optimizer.clip is None


def test_all_mistakes_are_reported_together_and_each_once() -> None:
    messages = mistakes("algo=mamml", "shots=0", "sseed=1", "backbone.filtrs=2")
    assert [line.partition(":")[0] for line in messages] == [
        "algo=mamml",
        "sseed",
        "backbone.filtrs",
        "shots=0",  # without train_shots, which has the same value
    ]


paths = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1).filter(
    lambda p: "${" not in p and p[0] not in "'\"" and p != "null" and not p.startswith("choice(")
)


@given(paths)
@settings(max_examples=300, deadline=None)
@example("mit Leerzeichen, Umläuten [und] = {mehr}")
@example("back\\slash\\")
@example("it's \\'quoted\\'")
def test_paths_may_contain_any_character(path: str) -> None:
    assert OverridesParser.create().parse_override(quote_path(f"out={path}")).value() == path


def test_a_path_with_special_characters_is_the_folder_of_the_run() -> None:
    path = "mit Leerzeichen, Umläuten [und] = {mehr}"
    cfg = compose([f"out={path}"])
    assert cfg.out == cfg.hydra.run.dir == path


def test_quoted_paths_and_other_values_are_not_changed() -> None:
    assert quote_path("out='a b'") == "out='a b'"
    assert quote_path("data.root=null") == "data.root=null"
    assert quote_path("shots=1,5") == "shots=1,5"


def test_data_home_is_the_parent_of_root_and_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METARUN_DATA", "/some where/else")
    data = plain(compose(["data=omniglot"]))["data"]
    assert data["root"] == "/some where/else/omniglot"
    assert data["cache"] == "/some where/else/cache"


def test_data_paths_become_absolute_so_that_a_run_can_be_resumed_elsewhere() -> None:
    data = plain(compose(["data=omniglot", "data.root=here", "data.cache=~/there"]))["data"]
    assert data["root"] == str(Path("here").absolute())
    assert data["cache"] == str(Path.home() / "there")


def test_a_config_folder_of_the_user_adds_choices() -> None:
    cfg = compose(["algo=nearest_item", "data=blobs"], str(OWN))
    assert cfg.algo._target_ == "nearest_item.NearestItem"
    assert plain(compose(["algo=maml"], str(OWN)))["algo"] == plain(compose(["algo=maml"]))["algo"]
    (line,) = mistakes("algo=maml", folder=OWN / "missing")
    assert line == f"--config-dir {OWN / 'missing'}: no such folder"


FILE = """
_target_: blobs.Blobs
classes: ???
noise: ${data.classes}
inner:
  a: ???
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A config folder with a choice that leaves two keys to the user, and a third refers to one."""
    for group in ("data", "algo"):
        (tmp_path / group).mkdir()
        (tmp_path / group / "mine.yaml").write_text(FILE)
    return tmp_path


def test_keys_without_a_value_are_named_together(own: Path) -> None:
    assert mistakes("data=mine", folder=own) == [
        "data.classes: has no value yet; give it one: data.classes=VALUE",
        "data.inner.a: has no value yet; give it one: data.inner.a=VALUE",
    ]
    (line,) = mistakes("data=mine", "data.classes=9", folder=own)
    assert line.startswith("data.inner.a: has no value")
    lines = mistakes("data=mine", "data.clases=9", "ways=???", folder=own)
    assert [line.partition(":")[0] for line in lines] == [
        *("data.clases", "ways", "data.classes", "data.inner.a")
    ]


@pytest.mark.parametrize("word", ["data.inner.a=1", "++data.inner.a=1", "data.inner={a:1}"])
def test_a_key_without_a_value_can_be_given_one(own: Path, word: str) -> None:
    data = plain(compose(["data=mine", "data.classes=9", word], str(own)))["data"]
    assert data.pop("train_on") == "train"  # a key of all data
    assert data == {"_target_": "blobs.Blobs", "classes": 9, "noise": 9, "inner": {"a": 1}}
    assert (
        plain(compose(["data=mine", "data.classes=null", word], str(own)))["data"]["noise"] is None
    )


VALUES = {"timm": ["backbone.name=resnet18"]}  # keys that have no default


@pytest.mark.parametrize("group", GROUPS)
def test_every_file_starts_with_a_command_and_a_description(group: str) -> None:
    for name, description in choices(group).items():
        text = (conf_dir() / group / f"{name}.yaml").read_text("utf-8")
        lines = [line for line in text.splitlines() if "@package" not in line]
        assert lines[0].startswith("# metarun ")
        assert f"{group}={name}" in lines[0]
        assert description
        if "/" not in name:  # test_presets.py composes the presets
            compose([f"{group}={name}", *VALUES.get(name, [])])


def test_every_key_of_a_target_is_in_the_file_of_the_choice() -> None:
    """A key that is not in the file cannot be typed."""
    import inspect

    from metarun.config.instantiate import blueprint, target_of

    for group in ("algo", "data", "backbone", "optimizer", "augmentation", "logger"):
        for name in choices(group):
            node = plain(compose([f"{group}={name}", *VALUES.get(name, [])]))[group]
            target = target_of(blueprint(group, node))
            parameters = inspect.signature(target).parameters.values()
            keys = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
            general = {"backbone": set(Start.model_fields), "data": {"train_on"}}.get(group, set())
            assert set(node) - {"_target_"} - general == keys - general, f"{group}={name}"


def test_the_shipped_config_folder_is_found() -> None:
    assert OmegaConf.load(conf_dir() / "config.yaml").ways == 5
