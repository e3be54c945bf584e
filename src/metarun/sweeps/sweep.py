"""Start and resume a sweep: many runs from one command line, each validated separately."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Glob, Override
from omegaconf import DictConfig, OmegaConf

from metarun.config.compose import compose, examine, folder_at
from metarun.config.groups import hydra_for, options_of, wrong_choice
from metarun.config.overrides import parse, quote, set_again, sift
from metarun.config.schema import GROUPS
from metarun.errors import Interrupted, Refused, RunFailed, refusing_os_errors
from metarun.files import make_folder, write_whole
from metarun.plots.figure import drawn
from metarun.sweeps import launchers, plan, replay
from metarun.sweeps.configs import Configs
from metarun.sweeps.job import Sweep
from metarun.sweeps.search import best, setup

log = logging.getLogger(__name__)
OK_STATUSES = ("completed", "pruned", "running")  # running: in another process


def start(overrides: Sequence[str], config_dir: str | None) -> int:
    """Run a sweep and return the exit code.

    Raises:
        Refused: the overrides are not those of a valid sweep.
    """
    loader = hydra_for(config_dir).config_loader
    parsed, mistakes = parse(loader, overrides, sweep=True)
    mistakes += setup.search_key_mistakes(parsed)
    of_all_jobs = [o for o in parsed if not o.is_sweep_override()]
    mistakes += sift(of_all_jobs, partial(wrong_choice, loader))[1]
    mistakes += set_again(parsed)
    if any(o.lstrip("+").startswith(("out=", "hydra.run.dir=")) for o in overrides):
        mistakes.append("out: with -m each job has its own folder; hydra.sweep.dir=DIR holds them")
    if mistakes:
        raise Refused(*mistakes)
    overrides = [with_fixed_values(o, loader) for o in parsed]
    overrides = _sweep_keys_of_swept_groups(overrides, config_dir)
    cfg = _shared_config(overrides, config_dir)
    overrides = launchers.add_threads(overrides, cfg, loader)
    sweep = _sweep_folder(overrides, cfg, config_dir)
    if (sweep / "multirun.yaml").exists():
        raise Refused(
            f"hydra.sweep.dir={sweep}: holds a sweep already; "
            f"choose another folder, or go on with that sweep: metarun resume={sweep}"
        )
    return _run(overrides, sweep, config_dir, go_on=False)


def with_fixed_values(override: Override, loader: ConfigLoader) -> str:
    """Return the override, with `glob` and `shuffle` replaced by the list of their values.

    A resumed sweep then has the same jobs, in the same order.

    Raises:
        Refused: there is no value, or there are more than a sweep can have.
    """
    value, line = override.value(), str(override.input_line)
    if isinstance(value, Glob):
        values = value.filter(options := options_of(loader, override.key_or_group))
        if not values:
            raise Refused(f"{line}: matches no choice ({', '.join(options) or 'none'})")
    elif getattr(value, "shuffle", False):
        launchers.count([override])  # before the values are listed
        values = override.sweep_string_iterator()
    else:
        return line
    return f"{override.get_key_element()}=choice({','.join(values)})"


def _sweep_keys_of_swept_groups(overrides: list[str], config_dir: str | None) -> list[str]:
    """Turn a key of a swept group into a sweep over one value.

    In `algo=maml,fomaml algo.inner_lr=0.1`, Hydra would look up `algo.inner_lr` in the default
    choice of `algo`. With `algo.inner_lr=choice(0.1)` it uses the choice of each job.
    """
    parsed, _ = parse(hydra_for(config_dir).config_loader, overrides, sweep=True)
    swept = {o.key_or_group for o in parsed if o.is_sweep_override()}
    if "experiment" in swept:  # presets choose in every group
        swept |= set(GROUPS)
    keys_of_swept = {
        o.input_line
        for o in parsed
        if not o.is_sweep_override() and str(o.key_or_group).partition(".")[0] in swept
        if "." in str(o.key_or_group) and o.value() is not None  # choice(null) is not valid
    }
    return [
        f"{o.partition('=')[0]}=choice({o.partition('=')[2]})"
        if o in keys_of_swept and o[0] not in "+~" and "=" in o
        else o
        for o in overrides
    ]


def go_on(sweep: Path, new: Sequence[str], config_dir: str | None) -> int:
    """Resume a sweep: keep finished jobs, resume interrupted ones and run the others.

    Args:
        sweep: the folder of the sweep.
        new: overrides of the launcher; for a search, also the number of trials.

    Returns:
        The exit code.

    Raises:
        Refused: `multirun.yaml` is invalid or not safe to replay, or `new` changes other keys.
    """
    overrides = replay.saved_overrides(sweep)
    parsed, _ = parse(hydra_for(config_dir).config_loader, overrides, sweep=True)
    replay.check_caches(parsed, sweep / "multirun.yaml")
    overrides, new = setup.change_trials(overrides, new)
    also = f"{setup.KEYS[0]}=N, " if setup.is_search(overrides) else ""
    overrides = replay.replace_launcher(overrides, new, also)
    cfg = _shared_config(overrides, config_dir)
    overrides = launchers.add_threads(overrides, cfg, hydra_for(config_dir).config_loader)
    return _run(overrides, sweep, config_dir, go_on=True)


def _run(overrides: list[str], folder: Path, config_dir: str | None, go_on: bool) -> int:
    """Run the jobs, print the results, and return the exit code."""
    loader = hydra_for(config_dir).config_loader
    overrides = [o for o in overrides if not o.startswith("hydra.sweep.dir=")]
    overrides.append(f"hydra.sweep.dir={quote(str(folder))}")
    master = plan.master_config(loader, overrides)
    sweep = Sweep(folder, Configs.of(config_dir, overrides), go_on)
    begin = setup.trials_of if setup.is_search(overrides) else plan.jobs_of
    jobs, size = begin(loader, master, sweep)
    launcher = master.hydra.runtime.choices["hydra/launcher"]
    keys = OmegaConf.to_container(master.hydra.launcher, resolve=True)
    with refusing_os_errors(f"hydra.sweep.dir={folder}", "cannot be written to"):
        make_folder(folder)
        write_whole(folder / "multirun.yaml", OmegaConf.to_yaml(master))
    failed = False
    try:
        for first in range(0, len(jobs), size or len(jobs)):
            batch = jobs[first : first + (size or len(jobs))]
            failed |= launchers.run_jobs(batch, launcher, keys)
    except OSError as error:
        reason = f"{error.filename or folder}: {error.strerror or error}"
        raise RunFailed(f"{reason}; the sweep can go on: metarun resume={folder}") from error
    except KeyboardInterrupt as stop:
        raise Interrupted(f"the sweep can go on: metarun resume={folder}") from stop
    finally:
        failed |= _print_results(folder)
        best.print_best(folder)
    return int(failed)


def _shared_config(overrides: list[str], config_dir: str | None) -> DictConfig | None:
    """Return the configuration that all jobs share; `None` if it cannot be composed.

    Raises:
        Refused: it cannot be composed, and the sweep is a search.
    """
    loader = hydra_for(config_dir).config_loader
    parsed, _ = parse(loader, overrides, sweep=True)
    cfg, mistakes = examine(loader, [o.input_line for o in parsed if not o.is_sweep_override()])
    swept = {o.key_or_group for o in parsed if o.is_sweep_override()}
    mistakes = [line for line in mistakes if line.partition(":")[0] not in swept]  # have a value
    if mistakes and setup.is_search(overrides):  # all trials would fail
        raise Refused(*mistakes)
    return cfg


def _sweep_folder(overrides: list[str], cfg: DictConfig | None, config_dir: str | None) -> Path:
    """Return the folder of the sweep; its name may depend on the shared configuration."""
    if cfg is None:  # each job reports its own errors
        cfg = compose([o for o in overrides if o.startswith("hydra.sweep.")], config_dir)
    return folder_at(cfg, "hydra.sweep.dir")


def _print_results(sweep: Path) -> bool:
    """Print the table of the sweep, save it as CSV and figure; return whether a job failed."""
    from metarun.report import picture, ranking, runs, tables
    from metarun.training.display import console

    try:
        entries = runs.find([sweep])
    except Refused:  # the sweep ended before its first job started
        return False
    ranked = ranking.rank([e for e in entries if e.folder.parent.name != "evaluations"])
    screen = console()
    tables.show(screen, ranked)
    try:
        write_whole(sweep / "sweep.csv", tables.as_csv(ranked))
    except OSError as error:
        log.warning("%s: cannot be written to (%s)", error.filename, error.strerror)
    drawn("sweep", lambda: picture.draw(ranked, sweep.name, sweep / "sweep.png"))
    screen.print(str(sweep), soft_wrap=True, markup=False)
    return any(entry.status not in OK_STATUSES for entry in ranked.entries)
