"""The trials of a search; its overrides and settings are checked before anything is written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from metarun.config.overrides import nearest
from metarun.config.schema import GROUPS
from metarun.errors import Refused, refusing_os_errors
from metarun.files import make_folder
from metarun.sweeps.job import Job
from metarun.sweeps.search.samplers import Settings
from metarun.sweeps.search.search_space import SEARCH, Dimension, Space, read_space
from metarun.sweeps.search.study import Study, import_optuna
from metarun.sweeps.search.trial import Trial
from metarun.sweeps.shared import Sweep

TRIALS = "hydra.sweeper.trials"
KEYS = tuple(f"hydra.sweeper.{name}" for name in Settings.model_fields)
SWEEPER_KEYS = ("hydra.sweeper.max_batch_size", "hydra.sweeper.params")  # without a search
QUOTES = dict.fromkeys(map(ord, "'\""))


def is_search(overrides: Sequence[str]) -> bool:
    """Return whether the overrides of a sweep make it a search."""
    return SEARCH in (override.translate(QUOTES) for override in overrides)


def search_key_mistakes(parsed: Sequence[Override]) -> list[str]:
    """Return a line for each unknown sweeper key, and, without a search, for each search key."""
    search, mistakes = is_search([str(o.input_line) for o in parsed]), []
    known = KEYS if search else SWEEPER_KEYS
    for o in parsed:
        key = str(o.key_or_group)
        name = key if search else ".".join(key.split(".")[:3])  # params has keys of its own
        is_range = o.is_sweep_override() and not o.is_discrete_sweep()
        if not search and (key in KEYS or is_range):
            mistakes.append(f"{o.input_line}: is for a search: add {SEARCH}")
        elif f"{key}.".startswith("hydra.sweeper.") and name not in known:
            mistakes.append(f"{key}: no such key{nearest(key, known)} ({', '.join(known)})")
    return mistakes


def trials_of(master: DictConfig, parsed: Sequence[Override], sweep: Sweep) -> list[Job]:
    """Check the settings and the overrides, and create or open the folder of the search.

    Args:
        master: the configuration of the sweep, with its `hydra` node.
        parsed: the overrides of the trials.

    Raises:
        Refused: with a line for every mistake.
    """
    import_optuna()
    settings = Settings.checked(OmegaConf.to_container(master.hydra.sweeper, resolve=True))
    words = OmegaConf.to_container(master.hydra.overrides)["hydra"]
    if any(word.startswith("hydra.sweep.subdir=") for word in words):
        raise Refused(
            "hydra.sweep.subdir: a search numbers the folders of its trials; leave it out"
        )
    space = read_space(parsed, _integer_keys(sweep, read_space(parsed)))
    _check_choices(sweep, space)
    folder, count = sweep.folder, settings.trials
    with refusing_os_errors(f"hydra.sweep.dir={folder}", "cannot be written to"):
        make_folder(folder)
        if count < (started := len(Study(folder, space, settings).trials())):
            raise Refused(f"{TRIALS}={count}: {folder} already has {started} trials")
    fixed = tuple(o for o in space.overrides if isinstance(o, str))
    root = Path(os.path.abspath(folder))
    return [
        Trial(number, count, root / str(number), fixed, sweep, space, settings)
        for number in range(count)
    ]


def _integer_keys(sweep: Sweep, space: Space) -> list[str]:
    """Return the searched keys whose default value is an integer."""
    choices = {d.key: d.choices[0] for d in _groups(space)}
    groups = Space(tuple(o for o in space.overrides if isinstance(o, str) or o.key in choices))
    cfg, mistakes = sweep.compose(groups.overrides_for(choices))
    if cfg is None or mistakes:
        return []
    return [d.key for d in space.dimensions if type(OmegaConf.select(cfg, d.key)) is int]


def _check_choices(sweep: Sweep, space: Space) -> None:
    """Check that each choice of each group composes with the first value of other dimensions."""
    first = {d.key: d.choices[0] if d.choices else d.low for d in space.dimensions}
    mistakes = sweep.compose(space.overrides_for(first))[1]
    for d in _groups(space):
        for choice in d.choices[1:]:
            _, others = sweep.compose(space.overrides_for({**first, d.key: choice}))
            for mistake in others:
                is_known = mistake.startswith((f"{d.key}=", *mistakes))
                with_choice = f"{mistake} (with {d.override_for(choice)})"
                mistakes.append(mistake if is_known else with_choice)
    if mistakes:
        raise Refused(*dict.fromkeys(mistakes))


def _groups(space: Space) -> list[Dimension]:
    """Return the dimensions that are config groups."""
    return [d for d in space.dimensions if d.key in GROUPS]
