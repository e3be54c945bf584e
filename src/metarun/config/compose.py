"""Compose a configuration from overrides, and report all mistakes in them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from metarun.config.command_line import expand
from metarun.config.groups import hydra_for, is_choice, wrong_choice
from metarun.config.overrides import missing_keys, one_line, parse, sift, unknown_key
from metarun.config.schema import PLACES, RunConfig, explain
from metarun.errors import Refused


def compose(words: Sequence[str], folder: str | None = None) -> DictConfig:
    """Compose a configuration and check its choices and top-level keys, without importing torch.

    Args:
        words: the overrides, as typed on a command line.
        folder: a config folder of the user, searched after the shipped one.

    Returns:
        The configuration with its `hydra` node, which is also set as Hydra's current one;
        `checked` converts it to a `RunConfig`.

    Raises:
        Refused: one line for each mistake.
    """
    cfg, mistakes = examine(hydra_for(folder).config_loader, words)
    if cfg is None or mistakes:
        raise Refused(*mistakes)
    return cfg


def examine(loader: ConfigLoader, words: Sequence[str]) -> tuple[DictConfig | None, list[str]]:
    """Compose a configuration as `compose` does, but return the mistakes instead of raising."""
    overrides, mistakes = parse(loader, words)
    overrides, wrong_choices = sift(overrides, lambda o: wrong_choice(loader, o))
    mistakes += wrong_choices
    try:
        base = _compose_choices(loader, tuple(str(o.input_line) for o in overrides if is_choice(o)))
        overrides, unknown_keys = sift(overrides, lambda o: unknown_key(base, o))
        mistakes += unknown_keys
        only_choices = all(map(is_choice, overrides))
        valid_words = [str(o.input_line) for o in overrides]
        cfg = deepcopy(base) if only_choices else _compose(loader, valid_words)
        HydraConfig.instance().set_config(cfg)
        if missing := missing_keys(cfg):
            mistakes += [f"{key}: has no value yet; give it one: {key}=VALUE" for key in missing]
            return cfg, mistakes
        plain(cfg)
    except Exception as error:  # Hydra and OmegaConf raise errors of many types
        return None, list(dict.fromkeys([*mistakes, one_line(error)]))
    try:
        checked(cfg)
    except Refused as refused:
        mistakes += refused.mistakes
    return cfg, list(dict.fromkeys(mistakes))


def checked(cfg: DictConfig) -> RunConfig:
    """Resolve the configuration without its `hydra` node, and check its top-level keys.

    Paths become absolute, also in `cfg`.

    Raises:
        Refused: one line for each mistake.
    """
    try:
        RunConfig.model_validate(plain(cfg))
    except ValidationError as error:
        raise Refused(*explain(error)) from None
    except OmegaConfBaseException as error:
        raise Refused(one_line(error)) from None
    for key in ("data_home", *PLACES):
        value = OmegaConf.select(cfg, key)
        if value == "":
            raise Refused(f"{key}=: should be a path; or leave {key} out")
        if isinstance(value, str):
            path = os.path.abspath(expand(value, f"{key}={value}"))
            _refuse_other_bytes(path, f"{key}={path}")
            if key != "data.split_file" or os.path.exists(path):  # else it may be in data.root
                OmegaConf.update(cfg, key, path)
    return RunConfig.model_validate(plain(cfg))


def folder_at(cfg: DictConfig, key: str) -> Path:
    """Return the folder that the value of `key` names.

    Raises:
        Refused: the value cannot be resolved, or the system does not accept the path.
    """
    try:
        value = str(OmegaConf.select(cfg, key))
    except OmegaConfBaseException as error:
        raise Refused(f"{key}: {one_line(error)}") from None
    typed = "out" if value == cfg.get("out") else key
    _refuse_other_bytes(value, f"{typed}={value}")
    return expand(value, f"{typed}={value}")


def _refuse_other_bytes(path: str, typed: str) -> None:
    """Refuse a path whose bytes are not UTF-8: YAML cannot store it, so no run could be resumed."""
    try:
        path.encode()
    except UnicodeEncodeError:
        raise Refused(f"{typed}: should be a name in UTF-8") from None


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The configuration without its `hydra` node, resolved but not checked, as a dict."""
    without_hydra = OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"])
    return OmegaConf.to_container(without_hydra, resolve=True)


@lru_cache(maxsize=16)
def _compose_choices(loader: ConfigLoader, words: tuple[str, ...]) -> DictConfig:
    """Compose only the choices; cached, because many jobs of a sweep have the same choices."""
    return _compose(loader, words)


def _compose(loader: ConfigLoader, words: Iterable[str]) -> DictConfig:
    cfg = loader.load_configuration(
        config_name="config", overrides=list(words), run_mode=RunMode.RUN
    )
    OmegaConf.set_readonly(cfg.hydra, None)
    return cfg
