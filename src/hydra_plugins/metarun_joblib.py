"""`hydra/launcher=joblib`: run jobs in parallel, based on Hydra's joblib launcher.

Hydra finds plug-ins in the namespace package `hydra_plugins` only.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, setup_globals
from hydra.plugins.launcher import Launcher

from metarun.errors import complain, say
from metarun.sweeps import launchers

with contextlib.suppress(ImportError):  # sweeps/launchers.py reports the missing extra
    import hydra_plugins.hydra_joblib_launcher.config  # noqa: F401

    # conf/hydra/launcher/joblib.yaml replaces it; Hydra warns about two of the same name.
    ConfigStore.instance().repo["hydra"]["launcher"].pop("joblib.yaml", None)


class MetarunJoblib(Launcher):
    """Run `n_jobs` jobs at a time; by default, as many as the CPU cores allow."""

    def __init__(self, n_jobs: int | None = None) -> None:
        self.n_jobs = n_jobs
        self.context: dict[str, Any] = {}

    def setup(self, **context: Any) -> None:
        """Keep the objects that Hydra gives to a launcher."""
        self.context = context

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run a batch of jobs; a job that fails does not stop the others."""
        jobs = len(job_overrides)
        threads, workers = (launchers.largest(k, job_overrides) for k in ("threads", "workers"))
        processes, _ = launchers.share(launchers.cores(), jobs, self.n_jobs, threads, workers)
        processes = min(processes, jobs)  # more would have no job
        if initial_job_idx == 0:
            say(launchers.summary(jobs, processes, threads, workers))
        if processes == 1 and initial_job_idx == 0:
            basic = BasicLauncher()
            basic.setup(**self.context)
            return basic.launch(job_overrides, initial_job_idx)
        return self._run_in_parallel(job_overrides, initial_job_idx, processes, threads)

    def _run_in_parallel(
        self, job_overrides: Sequence[Sequence[str]], first: int, processes: int, threads: int
    ) -> Sequence[JobReturn]:
        """Run the jobs in the worker processes of `metarun.sweeps.pool`."""
        from hydra_plugins.hydra_joblib_launcher._core import execute_job

        from metarun.sweeps import pool

        setup_globals()
        context, config, task = (
            self.context[name] for name in ("hydra_context", "config", "task_function")
        )
        state = Singleton.get_state()
        calls = [
            (execute_job, (first + number, list(overrides), context, config, task, state))
            for number, overrides in enumerate(job_overrides)
        ]
        results = [launchers.without_result(overrides) for overrides in job_overrides]
        for outcomes in pool.run_jobs(calls, processes, threads):
            lost = sorted(n + first for n, out in outcomes.items() if isinstance(out, pool.Lost))
            if lost:
                jobs = " and ".join(f"job {number}" for number in lost)
                complain(
                    f"{jobs}: ended because a process was killed, perhaps out of memory; "
                    f"go on with: metarun resume={config.hydra.sweep.dir}"
                )
            for number, outcome in outcomes.items():
                if isinstance(outcome, JobReturn):
                    results[number] = outcome
                elif not isinstance(outcome, pool.Lost):
                    complain(f"job {first + number}: {outcome.line}")
        return results
