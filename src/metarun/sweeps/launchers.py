"""Launchers of a sweep: check their settings, choose the numbers of processes, and run jobs."""

from __future__ import annotations

import importlib.util
import math
import re
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from metarun.config.compose import examine
from metarun.config.explanation import show
from metarun.config.overrides import length, nearest
from metarun.errors import Refused, say
from metarun.sweeps.cluster import CLUSTERS, run_submitted
from metarun.sweeps.job import Job
from metarun.sweeps.workers import run_in_parallel

CHOICES = {  # other plug-ins of Hydra may offer more
    "hydra/launcher": ("basic", "joblib", *CLUSTERS),
    "hydra/sweeper": ("basic", "metarun", "optuna"),
}
COUNTS = ("n_jobs", "cpus_per_task", "timeout_min", "array_parallelism")
COUNTED = ("threads", "workers")
MAX_JOBS = 100_000  # in a sweep


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    from joblib import cpu_count  # respects CPU affinity and container limits

    return cpu_count()


def share(
    cores: int, jobs: int, processes: int | None, threads: int | None, workers: int = 1
) -> tuple[int, int]:
    """Choose how many jobs run at a time, and the threads of each of their workers.

    Args:
        jobs: the number of jobs.
        processes, threads: the numbers that the user set, which are kept; `None` if not set.
        workers: the number of processes of each job, which divide its threads.
    """
    cores //= workers
    if processes is None:
        processes = max(1, min(cores // (threads or 1), jobs))
    return processes, threads or max(1, cores // processes)


def threads_of(master: DictConfig, parsed: Sequence[Override], search: bool) -> int | None:
    """Return the number of threads of jobs that run in other processes; `None` if it is set.

    The number of threads changes rounding. As an override it is saved with the sweep, so that a
    sweep resumed on another machine gives the same results.

    Args:
        master: the configuration that all jobs share.
        parsed: the overrides of the jobs.

    Raises:
        Refused: there are too many jobs.
    """
    jobs = master.hydra.sweeper.trials if search else count(parsed)
    if any(o.key_or_group == "threads" for o in parsed):
        return None
    name, keys = master.hydra.runtime.choices["hydra/launcher"], master.hydra.launcher
    threads, workers = master.get("threads"), master.get("workers")
    workers = max(1, workers) if type(workers) is int else 1  # `auto` takes those of one job
    if name == "joblib":
        jobs = jobs if type(jobs) is int else 1
        return share(cores(), jobs, keys.n_jobs, threads, workers)[1]
    return threads or max(1, (keys.cpus_per_task or 1) // workers) if name in CLUSTERS else None


def check(overrides: Sequence[Override], loader: ConfigLoader) -> None:
    """Refuse unknown or unusable launchers, unknown launcher keys and invalid counts.

    Raises:
        Refused: with a line for each.
    """
    launcher = [o for o in overrides if o.key_or_group == "hydra/launcher"]
    cfg, mistakes = examine(loader, [o.input_line for o in launcher if not o.is_sweep_override()])
    launcher_keys = [k for k in cfg.hydra.launcher if k != "_target_"] if cfg is not None else []
    for o in overrides:
        key, value = o.key_or_group, o.value()
        if key.startswith("hydra") and "launcher" in key and o.is_sweep_override():
            mistakes.append(f"{o.input_line}: a sweep has one launcher")
            continue
        if key in CHOICES and isinstance(value, str) and value not in CHOICES[key]:
            mistakes.append(f"{key}={value}: is not for metarun ({', '.join(CHOICES[key])})")
        if key == "hydra/launcher" and value in CLUSTERS:
            if importlib.util.find_spec("submitit") is None:
                mistakes.append(f"{key}={value}: needs pip install 'metarun[cluster]'")
            elif value == "slurm" and shutil.which("sbatch") is None:
                mistakes.append(
                    f"{key}=slurm: there is no sbatch on this machine; "
                    f"{key}=submitit_local tries the same without a cluster"
                )
        if key == "hydra.launcher":
            mistakes.append(f"{o.input_line}: no such key; choose with hydra/launcher=NAME")
        head, _, name = key.rpartition(".")
        if head != "hydra.launcher":
            continue
        if cfg is not None and not launcher_keys:
            mistakes.append(f"{o.input_line}: needs a launcher: add hydra/launcher=joblib")
        elif launcher_keys and name not in launcher_keys and not o.is_add():
            near = nearest(key, [f"{head}.{k}" for k in launcher_keys])
            mistakes.append(f"{o.input_line}: no such key{near} ({', '.join(launcher_keys)})")
        elif name in COUNTS and value is not None and not (type(value) is int and value >= 1):
            mistakes.append(f"{key}={show(value)}: should be a whole number, 1 or more")
    if mistakes:
        raise Refused(*mistakes)


def count(overrides: Sequence[Override]) -> int:
    """Return the number of jobs of a sweep that is not a search.

    Raises:
        Refused: there are more than `MAX_JOBS`, or a range has no values or no end.
    """
    lengths = {str(o.input_line): length(o) for o in overrides if o.is_sweep_override()}
    jobs = math.prod(lengths.values())
    if jobs > MAX_JOBS:
        longest = max(lengths, key=lengths.__getitem__)
        raise Refused(f"{longest}: the sweep has {jobs} jobs; the maximum is {MAX_JOBS}")
    for line, values in lengths.items():
        if not values:
            raise Refused(f"{line}: has no value in it")
    return jobs


def largest(key: str, jobs: Sequence[Sequence[str]]) -> int:
    """Return the largest number that the overrides of the jobs set `key` to; 1 if none sets it."""
    matches = [re.fullmatch(rf"\+{{0,2}}{key}=(\d+)", o) for job in jobs for o in job]
    return max([1, *(int(match[1]) for match in matches if match)])


def summary(jobs: int, processes: int, threads: int, workers: int = 1) -> str:
    """Return a line with the numbers of jobs, processes, threads, workers and cores."""
    parallel = f"{processes} jobs" if processes > 1 else "1 job"
    parallel += f" of {workers} workers" if workers > 1 else ""
    each = f"{threads} threads each" if threads > 1 else "1 thread each"
    available = cores()
    on = f"on {available} core{'s' if available > 1 else ''}"
    return f"{jobs} jobs, {parallel} at a time, {each}, {on}"


def run_jobs(jobs: Sequence[Job], launcher: str, keys: Mapping[str, Any]) -> bool:
    """Run the jobs with a launcher; return whether one of them failed.

    Args:
        keys: the values of `hydra.launcher`.

    Raises:
        KeyboardInterrupt: a signal stopped the jobs.
    """
    if launcher in CLUSTERS:
        return run_submitted(jobs, launcher, keys)
    if launcher == "joblib":
        threads, workers = (largest(key, [j.overrides for j in jobs]) for key in COUNTED)
        processes, _ = share(cores(), len(jobs), keys["n_jobs"], threads, workers)
        processes = min(processes, len(jobs))  # more would have no job
        if jobs[0].number == 0:
            say(summary(len(jobs), processes, threads, workers))
        if processes > 1:
            return run_in_parallel(jobs, processes, threads)
    return any([job() for job in jobs])
