"""Many runs from one command: Hydra's multirun, each job validated alone, one table at the end."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from metarun.config.compose import compose, examine
from metarun.config.groups import hydra_for
from metarun.config.overrides import one_line, parse, quote, quote_path
from metarun.errors import Interrupted, Refused
from metarun.files import write_whole
from metarun.sweeps import launchers, pool, worker
from metarun.sweeps.search import best, setup

log = logging.getLogger(__name__)
FINE = ("completed", "pruned", "running")  # running: another process is at it
UNREADABLE = (  # what reading a file that is no sweep's can raise
    *(OSError, YAMLError, OmegaConfBaseException, AttributeError, LookupError, TypeError),
    ValueError,
)
REPLAYED = ("hydra.sweep.subdir=", "hydra/launcher=", "hydra/sweeper=")
REPLAYED += tuple(f"{key}=" for key in setup.KEYS)


def start(typed: Sequence[str], folder: str | None) -> int:
    """Run a sweep; returns the exit code.

    Raises:
        Refused: what was typed cannot be read as a sweep.
    """
    overrides, mistakes = parse(hydra_for(folder).config_loader, typed, sweep=True)
    mistakes += setup.unused(overrides)
    if any(word.lstrip("+").startswith(("out=", "hydra.run.dir=")) for word in typed):
        mistakes.append("out: with -m each job has its own folder; hydra.sweep.dir=DIR holds them")
    if mistakes:
        raise Refused(*mistakes)
    words = _for_each_job([quote_path(word) for word in typed], folder)
    cfg = _shared(words, folder)
    words = launchers.settle(words, cfg, hydra_for(folder).config_loader)
    sweep = _folder(words, cfg, folder)
    if (sweep / "multirun.yaml").exists():
        raise Refused(
            f"hydra.sweep.dir={sweep}: holds a sweep already; "
            f"choose another folder, or go on with that sweep: metarun resume={sweep}"
        )
    return _run(words, sweep, folder, go_on=False)


def _for_each_job(words: list[str], folder: str | None) -> list[str]:
    """`algo=maml,fomaml algo.inner_lr=0.1`: Hydra would look for the key in the default choice.

    As a sweep over one value it is looked for in each job's own.
    """
    overrides, _ = parse(hydra_for(folder).config_loader, words, sweep=True)
    swept = [f"{o.key_or_group}." for o in overrides if o.is_sweep_override()]
    shared = {
        o.input_line
        for o in overrides
        if not o.is_sweep_override() and str(o.key_or_group).startswith(tuple(swept))
    }
    return [
        f"{word.partition('=')[0]}=choice({word.partition('=')[2]})"
        if word in shared and word[0] not in "+~" and "=" in word
        else word
        for word in words
    ]


def go_on(sweep: Path, typed: Sequence[str], folder: str | None) -> int:
    """Go on with a sweep: finished jobs stay, interrupted ones go on, the others setup.

    Args:
        typed: another launcher, or keys of it; for a search, a number of trials.
    """
    file = sweep / "multirun.yaml"
    try:
        saved = OmegaConf.to_container(OmegaConf.load(file).hydra.overrides)  # ${…} as typed
        words = [*map(str, saved["task"]), *map(str, saved["hydra"])]
    except UNREADABLE as error:
        raise Refused(f"{file}: is not what a sweep leaves there ({one_line(error)})") from error
    own = ("hydra.sweep.dir=", "hydra.mode=")  # set below
    words = [w for w in words if not w.startswith(own)]
    for word in words:
        if word.lstrip("+~").startswith("hydra.searchpath"):
            raise Refused(
                f"{file}: {word}: code of that folder could run; if you trust it, "
                f"name it yourself: metarun resume={sweep} --config-dir DIR"
            )
    for word in words:  # Hydra would build what its own keys name, and the file may be a stranger's
        own = word.startswith(REPLAYED) or launchers.replayed(word)
        if word.lstrip("+~").startswith("hydra") and not own:
            raise Refused(f"{file}: {word}: cannot be replayed; only {', '.join(REPLAYED)}")
    words, typed = setup.more(words, typed)
    also = f"{setup.KEYS[0]}=N, " if setup.asked_for(words) else ""
    words = launchers.instead(words, typed, also)
    words = launchers.settle(words, _shared(words, folder), hydra_for(folder).config_loader)
    return _run(words, sweep, folder, go_on=True)


def _run(words: list[str], sweep: Path, folder: str | None, go_on: bool) -> int:
    hydra = hydra_for(folder)
    words = [w for w in words if not w.startswith("hydra.sweep.dir=")]
    words.append(f"hydra.sweep.dir={quote(str(sweep))}")
    begun = True
    try:
        task = partial(worker.attempt, go_on=go_on, home=os.getpid())
        returned = hydra.multirun("config", task, words)
    except (HydraException, Refused) as error:  # a job's own is told and does not come this far
        begun = False
        raise error if isinstance(error, Refused) else Refused(one_line(error)) from error
    except KeyboardInterrupt as stop:
        raise Interrupted(f"the sweep can go on: metarun resume={sweep}") from stop
    finally:
        pool.close()
        failed = begun and _conclude(sweep)
        if begun:
            best.conclude(sweep)
    return int(failed or launchers.failed(returned))


def _shared(words: list[str], folder: str | None) -> DictConfig | None:
    """What all jobs share; `None` where that cannot be composed.

    Raises:
        Refused: it cannot, and the jobs are trials of a search.
    """
    loader = hydra_for(folder).config_loader
    shared = [
        o.input_line for o in parse(loader, words, sweep=True)[0] if not o.is_sweep_override()
    ]
    cfg, mistakes = examine(loader, shared)
    if mistakes and setup.asked_for(words):  # all its trials would fail
        raise Refused(*mistakes)
    return cfg


def _folder(words: list[str], cfg: DictConfig | None, folder: str | None) -> Path:
    """Where the sweep goes, which may depend on what all its jobs share."""
    if cfg is None:  # each job will say what is wrong with it
        cfg = compose([word for word in words if word.startswith("hydra.sweep.")], folder)
    return Path(cfg.hydra.sweep.dir).expanduser()


def _conclude(sweep: Path) -> bool:
    """Print the sweep's table, keep it as CSV and picture; says whether a job failed."""
    from metarun.plots.figure import drawn
    from metarun.report import picture, ranking, runs, tables
    from metarun.training.display import console

    try:
        found = runs.find([sweep])
    except Refused:  # it ended before its first job began
        return False
    ranked = ranking.rank([e for e in found if e.folder.parent.name != "evaluations"])
    screen = console()
    screen.print(tables.as_table(ranked))
    if (over := tables.seeds_table(ranked)) is not None:
        screen.print(over)
    try:
        write_whole(sweep / "sweep.csv", tables.as_csv(ranked))
    except OSError as error:
        log.warning("%s: cannot be written to (%s)", error.filename, error.strerror)
    drawn("sweep", lambda: picture.draw(ranked, sweep.name, sweep / "sweep.png"))
    screen.print(str(sweep), soft_wrap=True, markup=False)
    return any(entry.status not in FINE for entry in ranked.entries)
