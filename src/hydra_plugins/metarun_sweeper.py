"""The default sweeper: a job with invalid overrides fails, and the others run.

Hydra finds plug-ins in the namespace package `hydra_plugins` only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.utils import JobReturn
from omegaconf import OmegaConf

from metarun.config.overrides import parse
from metarun.config.schema import show
from metarun.errors import Refused, refusing_os_errors
from metarun.files import make_folder, write_whole
from metarun.sweeps.job import validated_overrides


class MetarunSweeper(BasicSweeper):
    """Hydra's basic sweeper; a job with invalid overrides is replaced by one that reports them."""

    def sweep(self, arguments: list[str]) -> list[JobReturn]:
        """Write `multirun.yaml` and launch the jobs.

        Raises:
            Refused: a key of the sweeper has an invalid value, or the folder cannot be written to.
        """
        size = self.max_batch_size
        if not isinstance(self.params, Mapping):
            line = f"hydra.sweeper.params={show(self.params)}"
            raise Refused(f"{line}: should be values by key: hydra.sweeper.params={{KEY: VALUES}}")
        if size is not None and not (type(size) is int and size >= 1):
            line = f"hydra.sweeper.max_batch_size={show(size)}"
            raise Refused(f"{line}: should be a whole number, 1 or more, or null")
        loader = self.hydra_context.config_loader
        parsed, mistakes = parse(loader, [*self._parse_config(), *arguments], sweep=True)
        if mistakes:
            raise Refused(*mistakes)
        batches = self.split_arguments(parsed, size)
        folder = Path(self.config.hydra.sweep.dir)
        with refusing_os_errors(f"hydra.sweep.dir={folder}", "cannot be written to"):
            make_folder(folder)
            write_whole(folder / "multirun.yaml", OmegaConf.to_yaml(self.config))
        returned: list[JobReturn] = []
        for batch in batches:
            jobs = [validated_overrides(loader, self.config, job) for job in batch]
            returned += self.launcher.launch(jobs, initial_job_idx=len(returned))
            for job in returned:
                _ = job.return_value  # raises the error of the job
        return returned
