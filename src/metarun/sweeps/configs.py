"""Where the configurations of a sweep come from, and what its overrides compose to."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from omegaconf import OmegaConf

from metarun.config.compose import checked, examine
from metarun.config.groups import hydra_for, user_folders
from metarun.config.schema import RunConfig


@dataclass(frozen=True)
class Composed:
    """The result of composing the overrides of a job.

    Attributes:
        mistakes: the errors, one line each.
        config: the checked configuration; `None` if there are errors.
        folders: the config folders of the user.
        raw: the configuration without the `hydra` node and with `${…}` not resolved.
        choices: the choice in each config group, including optional groups.
    """

    mistakes: list[str]
    config: RunConfig | None = None
    folders: list[Path] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)
    choices: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Configs:
    """The config folders of a sweep.

    Attributes:
        config_dir: the absolute path of `--config-dir`, or `None`.
        search_path: the overrides of `hydra.searchpath`.
    """

    config_dir: str | None
    search_path: tuple[str, ...] = ()

    @classmethod
    def of(cls, config_dir: str | None, overrides: Sequence[str]) -> Configs:
        """Return the folders that a sweep with these overrides uses."""
        search_path = (o for o in overrides if o.lstrip("+").startswith("hydra.searchpath="))
        return cls(config_dir and os.path.abspath(config_dir), tuple(search_path))

    def compose(self, overrides: Sequence[str]) -> Composed:
        """Compose the overrides of a job as a single run does."""
        cfg, mistakes = examine(_loader(self.config_dir), [*self.search_path, *overrides])
        if cfg is None or mistakes:
            return Composed(mistakes)
        raw = OmegaConf.to_container(cfg, resolve=False)
        choices = OmegaConf.to_container(cfg.hydra.runtime.choices)
        raw = {key: value for key, value in raw.items() if key != "hydra"}
        return Composed([], checked(cfg), user_folders(cfg), raw, choices)

    def command(self, overrides: Sequence[str]) -> str:
        """Return the command line that makes the run of a job alone."""
        flag = [f"--config-dir={self.config_dir}"] if self.config_dir else []
        return shlex.join(["metarun", *flag, *self.search_path, *overrides])


@lru_cache(maxsize=1)
def _loader(config_dir: str | None) -> ConfigLoader:
    """Return one loader for all jobs, so that `config.compose` can cache what it composes."""
    return hydra_for(config_dir).config_loader
