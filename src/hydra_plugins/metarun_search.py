"""A search: as many jobs as there are trials, each of which asks for its own values.

Hydra finds plug-ins in the namespace package `hydra_plugins` only.
"""

from __future__ import annotations

from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class MetarunSearch(Sweeper):
    """Hands all trials to the launcher at once: none waits for the slowest of a batch."""

    def __init__(self, **given: Any) -> None:
        self.given = given

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from hydra.core.plugins import Plugins

        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        from metarun.sweeps.search.setup import begin

        jobs = begin(self.config, self.given, arguments)
        returned = self.launcher.launch(jobs, initial_job_idx=0)
        for job in returned:
            _ = job.return_value  # raises what a job raised
        return returned
