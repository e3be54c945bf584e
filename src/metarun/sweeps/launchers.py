"""Where a sweep's jobs run: one after the other, side by side, or on a cluster."""

from __future__ import annotations

import importlib.util
import math
import re
import shutil
from collections.abc import Sequence

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from metarun.config.compose import examine
from metarun.config.groups import options_of
from metarun.config.overrides import length, nearest, parse
from metarun.config.schema import show
from metarun.errors import Refused
from metarun.sweeps.search.search_space import CHOSEN

EXTRAS = {  # what a launcher needs: packages, and the extra that brings them
    "joblib": (("joblib", "hydra_plugins.hydra_joblib_launcher"), "parallel"),
    "slurm": (("submitit", "hydra_plugins.hydra_submitit_launcher"), "cluster"),
    "submitit_local": (("submitit", "hydra_plugins.hydra_submitit_launcher"), "cluster"),
}
COUNTS = ("n_jobs", "cpus_per_task", "timeout_min", "array_parallelism")
REPLAYED = (  # a sweep's own file can hold these keys: plain words that reach no shell
    *(*COUNTS, "gpus_per_node", "mem_gb", "max_num_timeout", "signal_delay_s"),
    *("partition", "qos", "account", "constraint", "gres"),
)
MOST = 100_000  # jobs of a sweep, each composed before the first begins
PLAIN = re.compile(r"[\w.:+-]*")


def cores() -> int:
    """The cores that this process may use: fewer than there are, where it is bound to some."""
    from joblib import cpu_count  # heeds affinity and the limits of a container

    return cpu_count()


