"""The folders that a saved configuration names, which may come from another machine or person."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from metarun.config.command_line import expand
from metarun.config.groups import conf_dir
from metarun.config.schema import PLACES


def use_data_home_of_this_machine(saved: DictConfig) -> None:
    """Move paths in the saved `data_home` to the one of this machine if the saved one is missing.

    These are the paths that nobody typed, or that were typed on a machine with other folders.
    """
    before = Path(os.path.expanduser(saved.data_home))
    if before.is_dir():
        return
    for key in PLACES:
        value = OmegaConf.select(saved, key)
        if isinstance(value, str) and Path(value).is_relative_to(before):
            OmegaConf.update(saved, key, str(data_home() / Path(value).relative_to(before)))
    saved.data_home = str(data_home())


def data_home() -> Path:
    """The folder of data and prepared arrays on this machine, as `conf/config.yaml` sets it."""
    home = OmegaConf.load(conf_dir() / "config.yaml").data_home
    return expand(home, f"METARUN_DATA={home}").absolute()


def cache_mistake(cache: str | None) -> str | None:
    """A line if a saved configuration, which may come from somebody else, names a strange cache.

    Data is prepared in the folder `cache`. It should be the user's own one, or a folder in which
    metarun has prepared data before.
    """
    own = data_home() / "cache"
    if cache is None or os.path.abspath(os.path.expanduser(cache)) == str(own):
        return None
    from metarun.data.preparation.cache import INDEX

    with contextlib.suppress(OSError, ValueError):  # e.g. a name that no file can have
        if any(Path(os.path.expanduser(cache)).glob(f"*/{INDEX}")):
            return None
    return f"data.cache={cache}: is neither {own} nor holds data that metarun has prepared"
