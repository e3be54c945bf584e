"""`hydra/sweeper=optuna`: launch one job for each trial; each job gets its own values.

Hydra finds plug-ins in the namespace package `hydra_plugins` only.
"""

from __future__ import annotations

from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class MetarunSearch(Sweeper):
    """Launch all trials at once, so that no trial waits for the slowest of a batch."""

    def __init__(self, **keys: Any) -> None:
        self.keys = keys

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Create the launcher."""
        from hydra.core.plugins import Plugins

        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Check the search and run its trials."""
        from metarun.sweeps.search.setup import begin

        jobs = begin(self.config, self.keys, arguments)
        returned = self.launcher.launch(jobs, initial_job_idx=0)
        for job in returned:
            _ = job.return_value  # raises the error of the job
        return returned
