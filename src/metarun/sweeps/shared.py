"""What the jobs of a sweep share: its folder, and the config folders that compose them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig

from metarun.config.compose import examine
from metarun.config.groups import hydra_for


@dataclass(frozen=True)
class Sweep:
    """What the jobs of a sweep share.

    Attributes:
        folder: the folder of the sweep.
        go_on: whether the sweep is resumed.
        config_dir: the absolute path of `--config-dir`, or `None`.
        search_path: the overrides of `hydra.searchpath`.
    """

    folder: Path
    go_on: bool
    config_dir: str | None = None
    search_path: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, folder: Path, overrides: Sequence[str], config_dir: str | None, go_on: bool
    ) -> Sweep:
        """Return what the jobs of a sweep with these overrides share."""
        search_path = (o for o in overrides if o.lstrip("+").startswith("hydra.searchpath="))
        return cls(folder, go_on, config_dir and os.path.abspath(config_dir), tuple(search_path))

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
