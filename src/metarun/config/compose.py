"""From what was typed to one configuration, with every mistake named."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from copy import deepcopy
from functools import lru_cache
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from metarun.config.groups import hydra_for
from metarun.config.overrides import is_choice, one_line, parse, sift, unknown_key, wrong_choice
from metarun.config.schema import RunConfig, explain
from metarun.errors import Refused


def compose(typed: Sequence[str], folder: str | None = None) -> DictConfig:
    """Compose the overrides `typed` and check names and top-level keys; imports no torch.

    Returns:
        The configuration with its `hydra` node, which is also set as the current one; `checked`
        makes a typed object of it.

    Raises:
        Refused: with one line for every mistake.
    """
    cfg, mistakes = examine(hydra_for(folder).config_loader, typed)
    if cfg is None or mistakes:
        raise Refused(*mistakes)
    return cfg


def examine(loader: ConfigLoader, typed: Sequence[str]) -> tuple[DictConfig | None, list[str]]:
    """What `compose` does, with the mistakes as an answer."""
    overrides, mistakes = parse(loader, typed)
    overrides, wrong = sift(overrides, lambda o: wrong_choice(loader, o))
    mistakes += wrong
    try:
        base = _chosen(loader, tuple(str(o.input_line) for o in overrides if is_choice(o)))
        overrides, wrong = sift(overrides, lambda o: unknown_key(base, o))
        mistakes += wrong
        chosen = all(map(is_choice, overrides))
        words = [str(o.input_line) for o in overrides]
        cfg = deepcopy(base) if chosen else _compose(loader, words)
        HydraConfig.instance().set_config(cfg)
        plain(cfg)
    except Exception as error:  # Hydra raises whatever the words lead to, OmegaConf as well
        return None, list(dict.fromkeys([*mistakes, one_line(error)]))
    try:
        checked(cfg)
    except Refused as refused:
        mistakes += refused.mistakes
    return cfg, list(dict.fromkeys(mistakes))


def checked(cfg: DictConfig) -> RunConfig:
    """The job's own configuration, resolved, with its top-level keys checked.

    The places that `data` names become absolute, in `cfg` as well.

    Raises:
        Refused: with one line for every mistake.
    """
    try:
        RunConfig.model_validate(plain(cfg))
    except ValidationError as error:
        raise Refused(*explain(error)) from None
    except OmegaConfBaseException as error:
        raise Refused(one_line(error)) from None
    for key in ("data.root", "data.cache", "data.split_file"):
        value = OmegaConf.select(cfg, key)
        if value == "":
            raise Refused(f"{key}=: name a place, or leave {key} out")
        if isinstance(value, str):
            OmegaConf.update(cfg, key, os.path.abspath(os.path.expanduser(value)))
    return RunConfig.model_validate(plain(cfg))


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The job's own configuration, resolved and not checked, in plain containers."""
    own = OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"])
    return OmegaConf.to_container(own, resolve=True)


@lru_cache(maxsize=16)
def _chosen(loader: ConfigLoader, words: tuple[str, ...]) -> DictConfig:
    """What there is to be set; the same for many jobs of a sweep, which share a loader."""
    return _compose(loader, words)


def _compose(loader: ConfigLoader, words: Iterable[str]) -> DictConfig:
    cfg = loader.load_configuration(
        config_name="config", overrides=list(words), run_mode=RunMode.RUN
    )
    OmegaConf.set_readonly(cfg.hydra, None)
    return cfg
