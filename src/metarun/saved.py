"""A saved run's configuration, with what is typed on top of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from metarun.config import check, compose
from metarun.errors import Refused
from metarun.overrides import keys, nearest, parse
from metarun.settings import show
from metarun.tree import GROUPS, hydra_for

RESUMABLE = ("steps", "logger", "device", "threads", "tags", "data.root", "data.cache")
RETESTABLE = (
    *("ways", "shots", "queries", "test_episodes", "eval_seed"),
    *("device", "threads", "data", "algo."),
)


def load(run: Path, key: str) -> DictConfig:
    """The configuration that the run in this folder was made with.

    Args:
        key: what the user calls the folder, for messages.
    """
    try:
        plain = yaml.safe_load((run / "config.yaml").read_text("utf-8"))
    except OSError:
        hint = "no such folder" if not run.exists() else "holds no run: config.yaml is not there"
        raise Refused(f"{key}={run}: {hint}") from None
    except yaml.YAMLError as error:
        raise Refused(f"{run / 'config.yaml'}: cannot be read ({error})") from error
    if not isinstance(plain, dict):
        raise Refused(f"{run / 'config.yaml'}: is not a configuration")
    return OmegaConf.create(plain)


def amend(
    saved: DictConfig, typed: Sequence[str], allowed: Sequence[str], what: str, folder: str | None
) -> dict[str, Any]:
    """The saved configuration with overrides: choices of a group first, then values.

    Args:
        allowed: keys that may be typed; a group allows its keys, and `algo.` the keys alone.
        what: the command, for messages.

    Raises:
        Refused: with a line for every mistake.
    """
    overrides, mistakes = parse(hydra_for(folder).config_loader, typed)
    for o in sorted(overrides, key=lambda o: o.key_or_group not in GROUPS):
        key = o.key_or_group
        if not any(key == a or key.startswith(a.rstrip(".") + ".") for a in allowed) or (
            key in GROUPS and key not in allowed
        ):
            offered = ", ".join(a + "*" if a.endswith(".") else a for a in allowed)
            mistakes.append(f"{key}: {what} cannot change it (it can: {offered})")
        elif key in GROUPS:
            try:
                chosen = compose([str(o.input_line)], folder)
                saved[key] = OmegaConf.create(OmegaConf.to_container(chosen[key], resolve=True))
                saved.choices[key] = o.value()
            except Refused as refused:
                mistakes += refused.mistakes
        elif key not in set(keys(saved)):
            mistakes.append(f"{key}: no such key{nearest(key, keys(saved))}")
        else:
            OmegaConf.update(saved, key, o.value())
    mistakes += check(saved)
    if mistakes:
        raise Refused(*dict.fromkeys(mistakes))
    return OmegaConf.to_container(saved, resolve=True)


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Keys that would make a resumed run another one, a line each, with both values."""
    old, new = (dict(_leaves(OmegaConf.create(c))) for c in (before, now))
    free = (*RESUMABLE, "out", "data_home")
    return [
        f"{key}={show(new.get(key))}: the run was trained with {show(old.get(key))}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
        and not any(key == f or key.startswith(f"{f}.") for f in free)
    ]


def _leaves(cfg: DictConfig) -> Iterator[tuple[str, Any]]:
    for key in keys(cfg):
        value = OmegaConf.select(cfg, key)
        yield key, OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
    for group in GROUPS:
        yield f"{group}._target_", OmegaConf.select(cfg, f"{group}._target_")
