"""The config folders of a sweep, from which its jobs are composed."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig

from metarun.config.compose import examine
from metarun.config.groups import hydra_for


@dataclass(frozen=True)
class Configs:
    """The config folders of the user.

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

    def compose(self, overrides: Sequence[str]) -> tuple[DictConfig | None, list[str]]:
        """Compose the overrides of a job as a single run does; see `config.compose.examine`."""
        return examine(_loader(self.config_dir), [*self.search_path, *overrides])

    def command(self, overrides: Sequence[str]) -> str:
        """Return the command line that makes the run of a job alone."""
        flag = [f"--config-dir={self.config_dir}"] if self.config_dir else []
        return shlex.join(["metarun", *flag, *self.search_path, *overrides])


@lru_cache(maxsize=1)
def _loader(config_dir: str | None) -> ConfigLoader:
    """Return one loader for all jobs, so that `config.compose` can cache what it composes."""
    return hydra_for(config_dir).config_loader
