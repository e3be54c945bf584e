"""Read the `multirun.yaml` of a sweep, which may come from somebody else, and check its content."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.types import Override

from metarun.config.overrides import one_line
from metarun.errors import Refused
from metarun.files import read_whole
from metarun.runs.places import cache_mistake
from metarun.runs.yaml_file import MAX_BYTES, parse_yaml
from metarun.sweeps import launchers
from metarun.sweeps.plan import is_inside
from metarun.sweeps.search import setup

REPLAYABLE = ("hydra.sweep.subdir=", "hydra/launcher=", "hydra/sweeper=")
REPLAYABLE += ("hydra.sweeper.max_batch_size=", *(f"{key}=" for key in setup.KEYS))
LAUNCHER_KEYS = (  # safe to read from multirun.yaml: they run no code
    *launchers.COUNTS,
    "gpus_per_node",
    "mem_gb",
    "max_num_timeout",
    "signal_delay_s",
    "partition",
    "qos",
    "account",
    "constraint",
    "gres",
)
PLAIN = re.compile(r"[\w.:+-]*")
REFERENCE = re.compile(r"\$\{(?!hydra\.)[\w.]+\}|\$\{hydra\.job\.\w+\}")  # to a key; no resolver


def saved_overrides(sweep: Path) -> list[str]:
    """Return the overrides that the sweep was started with, without the folder of the sweep.

    Raises:
        Refused: `multirun.yaml` is invalid or not safe to replay, or a file of the sweep is a link.
    """
    file = sweep / "multirun.yaml"
    for path in sweep.iterdir():
        if path.is_symlink() and not is_inside(path, sweep):
            raise Refused(f"{path}: is a link to another folder; a sweep writes only to its own")
    try:
        saved = parse_yaml(read_whole(file, MAX_BYTES))["hydra"]["overrides"]
        overrides = [*saved["task"], *saved["hydra"]]
        if not all(isinstance(override, str) for override in overrides):
            raise ValueError("an override is not a text")
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise Refused(f"{file}: is not the file of a sweep ({one_line(error)})") from error
    overrides = [o for o in overrides if not o.startswith(("hydra.sweep.dir=", "hydra.mode="))]
    for override in overrides:
        _check_safe(override, sweep)
    return overrides


def _check_safe(override: str, sweep: Path) -> None:
    """Refuse an override that can run code, read the environment or write elsewhere."""
    file, key = sweep / "multirun.yaml", _key(override)
    if key.startswith("hydra.searchpath"):
        raise Refused(
            f"{file}: {override}: code in that folder could run; if you trust it, "
            f"name it yourself: metarun resume={sweep} --config-dir DIR"
        )
    safe = override.startswith(REPLAYABLE) or is_replayable(override)
    if (key.startswith("hydra") and not safe) or "@" in key:
        raise Refused(f"{file}: {override}: cannot be replayed; only {', '.join(REPLAYABLE)}")
    if "$" in REFERENCE.sub("", override):
        raise Refused(
            f"{file}: {override}: cannot be replayed, because it could read the environment; "
            "only ${KEY}, the value of another key"
        )


def is_replayable(override: str) -> bool:
    """Return whether a launcher override in a `multirun.yaml`, which may be untrusted, is safe."""
    match = re.fullmatch(r"\+{0,2}hydra\.launcher\.(\w+)=(.*)", override, flags=re.DOTALL)
    return bool(match and match[1] in LAUNCHER_KEYS and PLAIN.fullmatch(match[2]))


def changed(saved: Sequence[str], new: Sequence[str]) -> list[str]:
    """Return the saved overrides of a sweep with those given to `resume` in their place.

    Raises:
        Refused: `new` has an override that is neither for the launcher nor, for a search, the
            number of trials.
    """
    is_search, trials = setup.is_search(saved), f"{setup.TRIALS}="
    for override in new:
        if is_search and override.startswith(trials):
            continue
        if is_search and _key(override).startswith("hydra.sweeper."):
            raise Refused(
                f"{override}: resume keeps the settings of a search; only {trials}N can be changed"
            )
        if not re.match(r"\+*(hydra/launcher|hydra\.launcher\.(?!_)\w+)=", override):
            also = f"{trials}N, " if is_search else ""
            raise Refused(
                f"{override}: resume keeps the settings of a sweep; "
                f"only {also}hydra/launcher=NAME and hydra.launcher.KEY=… can be changed"
            )
    new_keys = {_key(override) for override in new}
    other_launcher = "hydra/launcher" in new_keys
    unchanged = [
        override
        for override in saved
        if (key := _key(override)) not in new_keys
        and not (other_launcher and key.startswith("hydra.launcher."))
    ]
    return [*unchanged, *new]


def _key(override: str) -> str:
    """Return the key of an override without the `+` or `~` before it."""
    return override.partition("=")[0].lstrip("+~")


def check_caches(overrides: Sequence[Override], file: Path) -> None:
    """Refuse overrides of a saved sweep by which data would be prepared in a strange folder.

    Raises:
        Refused: with a line for each override.
    """
    mistakes = []
    for o in overrides:
        if o.key_or_group in ("data.cache", "data_home"):
            folders = o.sweep_string_iterator() if o.is_sweep_override() else [o.value()]
            folders = [Path(str(folder).strip("'\"")) for folder in folders if folder is not None]
            caches = [f if o.key_or_group == "data.cache" else f / "cache" for f in folders]
            mistakes += filter(None, (cache_mistake(str(cache)) for cache in caches))
    if mistakes:
        raise Refused(*(f"{file}: {mistake}; start a new sweep" for mistake in mistakes))
