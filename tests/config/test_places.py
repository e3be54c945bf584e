"""Keys that are paths: one list, equal to the annotations of the classes that take them."""

from __future__ import annotations

import inspect
import json
import os
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import yaml
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from metarun.config.compose import compose
from metarun.config.groups import files
from metarun.config.instantiate import HOMES
from metarun.config.schema import PLACES, Place
from metarun.runs import places
from metarun.runs.config_file import MAY_DIFFER, RESUMABLE

Metarun = Callable[..., tuple[int, str, list[str]]]
SPLIT = {"train": ["a", "b"], "val": ["c", "d"], "test": ["e", "f"]}


def arguments_that_are_places() -> set[str]:
    keys = set()
    for group in HOMES:
        for file in files(group).values():
            node = yaml.safe_load(file.read_text("utf-8"))
            module, _, name = node.get(group, node)["_target_"].rpartition(".")
            target = getattr(import_module(module), name)
            function = target.__init__ if inspect.isclass(target) else target
            hints = get_type_hints(function, include_extras=True)
            keys |= {
                f"{group}.{key}" for key, hint in hints.items() if Place in (hint, *get_args(hint))
            }
    return keys


def test_the_list_is_that_of_the_annotations() -> None:
    assert set(PLACES) == arguments_that_are_places()
    assert set(PLACES) <= set(RESUMABLE) & set(MAY_DIFFER)


@pytest.mark.parametrize("key", PLACES)
@pytest.mark.parametrize("name", ["a b", "a(1)", "a,b", "a=b", "[a]", "{a}", "ä: ö", "a'b"])
def test_any_path_can_be_typed(
    key: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("")
    data = "text_table" if key == "data.file" else "image_folder"
    cfg = compose([f"data={data}", f"{key}={name}"])
    assert OmegaConf.select(cfg, key) == str(tmp_path / name)


def pictures(folder: Path) -> None:
    for k, name in enumerate("abcdef"):
        (folder / name).mkdir(parents=True)
        for i in range(6):
            Image.new("L", (8, 8), 40 * i + k).save(folder / name / f"{i}.png")


@pytest.fixture
def words() -> list[str]:
    return ["data=image_folder", "ways=2", "debug=tiny", "data.size=8", "threads=1", "backbone=mlp"]


def test_a_run_goes_on_after_its_split_file_moved(metarun: Metarun, words: list[str]) -> None:
    pictures(Path("old (1)/p"))
    Path("old (1)/s.json").write_text(json.dumps(SPLIT))
    places = ["data.root=old (1)/p", "data.split_file=old (1)/s.json"]
    code, _, err = metarun(*words, *places, "out=old (1)/run")
    assert code == 0, err
    shutil.move("old (1)", "new")
    places = ["data.root=new/p", "data.split_file=new/s.json"]
    code, _, err = metarun("resume=new/run", "steps=6", *places)
    assert code == 0, err


def test_a_split_file_may_lie_beside_the_pictures(metarun: Metarun, words: list[str]) -> None:
    pictures(Path("p"))
    Path("p/s.json").write_text(json.dumps(SPLIT))
    code, _, err = metarun(*words, "data.root=p", "data.split_file=s.json", "out=run")
    assert code == 0, err
    os.mkdir("elsewhere")
    os.chdir("elsewhere")
    assert metarun("evaluate", "run=../run", "episodes=2")[0] == 0


def test_a_run_uses_the_data_of_the_machine_that_it_was_carried_to(
    metarun: Metarun, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """What is prepared there is used, and nothing is made in the old place."""
    monkeypatch.setenv("METARUN_DATA", "there")
    pictures(Path("p"))
    code, _, err = metarun(*words, "data.root=p", "out=run")
    assert code == 0, err
    shutil.move("there", "here")
    monkeypatch.setenv("METARUN_DATA", "here")
    code, out, err = metarun("evaluate", "run=run", "episodes=2")
    assert (code, err) == (0, [])
    assert "preparing" not in out
    assert metarun("resume=run", "steps=6")[0] == 0
    assert not Path("there").exists()


def saved_config(tmp_path: Path, **data: str) -> DictConfig:
    node = {"root": None, "cache": None, **data}
    return OmegaConf.create({"data_home": str(tmp_path / "there"), "data": node})


def test_only_paths_in_the_missing_data_folder_follow_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METARUN_DATA", str(tmp_path / "here"))
    elsewhere = str(tmp_path / "my pictures")
    saved = saved_config(tmp_path, root=elsewhere, cache=str(tmp_path / "there" / "cache"))
    places.use_data_home_of_this_machine(saved)
    assert saved.data.root == elsewhere
    assert saved.data.cache == str(tmp_path / "here" / "cache")
    assert saved.data_home == str(tmp_path / "here")


def test_nothing_changes_while_the_data_folder_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METARUN_DATA", str(tmp_path / "here"))
    (tmp_path / "there").mkdir()
    saved = saved_config(tmp_path, cache=str(tmp_path / "there" / "cache"))
    before = saved.copy()
    places.use_data_home_of_this_machine(saved)
    assert saved == before


def test_a_typed_place_wins(
    metarun: Metarun, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setenv("METARUN_DATA", "there")
    pictures(Path("p"))
    assert metarun(*words, "data.root=p", "out=run")[0] == 0
    shutil.move("there", "here")
    monkeypatch.setenv("METARUN_DATA", "nowhere")
    assert metarun("evaluate", "run=run", "episodes=2", "data.cache=here/cache")[0] == 0
    assert not Path("nowhere").exists()
