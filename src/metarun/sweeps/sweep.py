"""Start and resume a sweep: many runs from one command line, each validated separately."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Glob, Override
from omegaconf import DictConfig, OmegaConf

from metarun.config.compose import folder_at
from metarun.config.groups import hydra_for, options_of, wrong_choice
from metarun.config.overrides import parse, set_again, sift
from metarun.errors import Interrupted, Refused, RunFailed, refusing_os_errors
from metarun.files import make_folder, write_whole
from metarun.plots.figure import drawn
from metarun.sweeps import launchers, plan, replay
from metarun.sweeps.search import best, setup
from metarun.sweeps.shared import Sweep

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
    launchers.check(parsed, loader)
    master = plan.master_config(loader, parsed, setup.is_search(overrides))
    folder = folder_at(master, "hydra.sweep.dir")
    if (folder / "multirun.yaml").exists():
        raise Refused(
            f"hydra.sweep.dir={folder}: holds a sweep already; "
            f"choose another folder, or go on with that sweep: metarun resume={folder}"
        )
    return _run(loader, master, Sweep.of(folder, overrides, config_dir, go_on=False))


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


def go_on(folder: Path, new: Sequence[str], config_dir: str | None) -> int:
    """Resume a sweep: keep finished jobs, resume interrupted ones and run the others.

    Args:
        folder: the folder of the sweep.
        new: overrides of the launcher; for a search, also the number of trials.

    Returns:
        The exit code.

    Raises:
        Refused: `multirun.yaml` is invalid or not safe to replay, or `new` changes other keys.
    """
    loader = hydra_for(config_dir).config_loader
    overrides = replay.changed(replay.saved_overrides(folder), new)
    parsed, mistakes = parse(loader, overrides, sweep=True)
    if mistakes:
        raise Refused(*mistakes)
    replay.check_caches(parsed, folder / "multirun.yaml")
    launchers.check(parsed, loader)
    master = plan.master_config(loader, parsed, setup.is_search(overrides))
    return _run(loader, master, Sweep.of(folder, overrides, config_dir, go_on=True))


def _run(loader: ConfigLoader, master: DictConfig, sweep: Sweep) -> int:
    """Run the jobs, print the results, and return the exit code."""
    folder = sweep.folder
    OmegaConf.update(master, "hydra.sweep.dir", str(folder))
    saved = master.hydra.overrides
    of_hydra = OmegaConf.to_container(saved)["hydra"]  # ${…} is not resolved
    search = setup.is_search(of_hydra)
    parsed = plan.overrides_of_jobs(loader, master)
    lines = [with_fixed_values(override, loader) for override in parsed]
    if (threads := launchers.threads_of(master, parsed, search)) is not None:
        lines.append(f"threads={threads}")
    saved.task = lines  # with those in hydra.sweeper.params
    saved.hydra = [o for o in of_hydra if not o.lstrip("+").startswith("hydra.sweeper.params")]
    parsed, _ = parse(loader, lines, sweep=True)
    if search:
        jobs = setup.trials_of(master, parsed, sweep)
    else:
        jobs = plan.jobs_of(loader, master, parsed, sweep)
    launcher = master.hydra.runtime.choices["hydra/launcher"]
    keys = OmegaConf.to_container(master.hydra.launcher, resolve=True)
    size = master.hydra.sweeper.get("max_batch_size") or len(jobs)  # of a search: all at once
    file, text = folder / "multirun.yaml", OmegaConf.to_yaml(master)
    with refusing_os_errors(f"hydra.sweep.dir={folder}", "cannot be written to"):
        make_folder(folder)
        if not (sweep.go_on and file.read_bytes() == text.encode()):  # `Job` compares its age
            write_whole(file, text)
    failed = False
    try:
        for first in range(0, len(jobs), size):
            failed |= launchers.run_jobs(jobs[first : first + size], launcher, keys)
    except OSError as error:
        reason = f"{error.filename or folder}: {error.strerror or error}"
        raise RunFailed(f"{reason}; the sweep can go on: metarun resume={folder}") from error
    except KeyboardInterrupt as stop:
        raise Interrupted(f"the sweep can go on: metarun resume={folder}") from stop
    finally:
        failed |= _print_results(folder)
        best.print_best(folder)
    return int(failed)


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
