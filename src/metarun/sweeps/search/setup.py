"""Start a search: check its overrides and settings before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from metarun.config.overrides import nearest, parse
from metarun.config.schema import GROUPS
from metarun.errors import Refused, refusing_os_errors
from metarun.files import make_folder, write_whole
from metarun.sweeps.composition import composed, loader_for
from metarun.sweeps.search.samplers import Settings
from metarun.sweeps.search.search_space import SEARCH, Dimension, Space, read_space
from metarun.sweeps.search.study import Study, import_optuna
from metarun.sweeps.search.trial import trial_override

KEYS = tuple(f"hydra.sweeper.{name}" for name in Settings.model_fields)
SWEEPER_KEYS = ("hydra.sweeper.max_batch_size", "hydra.sweeper.params")  # without a search


def is_search(overrides: Sequence[str]) -> bool:
    """Return whether the overrides of a sweep make it a search."""
    return any(override.lstrip("+") == SEARCH for override in overrides)


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


def change_trials(saved: list[str], new: Sequence[str]) -> tuple[list[str], list[str]]:
    """Set the number of trials of a saved search, if `new` has one.

    Returns:
        The overrides of the search, and the overrides in `new` that are not for the search.

    Raises:
        Refused: `new` has another key of the search.
    """
    prefix = f"{KEYS[0]}="
    if not is_search(saved):
        return saved, list(new)
    trials = [override for override in new if override.startswith(prefix)]
    others = [override for override in new if override not in trials]
    for override in others:
        if override.partition("=")[0].lstrip("+").startswith("hydra.sweeper."):
            raise Refused(
                f"{override}: resume keeps the settings of a search; only {prefix}N can be changed"
            )
    unchanged = [override for override in saved if not (trials and override.startswith(prefix))]
    return [*unchanged, *trials], others


def begin(config: DictConfig, keys: Mapping[str, Any], overrides: Sequence[str]) -> list[list[str]]:
    """Check the settings and the overrides, and create or open the folder of the search.

    Args:
        config: the configuration of the sweep, with its `hydra` node.
        keys: the keys of `hydra.sweeper`.
        overrides: the overrides of all trials, some of them ranges.

    Returns:
        The overrides of each job.

    Raises:
        Refused: with a line for every mistake.
    """
    import_optuna()
    settings = Settings.checked(keys)
    if any(o.startswith("hydra.sweep.subdir=") for o in config.hydra.overrides.hydra):
        raise Refused(
            "hydra.sweep.subdir: a search numbers the folders of its trials; leave it out"
        )
    loader, search_path = loader_for(config.hydra)
    parsed, mistakes = parse(loader, overrides, sweep=True)
    if mistakes:
        raise Refused(*mistakes)
    space = read_space(parsed, _integer_keys(loader, search_path, read_space(parsed)))
    _check_choices(loader, search_path, space)
    sweep = Path(config.hydra.sweep.dir)
    with refusing_os_errors(f"hydra.sweep.dir={sweep}", "cannot be written to"):
        make_folder(sweep)
        study = Study(sweep, space, settings)
        started = len(study.trials())
        if settings.trials < started:
            raise Refused(f"{KEYS[0]}={settings.trials}: {sweep} already has {started} trials")
        write_whole(sweep / "multirun.yaml", OmegaConf.to_yaml(config))
    threads = [o for o in space.overrides if isinstance(o, str) and o.startswith("threads=")]
    # A launcher reads the number of threads from the overrides of a job.
    return [[trial_override(space, settings), *threads[-1:]]] * settings.trials


def _integer_keys(loader: ConfigLoader, search_path: Sequence[str], space: Space) -> list[str]:
    """Return the searched keys whose default value is an integer."""
    choices = {d.key: d.choices[0] for d in _groups(space)}
    groups = Space(tuple(o for o in space.overrides if isinstance(o, str) or o.key in choices))
    raw = composed(loader, [*search_path, *groups.overrides_for(choices)]).raw
    config = OmegaConf.create(raw)
    return [d.key for d in space.dimensions if type(OmegaConf.select(config, d.key)) is int]


def _check_choices(loader: ConfigLoader, search_path: Sequence[str], space: Space) -> None:
    """Check that each choice of each group composes with the first value of other dimensions."""
    first = {d.key: d.choices[0] if d.choices else d.low for d in space.dimensions}
    mistakes = composed(loader, [*search_path, *space.overrides_for(first)]).mistakes
    for d in _groups(space):
        for choice in d.choices[1:]:
            overrides = space.overrides_for({**first, d.key: choice})
            for mistake in composed(loader, [*search_path, *overrides]).mistakes:
                is_known = mistake.startswith((f"{d.key}=", *mistakes))
                with_choice = f"{mistake} (with {d.override_for(choice)})"
                mistakes.append(mistake if is_known else with_choice)
    if mistakes:
        raise Refused(*dict.fromkeys(mistakes))


def _groups(space: Space) -> list[Dimension]:
    """Return the dimensions that are config groups."""
    return [d for d in space.dimensions if d.key in GROUPS]
