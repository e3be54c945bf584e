"""Tab completion: what can follow on an unfinished command line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from metarun.config.compose import examine
from metarun.config.explanation import show
from metarun.config.groups import OF_SWEEPS, hydra_for, options_of
from metarun.config.layers import Loader
from metarun.config.overrides import PATHS, keys
from metarun.config.schema import GROUPS
from metarun.errors import Refused

KEYS = {  # for each command: its keys that are not keys of the configuration
    "audit": ("run", "out", "episodes"),
    "clean": ("data",),
    "compare": ("out",),
    "evaluate": ("run", "split", "protocol", "name", "episodes"),
    "export": ("run", "out", "format"),
    "predict": ("run", "support", "query", "truth", "out", "unknown_below"),
    "report": ("out",),
    "show": ("split", "out"),
    "train": ("resume",),
    "verify": ("budget",),
}
VALUES = {"split": ("train", "val", "test"), "device": ("auto", "cpu", "cuda", "mps")}
VALUES |= {"precision": ("float32", "float64", "bfloat16"), "audit": ("quick", "full")}
VALUES |= {"workers": ("auto",), "format": ("onnx", "torch_export")}
TAKES_FOLDERS = ("clean", "compare", "report")
HOLDS_PATH = ("resume", "run", "support", "query", "truth", *PATHS)
IN_SWEEPS = ("hydra.sweep.dir", "hydra.sweep.subdir")


def complete(line: str, commands: Sequence[str]) -> list[str]:
    """What the last word of a command line can become.

    Args:
        line: from the name of the program to the cursor. The last word is empty after a blank.
        commands: the names of all commands.

    Returns:
        Whole words, sorted. Keys end in `=`, or in `.` where more follows; folders end in a slash.
    """
    words = line.split()[1:]
    word = "" if not words or line[-1:].isspace() else words.pop()
    if words and words[-1] == "--config-dir":
        return _folders(word)
    config_dir = dict(pairwise(words)).get("--config-dir")
    others = [w for w in words if not w.startswith("-") and w != config_dir]
    command = others.pop(0) if others and others[0] in commands else "train"
    offered = [*commands, "help"] if len(words) == 0 else []
    try:
        loader = hydra_for(config_dir).config_loader
        if command == "list":
            offered = _listed(loader, others)
        else:
            offered += _overrides(loader, command, others, word, sweep="-m" in words)
    except (Refused, OmegaConfBaseException):  # for example, there is no such config folder
        pass
    if command in TAKES_FOLDERS and "=" not in word:
        offered += _folders(word)
    return sorted({text for text in offered if text.startswith(word)})


def _listed(loader: Loader, words: Sequence[str]) -> list[str]:
    """Groups, and the choices of the last typed group."""
    groups = (*GROUPS, *OF_SWEEPS)
    last = [word for word in words if word in groups][-1:]
    return [*groups, "published", *(name for group in last for name in options_of(loader, group))]


def _overrides(
    loader: Loader, command: str, words: Sequence[str], word: str, sweep: bool
) -> list[str]:
    """Keys, or the values of the key before the `=` in `word`."""
    prefix = word[: len(word) - len(word.lstrip("+~"))]
    key, equals, value = word[len(prefix) :].partition("=")
    if not equals:
        own = [f"{name}=" for name in KEYS.get(command, ())]
        if command in TAKES_FOLDERS:
            return own
        return own + [prefix + text for text in _keys(_config(loader, words), command, key, sweep)]
    if key in HOLDS_PATH:
        return [f"{prefix}{key}={path}" for path in _folders(value)]
    start = value[: value.rfind(",") + 1]  # earlier values of a sweep
    if key in (*GROUPS, *OF_SWEEPS):
        values = options_of(loader, key)
    elif not (values := list(VALUES.get(key, ()))) and command not in TAKES_FOLDERS:
        values = _values(OmegaConf.select(_config(loader, words), key))
    return [f"{prefix}{key}={start}{text}" for text in values]


def _config(loader: Loader, words: Sequence[str]) -> DictConfig:
    """The configuration of the words; wrong ones are left out."""
    for given in (words, ()):
        config, _ = examine(loader, given)
        if config is not None:
            return config
    return OmegaConf.create()


def _keys(config: DictConfig, command: str, start: str, sweep: bool) -> list[str]:
    """Keys that begin with `start`, up to the next dot, and groups."""
    names = list(keys(config))
    if sweep:
        names += IN_SWEEPS
        for node in ("launcher", "sweeper"):
            names += [f"hydra.{node}.{name}" for name in config.hydra[node] if name[0] != "_"]
    groups = () if command == "evaluate" else GROUPS + (OF_SWEEPS if sweep else ())
    found = [f"{name}=" for name in groups]
    for name in names:
        if name.startswith(start):
            head, dot, _ = name[len(start) :].partition(".")
            found.append(f"{start}{head}{dot or '='}")
    return found


def _values(value: Any) -> list[str]:
    """The current value of a key, and the other one of true and false."""
    if isinstance(value, bool):
        return ["true", "false"]
    return [] if value is None or OmegaConf.is_config(value) else [show(value)]


def _folders(start: str) -> Iterable[str]:
    """Paths of folders that begin with `start`. A shell would split those with blanks."""
    parent, name = os.path.split(start)
    try:
        entries = [e for e in os.scandir(os.path.expanduser(parent) or ".") if e.is_dir()]
    except OSError:
        return []
    found = [e.name for e in entries if e.name.startswith(name) and e.name.split() == [e.name]]
    shown = [n for n in found if n[0] != "." or name[:1] == "."]
    return [os.path.join(parent, n, "") for n in shown]
