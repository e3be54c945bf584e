"""The jobs of a sweep: every combination of the values of its overrides, each with a folder."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from metarun.config.compose import examine
from metarun.config.explanation import show
from metarun.config.overrides import one_line, parse
from metarun.config.schema import GROUPS
from metarun.errors import Refused
from metarun.sweeps.job import Job
from metarun.sweeps.shared import Sweep

NUMBER = "${hydra.job.num}"  # the default of hydra.sweep.subdir


def master_config(loader: ConfigLoader, overrides: Sequence[Override], search: bool) -> DictConfig:
    """Return what all jobs share; `hydra.overrides` has the overrides of the whole sweep.

    A key of a group with several choices is left to the jobs, as in `algo=maml,fomaml
    algo.inner_lr=0.1`. If the rest cannot be composed, each job reports it, or is one of a search.

    Raises:
        Refused: the overrides of Hydra, or those that all trials of a search share, are invalid.
    """
    swept = {o.key_or_group for o in overrides if o.is_sweep_override()}
    groups = set(GROUPS) if "experiment" in swept else swept  # presets choose in every group
    shared = [
        o
        for o in overrides
        if not o.is_sweep_override() and str(o.key_or_group).partition(".")[0] not in groups
    ]
    cfg, mistakes = examine(loader, [str(o.input_line) for o in shared])
    mistakes = [line for line in mistakes if line.partition(":")[0] not in swept]  # have a value
    if cfg is None and not search:
        cfg, mistakes = examine(loader, [o.input_line for o in shared if _is_hydra(o)])
    if cfg is None or (mistakes and search):
        raise Refused(*mistakes)
    OmegaConf.set_readonly(cfg.hydra, False)
    with open_dict(cfg):
        for name, is_hydra in (("hydra", True), ("task", False)):
            lines = [o.input_line for o in overrides if _is_hydra(o) is is_hydra]
            cfg.hydra.overrides[name] = lines
    return cfg


def _is_hydra(override: Override) -> bool:
    return override.is_hydra_override() or override.key_or_group == "hydra"


def overrides_of_jobs(loader: ConfigLoader, master: DictConfig) -> list[Override]:
    """Return the overrides of the jobs: those in `hydra.sweeper.params`, then the typed ones.

    Raises:
        Refused: a key of the sweeper is invalid.
    """
    sweeper = OmegaConf.to_container(master.hydra.sweeper)  # ${…} is not resolved
    size, params = sweeper.get("max_batch_size"), sweeper.get("params") or {}
    if not isinstance(params, Mapping):
        line = f"hydra.sweeper.params={show(params)}"
        raise Refused(f"{line}: should be values by key: hydra.sweeper.params={{KEY: VALUES}}")
    if size is not None and not (type(size) is int and size >= 1):
        line = f"hydra.sweeper.max_batch_size={show(size)}"
        raise Refused(f"{line}: should be a whole number, 1 or more, or null")
    words = OmegaConf.to_container(master.hydra.overrides)["task"]
    words = [*(f"{key}={values}" for key, values in params.items()), *words]
    parsed, mistakes = parse(loader, words, sweep=True)
    if mistakes:
        raise Refused(*mistakes)
    return parsed


def jobs_of(
    loader: ConfigLoader, master: DictConfig, parsed: Sequence[Override], sweep: Sweep
) -> list[Job]:
    """Return the jobs: every combination of the values in the overrides.

    Raises:
        Refused: the folder of a job would not be in that of the sweep.
    """
    combinations = list(_combinations(parsed))
    folders = _folders(loader, master, combinations, sweep.folder)
    jobs = enumerate(zip(folders, combinations, strict=True))
    return [Job(n, len(folders), out, tuple(job), sweep) for n, (out, job) in jobs]


def _combinations(overrides: Sequence[Override]) -> Iterator[Sequence[str]]:
    """Yield the overrides of each job; of two overrides of one key, the later one counts."""
    values: dict[str, list[str]] = {}
    for o in overrides:
        key, several = o.get_key_element(), o.is_sweep_override()
        texts = o.sweep_string_iterator() if several else [o.get_value_element_as_str()]
        values[key] = [f"{key}={text}" for text in texts]
    return itertools.product(*values.values())


def _folders(
    loader: ConfigLoader, master: DictConfig, jobs: Sequence[Sequence[str]], sweep: Path
) -> list[Path]:
    """Return the folder of each job, `hydra.sweep.subdir`, which must be inside that of the sweep.

    Raises:
        Refused: the folder of a job is not, or its name cannot be composed.
    """
    subdir = OmegaConf.to_container(master.hydra.sweep)["subdir"]
    root = Path(os.path.abspath(sweep))
    if subdir == NUMBER:
        return [root / str(number) for number in range(len(jobs))]
    folders = []
    for number, job in enumerate(jobs):
        folder = root / _subdir(loader, master, number, job)
        if not is_inside(folder, sweep):
            raise Refused(
                f"hydra.sweep.subdir={show(subdir)}: job {number} would run in {folder}, which is "
                f"not inside the folder of the sweep; the default is {NUMBER}"
            )
        folders.append(folder)
    return folders


def _subdir(loader: ConfigLoader, master: DictConfig, number: int, job: Sequence[str]) -> str:
    """Return the value of `hydra.sweep.subdir` for a job, or of the default, if it is invalid."""
    try:
        cfg = loader.load_sweep_config(master, list(job))
        with open_dict(cfg):
            cfg.hydra.job.id = cfg.hydra.job.num = number
        HydraConfig.instance().set_config(cfg)  # for ${hydra:…}
        return str(OmegaConf.select(cfg, "hydra.sweep.subdir"))
    except (HydraException, OmegaConfBaseException) as error:
        if not job:
            raise Refused(one_line(error)) from error
        return _subdir(loader, master, number, ())


def is_inside(path: Path, folder: Path) -> bool:
    """Return whether the path is below the folder, after following links."""
    return Path(os.path.realpath(folder)) in Path(os.path.realpath(path)).parents
