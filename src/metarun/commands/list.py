"""`metarun list [GROUP]`."""

from __future__ import annotations

from metarun.config.command_line import Request
from metarun.errors import Refused


def run(request: Request) -> int:
    """Print what can be chosen, each with its one-line meaning.

    `list data` says as well where each data set looks for its files, and what is there already.
    """
    from metarun.config.groups import GROUPS, choices
    from metarun.config.overrides import OF_SWEEPS, nearest

    request.accept("--config-dir")
    groups = (*GROUPS, *OF_SWEEPS)
    for group in request.words:
        if group not in groups:
            raise Refused(
                f"list {group}: no such group{nearest(group, groups)} ({', '.join(groups)})"
            )
    own = request.flags.config_dir
    for group in request.words or groups:
        offered = choices(group, own)
        if group in OF_SWEEPS:  # Hydra's own have no meaning written down
            offered = {name: meaning for name, meaning in offered.items() if meaning}
        width = max((len(name) for name in offered), default=0)
        notes, last = _of_data(own) if request.words and group == "data" else ({}, [])
        print(f"{group}=")
        for name, meaning in offered.items():
            print(f"  {name:<{width}}  {meaning}".rstrip())
            if name in notes:
                print(f"  {'':<{width}}  {notes[name]}")
        for line in last:
            print(line)
    return 0


def _of_data(own: str | None) -> tuple[dict[str, str], list[str]]:
    """A line for each data set that reads files, and one for each folder of prepared arrays."""
    from omegaconf import OmegaConf

    from metarun.config.groups import conf_dir, files
    from metarun.data import locations

    base = OmegaConf.load(conf_dir() / "config.yaml")
    found = {name: locations.keys(file, base) for name, file in files("data", own).items() if file}
    roots = {n: locations.root_line(keys["root"]) for n, keys in found.items() if "root" in keys}
    caches = [keys["cache"] for keys in found.values() if keys.get("cache")]
    return roots, list(locations.cache_lines(caches))
