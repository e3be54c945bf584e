"""Compose a configuration from overrides, and report all mistakes in them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from metarun.config.command_line import expand
from metarun.config.explanation import explain
from metarun.config.groups import hydra_for, is_choice, wrong_choice
from metarun.config.overrides import missing_keys, one_line, parse, sift, unknown_key, with_any
from metarun.config.schema import PLACES, RunConfig
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
    overrides, mistakes = parse(loader, with_any(words))
    overrides, wrong_choices = sift(overrides, lambda o: wrong_choice(loader, o))
    mistakes += wrong_choices
    try:
        cfg, unknown_keys = _compose_known(loader, overrides)
        mistakes += unknown_keys
        HydraConfig.instance().set_config(cfg)
        if missing := missing_keys(cfg):
            mistakes += [f"{key}: has no value yet; give it one: {key}=VALUE" for key in missing]
            return cfg, mistakes
        values = plain(cfg)
    except Exception as error:  # Hydra and OmegaConf raise errors of many types
        return None, list(dict.fromkeys([*mistakes, one_line(error)]))
    try:
        checked(cfg, values)
    except Refused as refused:
        mistakes += refused.mistakes
    return cfg, list(dict.fromkeys(mistakes))


def checked(cfg: DictConfig, values: dict[str, Any] | None = None) -> RunConfig:
    """Resolve the configuration without its `hydra` node, and check its top-level keys.

    Paths become absolute, also in `cfg`.

    Args:
        values: what `plain(cfg)` returns, if it is known.

    Raises:
        Refused: one line for each mistake.
    """
    try:
        config = RunConfig.model_validate(plain(cfg) if values is None else values)
    except ValidationError as error:
        raise Refused(*explain(error)) from None
    except OmegaConfBaseException as error:
        raise Refused(one_line(error)) from None
    changed = False
    for key in ("data_home", *PLACES):
        value = OmegaConf.select(cfg, key)
        if value == "":
            raise Refused(f"{key}=: should be a path; or leave {key} out")
        if isinstance(value, str):
            path = os.path.abspath(expand(value, f"{key}={value}"))
            _refuse_other_bytes(path, f"{key}={path}")
            if path != value and (key != "data.split_file" or os.path.exists(path)):
                OmegaConf.update(cfg, key, path)  # another split file may be in data.root
                changed = True
    return RunConfig.model_validate(plain(cfg)) if changed else config


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
    return {
        key: OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
        for key, node in cfg.items()
        if key != "hydra"
    }


def _compose_known(
    loader: ConfigLoader, overrides: Sequence[Override]
) -> tuple[DictConfig, list[str]]:
    """Compose without the overrides of unknown keys; also return an error line for each of these.

    The keys that exist depend on the choices. These are composed on their own only where a key may
    be unknown: mostly, Hydra accepts all overrides, of keys that exist.
    """
    if not any(o.is_add() or o.is_force_add() or o.is_delete() for o in overrides):
        with contextlib.suppress(Exception):  # reported below
            cfg = _compose(loader, overrides)
            if not any(unknown_key(cfg, override) for override in overrides):
                return cfg, []
    base = _compose(loader, filter(is_choice, overrides))
    overrides, unknown_keys = sift(overrides, lambda o: unknown_key(base, o))
    return _compose(loader, overrides), unknown_keys


def _compose(loader: ConfigLoader, overrides: Iterable[Override]) -> DictConfig:
    words = [str(override.input_line) for override in overrides]
    cfg = loader.load_configuration(config_name="config", overrides=words, run_mode=RunMode.RUN)
    OmegaConf.set_readonly(cfg.hydra, None)
    return cfg
