"""`hydra/launcher=slurm` and `submitit_local`, based on Hydra's submitit launcher.

Hydra finds plug-ins in the namespace package `hydra_plugins` only.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher

from metarun.errors import complain, say
from metarun.sweeps import launchers

try:
    from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf
    from hydra_plugins.hydra_submitit_launcher.submitit_launcher import BaseSubmititLauncher
except ImportError:  # metarun.sweeps.launchers reports the missing extra
    BaseSubmititLauncher = Launcher
else:  # conf/hydra/launcher replaces these; Hydra warns about two of the same name
    for name in ("submitit_local.yaml", "submitit_slurm.yaml"):
        ConfigStore.instance().repo["hydra"]["launcher"].pop(name, None)

POLL_SECONDS = 0.5  # between checks whether a job has ended


class _Submitted(BaseSubmititLauncher):
    """Submit all jobs and wait for them; a lost job does not stop the others."""

    def checkpoint(self, *args: Any, **kwargs: Any) -> Any:
        """Return the submission of an interrupted job, which resumes the run in its folder."""
        from submitit.helpers import DelayedSubmission

        resumed = copy.copy(self)
        resumed.task_function = partial(self.task_function, go_on=True)
        return DelayedSubmission(resumed, *args, **kwargs)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Submit a batch of jobs, and print the outcome of each."""
        import submitit

        Path(str(self.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        keys = {key: value for key, value in self.params.items() if value is not None}
        folder, executor_keys = keys.pop("submitit_folder"), {}
        if "max_num_timeout" in keys:
            executor_keys[f"{self._EXECUTOR}_max_num_timeout"] = keys.pop("max_num_timeout")
        executor = submitit.AutoExecutor(folder=folder, cluster=self._EXECUTOR, **executor_keys)
        shared_keys = BaseQueueConf.__dataclass_fields__
        executor.update_parameters(
            **{k if k in shared_keys else f"{self._EXECUTOR}_{k}": v for k, v in keys.items()}
        )
        calls = [
            (list(overrides), "hydra.sweep.dir", number, f"job {number}", Singleton.get_state())
            for number, overrides in enumerate(job_overrides, initial_job_idx)
        ]
        jobs = executor.map_array(self, *zip(*calls, strict=True))
        logs = Path(str(folder)).parent
        say(f"{len(jobs)} jobs submitted; their logs are in {logs}")
        return _wait(jobs, job_overrides, initial_job_idx)


class MetarunSlurm(_Submitted):
    """Run jobs as a job array on a Slurm cluster."""

    _EXECUTOR = "slurm"


class MetarunLocal(_Submitted):
    """Run jobs on this machine, to test a Slurm sweep without a cluster."""

    _EXECUTOR = "local"


def _wait(jobs: Sequence[Any], overrides: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
    """Wait for all jobs and return their results; print each as soon as the job ends."""
    results: dict[int, JobReturn] = {}
    while len(results) < len(jobs):
        for number, job in enumerate(jobs):
            if number not in results and job.done():
                results[number] = _result(job, first + number, overrides[number])
        time.sleep(POLL_SECONDS)
    return [results[number] for number in range(len(jobs))]


def _result(job: Any, number: int, overrides: Sequence[str]) -> JobReturn:
    """Print the errors and the outcome of a job that has ended, and return its result."""
    for line in (job.stderr() or "").splitlines():
        if line.startswith("metarun: "):  # the errors in the log of the job
            complain(line.removeprefix("metarun: "))
    try:
        result = job.results()[0]
        assert result.status == JobStatus.COMPLETED
    except Exception:
        complain(f"job {number}: ended without a result; its log: {job.paths.stderr}")
        result = launchers.without_result(overrides)
    if not math.isnan(result.return_value or 0.0):
        say(f"job {number}  finished")
    return result
