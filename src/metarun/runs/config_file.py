"""The `config.yaml` of a run: writing, reading, overriding and comparing it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from metarun.config.compose import checked, compose
from metarun.config.explanation import explain, show
from metarun.config.groups import hydra_for
from metarun.config.overrides import keys, leaves, nearest, parse, with_any
from metarun.config.schema import GROUPS, PLACES, RunConfig
from metarun.errors import Refused
from metarun.files import read_whole, write_whole
from metarun.runs.places import cache_mistake, data_home, use_data_home_of_this_machine
from metarun.runs.yaml_file import MAX_BYTES, parse_yaml

RESUMABLE = ("steps", "logger", "device", "threads", "workers", "tags", *PLACES)
RETESTABLE = ("ways", "shots", "queries", "test_episodes", "eval_seed")
RETESTABLE += ("device", "threads", "workers", "engine", "tasks_at_once", "data", "algo.")
MAY_DIFFER = (*RESUMABLE, "choices.logger", "audit", "out", "data_home", "quick", "preset")
MAY_DIFFER += ("engine", "tasks_at_once")
MARK = "# sha256 of the lines above: "


def keep_config(config: RunConfig, out: Path) -> None:
    """Write `config.yaml`; its last line is a checksum of the lines above."""
    text = OmegaConf.to_yaml(OmegaConf.create(config.model_dump()))
    write_whole(out / "config.yaml", f"{text}{MARK}{_digest(text)}\n")


def load_config(run: Path, key: str) -> DictConfig:
    """Read the configuration of the run in the folder `run`.

    Args:
        key: the key by which the user named the folder, for messages.

    Raises:
        Refused: the file is missing, unreadable, damaged or edited.
    """
    file = run / "config.yaml"
    try:
        data = read_whole(file, MAX_BYTES)
        plain, text = parse_yaml(data), data.decode("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        hint = "no such folder"
        if run.exists():
            hint = "holds no run: config.yaml is missing"
            for folder in run.absolute().parents:
                if (folder / "config.yaml").is_file() and (folder / "checkpoints").is_dir():
                    hint = f"is in the folder of a run; name that folder: {key}={folder}"
        raise Refused(f"{key}={run}: {hint}") from None
    except OSError as error:
        raise Refused(f"{file}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise Refused(f"{file}: cannot be read ({error})") from error
    if not isinstance(plain, dict):
        raise Refused(f"{file}: is not a configuration")
    if "${" in str(plain):  # an interpolation in a shared run could read environment variables
        raise Refused(f"{file}: contains ${{…}}, which metarun never writes")
    try:
        body, _, digest = text.rpartition(MARK)
        if digest.strip() != _digest(body):
            _compare(run, plain)
        RunConfig.model_validate(plain)
        return OmegaConf.create(plain)
    except ValidationError as error:
        raise Refused(*(f"{file}: {line}" for line in explain(error))) from None
    except OmegaConfBaseException as error:
        raise Refused(f"{file}: damaged ({str(error).splitlines()[0]})") from error


def _compare(run: Path, plain: dict[str, Any]) -> None:
    """Refuse an edited `config.yaml` if it differs from the configuration in the checkpoint."""
    from metarun.runs import checkpoint

    file, state = run / "config.yaml", checkpoint.latest(run / "checkpoints")
    if state is None:
        raise Refused(f"{file}: damaged or edited: its checksum does not match; start a new run")
    lines = differences(state["config"], plain, free=("out", "data_home"))
    if len(lines) == 1:
        raise Refused(f"{file}: {lines[0]}")
    if lines:
        raise Refused(f"{file}: damaged or edited in {len(lines)} keys, first {lines[0]}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def amend(
    saved: DictConfig, words: Sequence[str], allowed: Sequence[str], caller: str, folder: str | None
) -> RunConfig:
    """The saved configuration with overrides: choices of groups first, then values.

    Args:
        words: the overrides that the user typed.
        allowed: keys that may be overridden. A group includes its keys; `algo.` means the keys of
            `algo` without the choice itself.
        caller: the name of the command, for messages.
        folder: the user's config folder.

    Raises:
        Refused: an override is wrong or not allowed, or the saved cache of data is a strange
            folder (`cache_mistake`); one line for each mistake.
    """
    overrides, mistakes = parse(hydra_for(folder).config_loader, with_any(words))
    use_data_home_of_this_machine(saved)
    for o in sorted(overrides, key=lambda o: o.key_or_group not in GROUPS):
        key = o.key_or_group
        if not any(key == a or key.startswith(a.rstrip(".") + ".") for a in allowed) or (
            key in GROUPS and key not in allowed
        ):
            names = ", ".join(a + "*" if a.endswith(".") else a for a in allowed)
            mistakes.append(f"{key}: {caller} cannot change it; it can change {names}")
        elif key in GROUPS:
            try:
                of_group = [o, *(p for p in overrides if p.key_or_group.startswith(f"{key}."))]
                composed = compose([str(p.input_line) for p in of_group], folder)
                saved[key] = OmegaConf.create(OmegaConf.to_container(composed[key], resolve=True))
                saved.choices[key] = o.value()
            except Refused as refused:
                mistakes += refused.mistakes
        elif key not in set(keys(saved)):
            mistakes.append(f"{key}: no such key{nearest(key, keys(saved))}")
        else:
            OmegaConf.update(saved, key, o.value())
    try:
        config = checked(saved)
        if not {"data", "data.cache"} & {o.key_or_group for o in overrides}:
            mistakes += filter(None, [cache_mistake(config.data.get("cache"))])
    except Refused as refused:
        mistakes += refused.mistakes
    if mistakes:
        raise Refused(*dict.fromkeys(mistakes))
    return config


def load_without_data(
    run: Path,
    key: str,
    words: Sequence[str],
    allowed: Sequence[str],
    caller: str,
    folder: str | None,
) -> RunConfig:
    """The configuration of a run whose data is not read, with overrides; see `amend`.

    Args:
        key: the key by which the user named the run, for messages.
    """
    saved = load_config(run, key)
    if "cache" in saved.data:  # nothing is prepared there
        saved.data.cache = str(data_home() / "cache")
    return amend(saved, words, allowed, caller, folder)


def differences(
    before: dict[str, Any],
    now: dict[str, Any],
    free: Sequence[str] = MAY_DIFFER,
) -> list[str]:
    """One line for each key whose values differ, with both values.

    Args:
        before: the configuration that the run was trained with.
        now: the configuration to compare with it.
        free: keys that may differ, including the keys below them.
    """
    old, new = dict(leaves(before)), dict(leaves(now))
    return [
        _difference(key, old, new)
        for key in sorted(old.keys() | new.keys())
        if old.get(key, ...) != new.get(key, ...)  # a missing key differs from null
        and not any(key == f or key.startswith(f"{f}.") for f in free)
    ]


def _difference(key: str, old: dict[str, Any], new: dict[str, Any]) -> str:
    now = f"={show(new[key])}" if key in new else " is missing"
    before = f"with {show(old[key])}" if key in old else "without it"
    return f"{key}{now}: the run was trained {before}"
