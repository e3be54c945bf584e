"""The config folders, their groups and the choices of each group."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import hydra.version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from metarun.config.explanation import show
from metarun.config.layers import Loader
from metarun.config.overrides import nearest
from metarun.config.schema import GROUPS
from metarun.errors import Refused

OF_SWEEPS = ("hydra/launcher", "hydra/sweeper")
OF_PLUGINS = {"launcher": ("joblib.yaml", "submitit_local.yaml"), "sweeper": ("optuna.yaml",)}


def conf_dir() -> Path:
    """The shipped config folder: in the installed package, or beside `src` in a checkout.

    Raises:
        Refused: there is none.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parents[1] / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise Refused(f"{package / 'conf'}: missing; install metarun again")


def hydra_for(folder: str | None) -> Hydra:
    """Hydra with the shipped config folder and, searched after it, a folder of the user.

    Raises:
        Refused: `folder` does not exist.
    """
    if folder is not None and not Path(folder).is_dir():
        raise Refused(f"--config-dir {folder}: no such folder")
    hydra.version.setbase("1.3")  # do not change the working directory
    GlobalHydra.instance().clear()
    search = create_config_search_path(str(conf_dir()))
    for group, names in OF_PLUGINS.items():  # Hydra's plug-ins, if installed, have the same names
        for name in names:
            ConfigStore.instance().repo["hydra"][group].pop(name, None)
    if folder is not None:
        anchor = SearchPathQuery(provider="schema")  # must stay last
        search.prepend("command-line", f"file://{os.path.abspath(folder)}", anchor)
    instance = Hydra.create_main_hydra2("metarun", search)
    instance.config_loader = Loader(search)
    return instance


def user_folders(cfg: DictConfig) -> list[Path]:
    """The config folders of the user, from `--config-dir` and `hydra.searchpath`."""
    sources = cfg.hydra.runtime.config_sources if "hydra" in cfg else []
    return [
        Path(source.path)
        for source in sources
        if source.schema == "file" and Path(source.path).resolve() != conf_dir().resolve()
    ]


def options_of(loader: ConfigLoader, group: str) -> list[str]:
    """The choices of a group, those in subfolders last: `demo`, `maml/omniglot`."""
    names, folders = set(), set()
    for source in loader.get_sources():  # loader.get_group_options copies all sources each time
        if source.available() and source.is_group(group):
            names |= set(source.list(group, ObjectType.CONFIG))
            folders |= set(source.list(group, ObjectType.GROUP))
    nested = [f"{f}/{name}" for f in sorted(folders) for name in options_of(loader, f"{group}/{f}")]
    return sorted(names) + nested


def choices(group: str, folder: str | None = None) -> dict[str, str]:
    """The choices of a group, each with the description in its file, see `meaning`."""
    return {name: meaning(file) if file else "" for name, file in files(group, folder).items()}


def files(group: str, folder: str | None = None) -> dict[str, Path | None]:
    """The file of each choice of a group; `None` if the choice is not from a file."""
    loader = hydra_for(folder).config_loader
    paths: dict[str, Path | None] = {}
    for name in options_of(loader, group):
        paths[name] = None
        for source in loader.get_sources():
            if source.scheme() == "file":
                file = Path(source.path) / group / f"{name}.yaml"
                if file.is_file():
                    paths[name] = file
                    break
    return paths


def meaning(file: Path) -> str:
    """The description of a choice: the second comment of its file; the first is a command."""
    comments = [x for x in _comments(file) if not x.startswith("@package")]
    return comments[1] if len(comments) > 1 else ""


def domain(file: Path) -> str:
    """The domain of a data set, from a comment such as `# domain: vision`; empty if not stated."""
    return next((x[7:].strip() for x in _comments(file) if x.startswith("domain:")), "")


def _comments(file: Path) -> list[str]:
    """The lines of a file that are comments, without their mark."""
    lines = file.read_text("utf-8-sig", "replace").splitlines()
    return [line[1:].strip() for line in lines if line[:1] == "#"]


def is_choice(override: Override) -> bool:
    """Whether the override selects a file of a group, or a folder with such files."""
    key = override.key_or_group
    return key in GROUPS or "/" in key or key == "hydra.searchpath"


def wrong_choice(loader: ConfigLoader, override: Override) -> str | None:
    """An error line if the override selects a choice that does not exist, else `None`."""
    group, value = override.key_or_group, override.value()
    if group not in (*GROUPS, *OF_SWEEPS):
        return None
    if override.is_delete():
        return None if group in ("experiment", "debug") else f"{group}: missing"
    options = options_of(loader, group)
    if group == "logger" and isinstance(value, list):
        typed = f"logger=[{','.join(map(str, value))}]"
        return f"{typed}: should be one; logger=wandb logger.tensorboard=true is both"
    several = isinstance(value, list) and group in ("experiment", "debug")
    for name in value if several else [value]:
        if name not in options:
            if group == "experiment" and (renamed := _renamed(str(name), options)):
                return f"{group}={show(name)}: no such choice; it is now {renamed}"
            hint = _misnamed(loader, group, str(name)) or nearest(str(name), options)
            listing = ", ".join(options) if len(options) <= 15 else f"metarun list {group}: all"
            return f"{group}={show(name)}: no such choice{hint} ({listing or 'none'})"
    return None


def _renamed(name: str, presets: Iterable[str]) -> str | None:
    """The overrides that replace an old preset name, such as `maml/omniglot_5way_1shot_quick`."""
    match = re.fullmatch(r"(.+?)_(?:(\d+)way_)?(\d+)shot(_quick)?", name)
    if not match or match[1] not in presets:
        return None
    ways, quick = f" ways={match[2]}" if match[2] else "", " quick=true" if match[4] else ""
    return f"experiment={match[1]}{ways} shots={match[3]}{quick}"


def _misnamed(loader: ConfigLoader, group: str, name: str) -> str:
    """A hint if the choice has a file that Hydra does not read, because its name ends in .yml."""
    for source in loader.get_sources():
        file = Path(source.path) / group / f"{name.removesuffix('.yml')}.yml"
        if source.scheme() == "file" and os.path.isfile(file):  # any name
            return f"; rename {file} to {file.stem}.yaml"
    return ""
