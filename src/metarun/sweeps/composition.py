"""Compose the configuration of a job without changing Hydra's current configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from metarun.config.compose import checked, examine
from metarun.config.groups import hydra_for
from metarun.config.schema import RunConfig


@dataclass(frozen=True)
class Composed:
    """The result of composing overrides.

    Attributes:
        mistakes: the errors, one line each.
        config: the checked configuration; `None` if there are errors.
        raw: the configuration without the `hydra` node and with `${…}` not resolved.
        choices: the choice in each config group, including optional groups.
    """

    mistakes: list[str]
    config: RunConfig | None = None
    raw: dict[str, Any] = field(default_factory=dict)
    choices: dict[str, Any] = field(default_factory=dict)


def composed(loader: ConfigLoader, overrides: Sequence[str]) -> Composed:
    """Compose the overrides and restore Hydra's current configuration afterwards."""
    current = HydraConfig.get() if HydraConfig.initialized() else None
    try:
        cfg, mistakes = examine(loader, overrides)
        if cfg is None or mistakes:
            return Composed(mistakes)
        raw = OmegaConf.to_container(cfg, resolve=False)
        choices = OmegaConf.to_container(cfg.hydra.runtime.choices)
        return Composed([], checked(cfg), {k: raw[k] for k in raw if k != "hydra"}, choices)
    finally:
        if current is not None:
            HydraConfig.instance().cfg = OmegaConf.create({"hydra": current})


def config_folders(hydra: DictConfig) -> tuple[str | None, list[str]]:
    """Return the `--config-dir` of a job or a sweep, and its `hydra.searchpath` overrides."""
    config_dirs = [s.path for s in hydra.runtime.config_sources if s.provider == "command-line"]
    search_path = [o for o in hydra.overrides.hydra if o.startswith("hydra.searchpath=")]
    return config_dirs[0] if config_dirs else None, search_path


def loader_for(hydra: DictConfig) -> tuple[ConfigLoader, list[str]]:
    """Return the config loader of a job or a sweep, and its `hydra.searchpath` overrides."""
    config_dir, search_path = config_folders(hydra)
    return _loader(config_dir), search_path


@lru_cache(maxsize=1)
def _loader(folder: str | None) -> ConfigLoader:
    """Return one loader for all trials, so that `config.compose` can cache what it composes."""
    return hydra_for(folder).config_loader
