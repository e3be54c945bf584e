"""A search begins: everything that was typed for it is checked, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from metarun.config.groups import GROUPS
from metarun.config.overrides import nearest, parse
from metarun.errors import Refused
from metarun.files import make_folder, write_whole
from metarun.sweeps.composition import composed, loader_for
from metarun.sweeps.search.samplers import Settings
from metarun.sweeps.search.search_space import CHOSEN, Dimension, Space, space
from metarun.sweeps.search.study import Study, need_optuna
from metarun.sweeps.search.trial import marked

KEYS = tuple(f"hydra.sweeper.{name}" for name in Settings.model_fields)


def asked_for(words: Sequence[str]) -> bool:
    """Is the sweep that was typed a search?"""
    return any(word.lstrip("+") == CHOSEN for word in words)


def unused(overrides: Sequence[Override]) -> list[str]:
    """Words that only a search understands, where none was asked for; a line each."""
    words = [str(o.input_line) for o in overrides]
    keys = [word.partition("=")[0].lstrip("+") for word in words]
    if asked_for(words):
        return [
            f"{key}: no such key{nearest(key, KEYS)} ({', '.join(KEYS)})"
            for key in keys
            if f"{key}.".startswith("hydra.sweeper.") and key not in KEYS
        ]
    return [
        f"{word}: is for a search: add {CHOSEN}"
        for o, key, word in zip(overrides, keys, words, strict=True)
        if key in KEYS or (o.is_sweep_override() and not o.is_discrete_sweep())
    ]


def more(words: list[str], typed: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words of a search that goes on, with another number of trials if one was typed.

    Returns:
        Those words, and what else was typed.

    Raises:
        Refused: another key of the search was typed.
    """
    trials = f"{KEYS[0]}="
    if not asked_for(words):
        return words, list(typed)
    new = [word for word in typed if word.startswith(trials)]
    for word in typed:
        if word.partition("=")[0].lstrip("+").startswith("hydra.sweeper.") and word not in new:
            raise Refused(f"{word}: a search goes on as it began; {trials}N can add to it")
    kept = [word for word in words if not (new and word.startswith(trials))]
    return [*kept, *new], [word for word in typed if word not in new]


def begin(config: DictConfig, given: Mapping[str, Any], typed: Sequence[str]) -> list[list[str]]:
    """Check what was typed, make the search's folder, or find it there.

    Args:
        config: of the sweep, with its `hydra` node.
        given: the keys of `hydra.sweeper`.
        typed: ranges and fixed words.

    Returns:
        The words of each job.

    Raises:
        Refused: with a line for every mistake.
    """
    need_optuna()
    settings = Settings.checked(given)
    if any(word.startswith("hydra.sweep.subdir=") for word in config.hydra.overrides.hydra):
        raise Refused("hydra.sweep.subdir: a search numbers the folders of its trials")
    loader, found = loader_for(config.hydra)
    overrides, mistakes = parse(loader, typed, sweep=True)
    if mistakes:
        raise Refused(*mistakes)
    wanted = space(overrides, _whole(loader, found, space(overrides)))
    _check_choices(loader, found, wanted)
    sweep = Path(config.hydra.sweep.dir)
    try:
        make_folder(sweep)
        study = Study(sweep, wanted, settings)
        begun = len(study.trials())
        if settings.trials < begun:
            raise Refused(f"{KEYS[0]}={settings.trials}: {sweep} has begun {begun} already")
        write_whole(sweep / "multirun.yaml", OmegaConf.to_yaml(config))
    except OSError as error:
        raise Refused(
            f"hydra.sweep.dir={sweep}: cannot be written to ({error.strerror})"
        ) from error
    seen = [w for w in wanted.words if isinstance(w, str) and w.startswith("threads=")]
    return [
        [marked(wanted, settings), *seen[-1:]]
    ] * settings.trials  # a launcher looks for threads


def _whole(loader: ConfigLoader, found: Sequence[str], wanted: Space) -> list[str]:
    """The keys searched over whose default is a whole number."""
    choices = {d.key: d.choices[0] for d in wanted.dimensions if d.key in GROUPS}
    words = [w for w in wanted.words if isinstance(w, str) or w.key in choices]
    raw = OmegaConf.create(composed(loader, [*found, *Space(tuple(words)).typed(choices)]).raw)
    return [d.key for d in wanted.dimensions if type(OmegaConf.select(raw, d.key)) is int]


def _check_choices(loader: ConfigLoader, found: Sequence[str], wanted: Space) -> None:
    """Refuse words that no trial, or none with one of the choices, could be composed of."""
    first = {d.key: d.choices[0] if d.choices else d.low for d in wanted.dimensions}
    mistakes = composed(loader, [*found, *wanted.typed(first)]).mistakes
    for d in _groups(wanted):
        for choice in d.choices[1:]:
            words = wanted.typed({**first, d.key: choice})
            for mistake in composed(loader, [*found, *words]).mistakes:
                told = mistake.startswith((f"{d.key}=", *mistakes))
                mistakes.append(mistake if told else f"{mistake} (with {d.word(choice)})")
    if mistakes:
        raise Refused(*dict.fromkeys(mistakes))


def _groups(wanted: Space) -> list[Dimension]:
    return [d for d in wanted.dimensions if d.key in GROUPS]
