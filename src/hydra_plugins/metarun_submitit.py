"""`hydra/launcher=slurm` and `submitit_local`, over Hydra's own plug-in for submitit.

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

from metarun.errors import complain

try:
    from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf
    from hydra_plugins.hydra_submitit_launcher.submitit_launcher import BaseSubmititLauncher
except ImportError:  # without the extra, metarun.sweeps.launchers says what is missing
    BaseSubmititLauncher = Launcher
else:  # conf/hydra/launcher has the ones to choose from: for two of one name Hydra warns
    for name in ("submitit_local.yaml", "submitit_slurm.yaml"):
        ConfigStore.instance().repo["hydra"]["launcher"].pop(name, None)

POLLED = 0.5  # seconds between looks at whether a job has ended


class _Submitted(BaseSubmititLauncher):
    """Submits all jobs, and waits for each: one that is lost does not end the others."""

    def checkpoint(self, *args: Any, **kwargs: Any) -> Any:
        """What is submitted again: the job, to go on in the folder that it has begun."""
        from submitit.helpers import DelayedSubmission

        again = copy.copy(self)
        again.task_function = partial(self.task_function, go_on=True)
        return DelayedSubmission(again, *args, **kwargs)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Submit a batch of jobs, and show what becomes of them."""
        import submitit

        Path(str(self.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        keys = {key: value for key, value in self.params.items() if value is not None}
        folder, own = keys.pop("submitit_folder"), {}
        if "max_num_timeout" in keys:
            own[f"{self._EXECUTOR}_max_num_timeout"] = keys.pop("max_num_timeout")
        executor = submitit.AutoExecutor(folder=folder, cluster=self._EXECUTOR, **own)
        shared = BaseQueueConf.__dataclass_fields__
        executor.update_parameters(
            **{k if k in shared else f"{self._EXECUTOR}_{k}": v for k, v in keys.items()}
        )
        calls = [
            (list(words), "hydra.sweep.dir", number, f"job {number}", Singleton.get_state())
            for number, words in enumerate(job_overrides, initial_job_idx)
        ]
        jobs = executor.map_array(self, *zip(*calls, strict=True))
        where = Path(str(folder)).parent
        print(f"{len(jobs)} jobs submitted; their logs are in {where}", flush=True)
        return _wait(jobs, job_overrides, initial_job_idx)


class MetarunSlurm(_Submitted):
    """Jobs of an array on a Slurm cluster."""

    _EXECUTOR = "slurm"


class MetarunLocal(_Submitted):
    """The same on this machine, to try it."""

    _EXECUTOR = "local"


def _wait(jobs: Sequence[Any], words: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
    """What each job returned, shown as soon as it ends."""
    found: dict[int, JobReturn] = {}
    while len(found) < len(jobs):
        for number, job in enumerate(jobs):
            if number not in found and job.done():
                found[number] = _returned(job, first + number, words[number])
        time.sleep(POLLED)
    return [found[number] for number in range(len(jobs))]


def _returned(job: Any, number: int, words: Sequence[str]) -> JobReturn:
    for line in (job.stderr() or "").splitlines():
        if line.startswith("metarun: "):  # what the job said while nobody was there to hear it
            complain(line.removeprefix("metarun: "))
    try:
        returned = job.results()[0]
        assert returned.status == JobStatus.COMPLETED
    except Exception:
        complain(f"job {number}: ended without a result; its log: {job.paths.stderr}")
        returned = JobReturn(overrides=list(words), status=JobStatus.COMPLETED)
        returned.return_value = math.nan
    if not math.isnan(returned.return_value or 0.0):
        print(f"job {number}  finished", flush=True)
    return returned