def share(cores: int, jobs: int, processes: int | None, threads: int | None) -> tuple[int, int]:
    """How many processes, and threads in each, so that they do not outnumber the cores.

    Args:
        jobs: how many there are.
        processes, threads: what was asked for; it is not changed.
    """
    if processes is None:
        processes = max(1, min(cores // (threads or 1), jobs))
    return processes, threads or max(1, cores // processes)


def settle(words: list[str], cfg: DictConfig | None, loader: ConfigLoader) -> list[str]:
    """The words of a sweep, with the number of threads where jobs run in other processes.

    It is among the words, so that a sweep that goes on elsewhere has the same bits.

    Args:
        cfg: what the jobs share; `None` where that cannot be composed.

    Raises:
        Refused: there is no such launcher, or it lacks something; there are too many jobs.
    """
    overrides, _ = parse(loader, words, sweep=True)
    _check(overrides, loader)
    searched = any(o.input_line.lstrip("+") == CHOSEN for o in overrides)
    jobs = None if searched else count(overrides)
    if cfg is None or any(o.key_or_group == "threads" for o in overrides):
        return words
    name, keys = cfg.hydra.runtime.choices.get("hydra/launcher"), cfg.hydra.launcher
    threads = cfg.get("threads")
    if name == "joblib":
        jobs = jobs or cfg.hydra.sweeper.trials
        threads = share(cores(), jobs if type(jobs) is int else 1, keys.n_jobs, threads)[1]
    elif name in EXTRAS:
        threads = threads or keys.cpus_per_task
    return [*words, f"threads={threads}"] if name in EXTRAS and threads else words


def _check(overrides: Sequence[Override], loader: ConfigLoader) -> None:
    """Refuse launchers that are not there, or not usable here, and counts that are none."""
    mistakes = []
    chosen = [o.input_line for o in overrides if o.key_or_group == "hydra/launcher"]
    cfg, _ = examine(loader, chosen)
    known = [k for k in cfg.hydra.launcher if k != "_target_"] if cfg is not None else []
    for o in overrides:
        key, value = o.key_or_group, o.value()
        if key.startswith("hydra") and "launcher" in key and o.is_sweep_override():
            mistakes.append(f"{o.input_line}: a sweep has one launcher")
            continue
        if key == "hydra/launcher":
            offered = options_of(loader, key)
            if value not in offered:
                hint = nearest(str(value), offered)
                mistakes.append(f"{key}={show(value)}: no such choice{hint} ({', '.join(offered)})")
                continue
            packages, extra = EXTRAS.get(value, ((), ""))
            if not all(map(_installed, packages)):
                mistakes.append(f"{key}={value}: needs pip install 'metarun[{extra}]'")
            elif value == "slurm" and shutil.which("sbatch") is None:
                mistakes.append(
                    f"{key}=slurm: there is no sbatch on this machine; "
                    f"{key}=submitit_local tries the same without a cluster"
                )
        head, _, name = key.rpartition(".")
        if head != "hydra.launcher":
            continue
        if cfg is not None and not known:
            mistakes.append(f"{o.input_line}: needs a launcher: add hydra/launcher=joblib")
        elif known and name not in known and not o.is_add():
            near = nearest(key, [f"{head}.{k}" for k in known])
            mistakes.append(f"{o.input_line}: no such key{near} ({', '.join(known)})")
        elif name in COUNTS and value is not None and not (type(value) is int and value >= 1):
            mistakes.append(f"{key}={show(value)}: should be a whole number, 1 or more")
    if mistakes:
        raise Refused(*mistakes)


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def count(overrides: Sequence[Override]) -> int:
    """How many jobs a sweep has that is no search.

    Raises:
        Refused: more than can be meant, or a range without an end.
    """
    lengths = {str(o.input_line): length(o) for o in overrides if o.is_sweep_override()}
    found = math.prod(lengths.values())
    if found > MOST:
        longest = max(lengths, key=lengths.__getitem__)
        raise Refused(f"{longest}: the sweep has {found} jobs; {MOST} is the most")
    for line, values in lengths.items():
        if not values:
            raise Refused(f"{line}: has no value in it")
    return found


def threads_of(jobs: Sequence[Sequence[str]]) -> int:
    """The threads that a job of a sweep takes, by its words."""
    typed = [re.fullmatch(r"\+{0,2}threads=(\d+)", word) for job in jobs for word in job]
    return max((int(match[1]) for match in typed if match), default=1)


def replayed(word: str) -> bool:
    """Whether a sweep's own file, which may be a stranger's, can say this of its launcher."""
    match = re.fullmatch(r"\+{0,2}hydra\.launcher\.(\w+)=(.*)", word, flags=re.DOTALL)
    return bool(match and match[1] in REPLAYED and PLAIN.fullmatch(match[2]))


def instead(words: list[str], typed: Sequence[str], also: str = "") -> list[str]:
    """A sweep's words with another launcher, or other keys of it.

    Args:
        also: what else can be typed, for the message.

    Raises:
        Refused: something else was typed.
    """
    for word in typed:
        key = word.partition("=")[0].lstrip("+")
        named = key == "hydra/launcher" or re.fullmatch(r"hydra\.launcher\.(?!_)\w+", key)
        if not named or "=" not in word:
            raise Refused(
                f"{word}: a sweep goes on as it was typed; "
                f"only {also}hydra/launcher=NAME and hydra.launcher.KEY=… can be typed with resume"
            )
    keys = {word.partition("=")[0].lstrip("+") for word in typed}
    another = "hydra/launcher" in keys
    kept = [
        word
        for word in words
        if (key := word.partition("=")[0].lstrip("+")) not in keys
        and not (another and key.startswith("hydra.launcher."))
    ]
    return [*kept, *typed]


def said(jobs: int, processes: int, threads: int) -> str:
    """What was chosen, for the screen."""
    many = f"{processes} jobs" if processes > 1 else "1 job"
    each = f"{threads} threads each" if threads > 1 else "1 thread each"
    have = cores()
    return f"{jobs} jobs, {many} at a time, {each}, on {have} core{'s' if have > 1 else ''}"


def failed(returned: object) -> bool:
    """Whether a job of those that Hydra returned failed (`worker.attempt`)."""
    if isinstance(returned, list | tuple):
        return any(map(failed, returned))
    value = getattr(returned, "_return_value", None)
    return isinstance(value, float) and math.isnan(value)
