"""Parse overrides, quote paths in them, and check their keys."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, RangeSweep
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf

from metarun.config.schema import GROUPS, PLACES
from metarun.errors import Refused

CHOICE_OF_NULL = re.compile(r"^([^=]+=)choice\(((?:.*,)?\s*null\s*(?:,.*)?)\)$", re.DOTALL)
PATHS = ("out", "data_home", "hydra.run.dir", "hydra.sweep.dir", *PLACES)


def with_any(words: Sequence[str]) -> list[str]:
    """The words with `shots=any queries=any` beside `ways=any`, and alike with `train_`."""
    found = list(words)
    for prefix in ("", "train_"):
        if f"{prefix}ways=any" in found:
            for key in (f"{prefix}shots=", f"{prefix}queries="):
                if not any(word.startswith(key) for word in words):
                    found.append(f"{key}any")
    return found


def parse(
    loader: ConfigLoader, words: Iterable[str], sweep: bool = False
) -> tuple[list[Override], list[str]]:
    """Parse overrides; return the valid ones, and an error line for each invalid one.

    Args:
        sweep: whether a key may have several values.
    """
    parser = OverridesParser.create(config_loader=loader)
    overrides, mistakes = [], []
    for text in words:
        try:
            override = parser.parse_override(quote_path(text))
        except HydraException as error:
            reason = one_line(error) if "=" in text or text[:1] == "~" else "should be key=value"
            mistakes.append(f"{text}: not an override: {reason}")
            continue
        override.config_loader = loader  # for glob
        if override.is_sweep_override() and not sweep:
            mistakes.append(f"{text}: several values are a sweep: add -m, or quote the value")
        else:
            overrides.append(override)
    return overrides, mistakes


def quote_path(text: str) -> str:
    """Quote the value of a path key, so that it may contain blanks, commas, = and brackets.

    For other keys, `choice(null,1)` becomes `null,1`, which means the same and which Hydra takes.
    """
    match = re.fullmatch(r"(\+{0,2}[\w.]+)=(.*)", text, flags=re.DOTALL)
    if not match or match[1].lstrip("+") not in PATHS:
        return CHOICE_OF_NULL.sub(r"\1\2", text)
    value = match[2]
    if value == "null" or value[:1] in "'\"" or value.startswith("choice("):
        return text
    return f"{match[1]}={quote(value)}"


def quote(value: str) -> str:
    """Quote a value for Hydra, where a backslash has a meaning only before a quote."""
    escaped = re.sub(r"(\\*)(')", lambda m: m[1] * 2 + "\\'", value)
    escaped = re.sub(r"\\+\Z", lambda m: m[0] * 2, escaped)
    return f"'{escaped}'"


def only_for_sweeps(words: Iterable[str]) -> list[str]:
    """An error line for each override that has no effect on a single run."""
    pattern = r"[+~]*hydra([/.](launcher|sweeper)|\.sweep)\b"
    return [f"{word}: is for a sweep: add -m" for word in words if re.match(pattern, word)]


def length(override: Override) -> int:
    """Number of values in a discrete sweep over one key, computed without creating them.

    Raises:
        Refused: the sweep is not discrete, or a range is infinite or has a step of 0.
    """
    value = override.value()
    if not override.is_discrete_sweep():
        raise Refused(f"{override.input_line}: is for a search")
    if not isinstance(value, RangeSweep):
        return sum(1 for _ in override.sweep_string_iterator())
    numbers = (value.start, value.stop, value.step)
    if not all(map(math.isfinite, numbers)) or value.step == 0:
        line = override.input_line
        raise Refused(f"{line}: should have a beginning, an end, and a step that is not 0")
    start, stop, step = (Decimal(repr(n)) for n in numbers)
    return max(0, math.ceil((stop - start) / step))


def sift(
    overrides: Iterable[Override], mistake: Callable[[Override], str | None]
) -> tuple[list[Override], list[str]]:
    """Split overrides by a check; return those that pass, and the mistakes of the others."""
    pairs = [(o, mistake(o)) for o in overrides]
    return [o for o, line in pairs if line is None], [line for _, line in pairs if line]


def set_again(overrides: Sequence[Override]) -> list[str]:
    """An error line for each key with several values that a later override sets again."""
    return [
        f"{o.key_or_group}: has a range and is set again; set it once"
        for place, o in enumerate(overrides, 1)
        if o.is_sweep_override()
        if any(later.key_or_group == o.key_or_group for later in overrides[place:])
    ]


def unknown_key(base: DictConfig, override: Override) -> str | None:
    """An error line if `base` does not have the key of the override, else `None`."""
    key = override.key_or_group
    if key in GROUPS or "/" in key or key == "hydra" or key.startswith("hydra."):
        return None
    if key.partition(".")[0] == "choices":
        return f"{key}: is set automatically; choose with {key.rpartition('.')[2]}=NAME"
    if key.partition(".")[0] == "preset":
        return f"{key}: is set automatically; choose a preset with experiment=NAME"
    node: Any = base
    parts = key.split(".")
    for depth, part in enumerate(parts):
        if isinstance(node, ListConfig) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, DictConfig) and part in set(node.keys()):  # also if its value is ???
            node = node._get_node(part)
        else:
            hint = nearest(key, keys(base)) or _siblings(node, ".".join(parts[:depth]))
            return f"{key}: no such key{hint}"
    return None


def _siblings(node: Any, path: str) -> str:
    """The keys of the node at `path`, in parentheses; empty if it is not a node."""
    if not path or not isinstance(node, DictConfig):
        return ""
    return f" ({path} has {', '.join(str(name) for name in node if name != '_target_')})"


def keys(cfg: DictConfig, prefix: str = "") -> Iterator[str]:
    """The dotted keys of all values, without `hydra`, `choices`, `preset` and targets."""
    for name in cfg:
        node = cfg._get_node(name)
        if name in ("hydra", "choices", "preset", "_target_") or node is None:
            continue
        if isinstance(node, DictConfig) and not node._is_none() and not node._is_interpolation():
            yield from keys(node, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def leaves(
    content: Mapping[str, Any], skipped: Sequence[str] = (), prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """The dotted keys and values of nested mappings, without the names in `skipped`."""
    for name, value in content.items():
        if name in skipped:
            continue
        if isinstance(value, Mapping) and value:
            yield from leaves(value, skipped, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def missing_keys(cfg: DictConfig) -> list[str]:
    """The dotted keys that a file sets to `???`, so that the user has to type them."""
    split = [(key, *key.rpartition(".")[::2]) for key in keys(cfg)]
    return [key for key, at, name in split if OmegaConf.is_missing(OmegaConf.select(cfg, at), name)]


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean X?` with the most similar known name; empty if none is similar."""
    known = list(known)
    same_last_part = [k for k in known if k.rsplit(".", 1)[-1] == name.rsplit(".", 1)[-1]]
    close = same_last_part or difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def one_line(error: Exception) -> str:
    """An error message on one line, at most 300 characters, without OmegaConf's debug lines."""
    lines = [line.strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line and not line.startswith(("full_key", "object_type"))]
    text = " ".join(lines) or type(error).__name__
    return text if len(text) <= 300 else text[:299] + "…"
