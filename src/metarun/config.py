"""From what was typed to one configuration, with every mistake named."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra.version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from metarun.errors import Refused
from metarun.settings import Settings, explain, show

PATHS = ("out", "data.root", "data.cache", "data_home", "hydra.run.dir", "hydra.sweep.dir")
GROUPS = ("algo", "data", "backbone", "optimizer", "logger", "experiment", "debug")


def conf_dir() -> Path:
    """The shipped tree: inside an installed package, or beside `src` in a checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package / "conf", package.parents[1] / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise Refused(f"{package / 'conf'}: not there; install metarun again")


def hydra_for(folder: str | None) -> Hydra:
    """Hydra over the shipped tree and, after it, a user's own folder."""
    if folder is not None and not Path(folder).is_dir():
        raise Refused(f"--config-dir {folder}: no such folder")
    hydra.version.setbase("1.3")  # jobs stay in the folder they were called from
    GlobalHydra.instance().clear()
    search = create_config_search_path(str(conf_dir()))
    if folder is not None:
        anchor = SearchPathQuery(provider="schema")  # which has to stay last
        search.prepend("command-line", f"file://{os.path.abspath(folder)}", anchor)
    return Hydra.create_main_hydra2("metarun", search)


def compose(typed: Sequence[str], folder: str | None = None) -> DictConfig:
    """Compose the overrides `typed` and check names and top-level keys; imports no torch.

    Returns:
        The configuration with its `hydra` node, which is also set as the current one.

    Raises:
        Refused: with one line for every mistake.
    """
    cfg, mistakes = examine(hydra_for(folder).config_loader, typed)
    if cfg is None or mistakes:
        raise Refused(*mistakes)
    return cfg


def examine(loader: ConfigLoader, typed: Sequence[str]) -> tuple[DictConfig | None, list[str]]:
    """What `compose` does, with the mistakes as an answer."""
    overrides, mistakes = parse(loader, typed)
    overrides, wrong = _sift(overrides, lambda o: _wrong_choice(loader, o))
    mistakes += wrong
    cfg = None
    try:
        base = _compose(loader, filter(_is_choice, overrides))
        overrides, wrong = _sift(overrides, lambda o: _unknown_key(base, o))
        mistakes += wrong
        cfg = base if all(map(_is_choice, overrides)) else _compose(loader, overrides)
        HydraConfig.instance().set_config(cfg)
        mistakes += check(cfg)
    except (HydraException, OmegaConfBaseException) as error:
        mistakes.append(one_line(error))
    return cfg, list(dict.fromkeys(mistakes))


def check(cfg: DictConfig) -> list[str]:
    """Mistakes in the top-level keys; where there are none, paths become absolute."""
    try:
        Settings.model_validate(plain(cfg))
    except ValidationError as error:
        return explain(error)
    except OmegaConfBaseException as error:
        return [one_line(error)]
    for key in ("data.root", "data.cache"):
        value = OmegaConf.select(cfg, key)
        if isinstance(value, str):
            OmegaConf.update(cfg, key, os.path.abspath(os.path.expanduser(value)))
    return []


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The job's own configuration, resolved, in plain containers."""
    own = OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"])
    return OmegaConf.to_container(own, resolve=True)


def parse(
    loader: ConfigLoader, typed: Iterable[str], sweep: bool = False
) -> tuple[list[Override], list[str]]:
    """The overrides that can be read, and a line for each that cannot.

    Args:
        sweep: several values for a key are welcome.
    """
    parser = OverridesParser.create(config_loader=loader)
    overrides, mistakes = [], []
    for text in typed:
        try:
            override = parser.parse_override(quote_path(text))
        except HydraException as error:
            reason = one_line(error) if "=" in text or text[:1] == "~" else "should be key=value"
            mistakes.append(f"{text}: not an override: {reason}")
            continue
        if override.is_sweep_override() and not sweep:
            mistakes.append(f"{text}: several values are a sweep: add -m, or quote the value")
        else:
            overrides.append(override)
    return overrides, mistakes


def quote_path(text: str) -> str:
    """Quote the value of a key that holds a path, so that blanks, commas, = and brackets work."""
    match = re.fullmatch(r"(\+{0,2}[\w.]+)=(.*)", text, flags=re.DOTALL)
    if not match or match[1].lstrip("+") not in PATHS:
        return text
    value = match[2]
    if value == "null" or value[:1] in "'\"" or value.startswith("choice("):
        return text
    return f"{match[1]}={quote(value)}"


