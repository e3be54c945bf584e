"""The configuration tree: where it lies, and what it offers."""

from __future__ import annotations

import os
from pathlib import Path

import hydra.version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from omegaconf import DictConfig

from metarun.config.layers import Loader
from metarun.errors import Refused


def conf_dir() -> Path:
    """The shipped tree: inside an installed package, or beside `src` in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parents[1] / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise Refused(f"{package / 'conf'}: not there; install metarun again")


def hydra_for(folder: str | None) -> Hydra:
    """Hydra over the shipped tree and, after it, a user's own folder."""
    if folder is not None and not Path(folder).is_dir():
        raise Refused(f"--config-dir {folder}: no such folder")
    hydra.version.setbase("1.3")  # jobs stay in the folder they were called from
    GlobalHydra.instance().clear()
    search = create_config_search_path(str(conf_dir()))
    if folder is not None:
        anchor = SearchPathQuery(provider="schema")  # which has to stay last
        search.prepend("command-line", f"file://{os.path.abspath(folder)}", anchor)
    created = Hydra.create_main_hydra2("metarun", search)
    created.config_loader = Loader(search)
    return created


def user_folders(cfg: DictConfig) -> list[Path]:
    """Config folders that the user named: by `--config-dir` or `hydra.searchpath`."""
    sources = cfg.hydra.runtime.config_sources if "hydra" in cfg else []
    return [
        Path(source.path)
        for source in sources
        if source.schema == "file" and Path(source.path).resolve() != conf_dir().resolve()
    ]


def options_of(loader: ConfigLoader, group: str) -> list[str]:
    """The choices of a group, those in its folders after its own: `demo`, `maml/omniglot_…`."""
    own, folders = set(), set()
    for source in loader.get_sources():  # loader.get_group_options would copy them all each time
        if source.available() and source.is_group(group):
            own |= set(source.list(group, ObjectType.CONFIG))
            folders |= set(source.list(group, ObjectType.GROUP))
    nested = [f"{f}/{name}" for f in sorted(folders) for name in options_of(loader, f"{group}/{f}")]
    return sorted(own) + nested


def choices(group: str, folder: str | None = None) -> dict[str, str]:
    """What a group offers, with the meaning on the second line of its file."""
    return {name: meaning(file) if file else "" for name, file in files(group, folder).items()}


def files(group: str, folder: str | None = None) -> dict[str, Path | None]:
    """The file of each choice of a group, or `None` where it comes from elsewhere."""
    loader = hydra_for(folder).config_loader
    found: dict[str, Path | None] = {}
    for name in options_of(loader, group):
        found[name] = None
        for source in loader.get_sources():
            if source.scheme() == "file":
                file = Path(source.path) / group / f"{name}.yaml"
                if file.is_file():
                    found[name] = file
                    break
    return found


def meaning(file: Path) -> str:
    """The comment after the one that opens a choice's file with the command that uses it."""
    lines = file.read_text("utf-8", "replace").splitlines()
    comments = [line[1:].strip() for line in lines if line[:1] == "#"]
    comments = [x for x in comments if not x.startswith("@package")]
    return comments[1] if len(comments) > 1 else ""
