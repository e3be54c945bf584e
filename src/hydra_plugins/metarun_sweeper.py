"""A sweep in which a job that cannot be composed fails alone, and the others run.

Hydra finds plug-ins in the namespace package `hydra_plugins` only.
"""

from __future__ import annotations

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

from metarun.sweeps.job import validated_overrides


class MetarunSweeper(BasicSweeper):
    """Hydra's own sweeper; a job with mistakes becomes one that only carries them."""

    def get_job_batch(self) -> Sequence[Sequence[str]]:
        loader = self.hydra_context.config_loader
        return [validated_overrides(loader, self.config, job) for job in super().get_job_batch()]

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """`validated_overrides` has seen to that, and composing takes time."""
