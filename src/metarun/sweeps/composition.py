"""What a job's words compose to, while Hydra is at another configuration."""

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
    """What words compose to, while Hydra is at another configuration.

    Attributes:
        config: `None` where there are mistakes.
        raw: the same with `${…}` as they stand in the files.
        choices: of each group, the optional ones included.
    """

    mistakes: list[str]
    config: RunConfig | None = None
    raw: dict[str, Any] = field(default_factory=dict)
    choices: dict[str, Any] = field(default_factory=dict)


def composed(loader: ConfigLoader, words: Sequence[str]) -> Composed:
    """What `words` compose to; the configuration that Hydra is at stays the current one."""
    current = HydraConfig.get() if HydraConfig.initialized() else None
    try:
        cfg, mistakes = examine(loader, words)
        if cfg is None or mistakes:
            return Composed(mistakes)
        raw = OmegaConf.to_container(cfg, resolve=False)
        choices = OmegaConf.to_container(cfg.hydra.runtime.choices)
        return Composed([], checked(cfg), {k: raw[k] for k in raw if k != "hydra"}, choices)
    finally:
        if current is not None:
            HydraConfig.instance().cfg = OmegaConf.create({"hydra": current})


def loader_for(hydra: DictConfig) -> tuple[ConfigLoader, list[str]]:
    """The tree of a job, or of a sweep, and the words that add folders to it."""
    own = [s.path for s in hydra.runtime.config_sources if s.provider == "command-line"]
    words = [w for w in hydra.overrides.hydra if w.startswith("hydra.searchpath=")]
    return _loader(own[0] if own else None), words


@lru_cache(maxsize=1)
def _loader(folder: str | None) -> ConfigLoader:
    """One for all trials: what it has composed is known to `config.examine`."""
    return hydra_for(folder).config_loader
