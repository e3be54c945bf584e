"""`hydra/launcher=joblib`: jobs side by side, over Hydra's own plug-in for joblib.

Hydra finds plug-ins in the namespace package `hydra_plugins` only.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.plugins.launcher import Launcher

from metarun.errors import complain
from metarun.sweeps import launchers

with contextlib.suppress(ImportError):  # without the extra, launchers.py says what is missing
    import hydra_plugins.hydra_joblib_launcher.config  # noqa: F401

    # conf/hydra/launcher/joblib.yaml is the one: for two of one name Hydra warns
    ConfigStore.instance().repo["hydra"]["launcher"].pop("joblib.yaml", None)


class MetarunJoblib(Launcher):
    """As many jobs at a time as there are cores for, or as `n_jobs` says."""

    def __init__(self, n_jobs: int | None = None) -> None:
        self.n_jobs = n_jobs
        self.given: dict[str, Any] = {}

    def setup(self, **given: Any) -> None:
        self.given = given

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run a batch of jobs; none of them ends another."""
        jobs, threads = len(job_overrides), launchers.threads_of(job_overrides)
        processes, _ = launchers.share(launchers.cores(), jobs, self.n_jobs, threads)
        processes = min(processes, jobs)  # the others would be started to do nothing
        if initial_job_idx == 0:
            print(launchers.said(jobs, processes, threads), flush=True)
        if processes == 1 and initial_job_idx == 0:
            basic = BasicLauncher()
            basic.setup(**self.given)
            return basic.launch(job_overrides, initial_job_idx)
        return self._side_by_side(job_overrides, initial_job_idx, processes, threads)

    def _side_by_side(
        self, job_overrides: Sequence[Sequence[str]], first: int, processes: int, threads: int
    ) -> Sequence[JobReturn]:
        from hydra_plugins.hydra_joblib_launcher._core import execute_job

        from metarun.sweeps import pool

        setup_globals()
        context, config, task = (
            self.given[name] for name in ("hydra_context", "config", "task_function")
        )
        state = Singleton.get_state()
        calls = [
            (execute_job, (first + number, list(words), context, config, task, state))
            for number, words in enumerate(job_overrides)
        ]
        returned = [failed(words) for words in job_overrides]
        for ended in pool.run_jobs(calls, processes, threads):
            lost = sorted(n + first for n, found in ended.items() if isinstance(found, pool.Lost))
            if lost:
                which = " and ".join(f"job {number}" for number in lost)
                complain(
                    f"{which}: ended when a process was killed, perhaps for want of memory; "
                    f"go on with: metarun resume={config.hydra.sweep.dir}"
                )
            for number, found in ended.items():
                if isinstance(found, JobReturn):
                    returned[number] = found
                elif not isinstance(found, pool.Lost):
                    complain(f"job {first + number}: {found.line}")
        return returned


def failed(words: Sequence[str]) -> JobReturn:
    """What Hydra is given for a job that has not returned anything."""
    result = JobReturn(overrides=list(words), status=JobStatus.COMPLETED)
    result.return_value = math.nan
    return result
