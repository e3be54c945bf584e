"""The default sweeper: a job with invalid overrides fails, and the others run.

Hydra finds plug-ins in the namespace package `hydra_plugins` only.
"""

from __future__ import annotations

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

from metarun.sweeps.job import validated_overrides


class MetarunSweeper(BasicSweeper):
    """Hydra's basic sweeper; a job with invalid overrides is replaced by one that reports them."""

    def get_job_batch(self) -> Sequence[Sequence[str]]:
        """Return the overrides of the next jobs."""
        loader = self.hydra_context.config_loader
        return [validated_overrides(loader, self.config, job) for job in super().get_job_batch()]

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Do nothing: `validated_overrides` has checked the jobs, and composing takes time."""