def quote(value: str) -> str:
    """The value in Hydra's quotes, where a backslash counts only before a quote."""
    escaped = re.sub(r"(\\*)(')", lambda m: m[1] * 2 + "\\'", value)
    escaped = re.sub(r"\\+$", lambda m: m[0] * 2, escaped)
    return f"'{escaped}'"


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean X?`, or nothing if no known name comes near."""
    known = list(known)
    same_end = [k for k in known if k.rsplit(".", 1)[-1] == name.rsplit(".", 1)[-1]]
    close = same_end or difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def one_line(error: Exception) -> str:
    """The first lines of an error's message, without what only helps in a debugger."""
    lines = [line.strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line and not line.startswith(("full_key", "object_type"))]
    text = " ".join(lines) or type(error).__name__
    return text if len(text) <= 300 else text[:299] + "…"


def _compose(loader: ConfigLoader, overrides: Iterable[Override]) -> DictConfig:
    cfg = loader.load_configuration(
        config_name="config",
        overrides=[str(o.input_line) for o in overrides],
        run_mode=RunMode.RUN,
    )
    OmegaConf.set_readonly(cfg.hydra, None)
    return cfg


def _sift(
    overrides: Iterable[Override], mistake: Callable[[Override], str | None]
) -> tuple[list[Override], list[str]]:
    """The overrides without a mistake, and the others' mistakes."""
    found = [(o, mistake(o)) for o in overrides]
    return [o for o, wrong in found if wrong is None], [wrong for _, wrong in found if wrong]


def _is_choice(override: Override) -> bool:
    key = override.key_or_group
    return key in GROUPS or "/" in key or key == "hydra.searchpath"


def _wrong_choice(loader: ConfigLoader, override: Override) -> str | None:
    group, value = override.key_or_group, override.value()
    if group not in GROUPS:
        return None
    if override.is_delete():
        return None if group in ("experiment", "debug") else f"{group}: missing"
    options = options_of(loader, group)
    several = isinstance(value, list) and group in ("experiment", "debug")
    for name in value if several else [value]:
        if name not in options:
            hint = nearest(str(name), options)
            some = ", ".join(options) if len(options) <= 20 else f"metarun list {group}: all"
            return f"{group}={show(name)}: no such choice{hint} ({some or 'none'})"
    return None


def options_of(loader: ConfigLoader, group: str) -> list[str]:
    """The choices of a group, those in its folders after its own: `demo`, `maml/omniglot_…`."""
    own, folders = set(), set()
    for source in loader.get_sources():  # loader.get_group_options would copy them all each time
        if source.available() and source.is_group(group):
            own |= set(source.list(group, ObjectType.CONFIG))
            folders |= set(source.list(group, ObjectType.GROUP))
    nested = [f"{f}/{name}" for f in sorted(folders) for name in options_of(loader, f"{group}/{f}")]
    return sorted(own) + nested


def _siblings(node: Any, key: str) -> str:
    """What there is where `key` was looked for, if that is a group."""
    parent = key.rpartition(".")[0]
    names = (
        [str(name) for name in node if name != "_target_"] if isinstance(node, DictConfig) else []
    )
    return f" ({parent} has {', '.join(names)})" if parent and names else ""


def _unknown_key(base: DictConfig, override: Override) -> str | None:
    key = override.key_or_group
    if key in GROUPS or "/" in key or key == "hydra" or key.startswith("hydra."):
        return None
    if key.partition(".")[0] == "choices":
        return f"{key}: says what was chosen; choose with {key.rpartition('.')[2]}=NAME"
    node: Any = base
    for part in key.split("."):
        if isinstance(node, ListConfig) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, DictConfig) and part in node:
            node = node._get_node(part)
        else:
            return f"{key}: no such key{nearest(key, keys(base)) or _siblings(node, key)}"
    return None


def keys(cfg: DictConfig, prefix: str = "") -> Iterator[str]:
    """The dotted keys of all values but Hydra's."""
    for name in cfg:
        node = cfg._get_node(name)
        if name in ("hydra", "choices", "_target_") or node is None:
            continue
        if isinstance(node, DictConfig) and not node._is_none() and not node._is_interpolation():
            yield from keys(node, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def user_folders(cfg: DictConfig) -> list[Path]:
    """Config folders that the user named: by `--config-dir` or `hydra.searchpath`."""
    sources = cfg.hydra.runtime.config_sources if "hydra" in cfg else []
    return [
        Path(source.path)
        for source in sources
        if source.schema == "file" and Path(source.path).resolve() != conf_dir().resolve()
    ]


def choices(group: str, folder: str | None = None) -> dict[str, str]:
    """What a group offers, with the meaning on the second line of its file."""
    loader = hydra_for(folder).config_loader
    found = {}
    for name in options_of(loader, group):
        found[name] = ""
        for source in loader.get_sources():
            if source.scheme() == "file":
                file = Path(source.path) / group / f"{name}.yaml"
                if file.is_file():
                    found[name] = meaning(file)
                    break
    return found


def meaning(file: Path) -> str:
    """The comment after the one that opens a choice's file with the command that uses it."""
    comments = [x[1:].strip() for x in file.read_text("utf-8").splitlines() if x[:1] == "#"]
    comments = [x for x in comments if not x.startswith("@package")]
    return comments[1] if len(comments) > 1 else ""
