"""`metarun list [GROUP]`."""

from __future__ import annotations

from metarun.config.command_line import Request
from metarun.errors import Refused


def run(request: Request) -> int:
    """Print the choices of each config group with a one-line description.

    `list data` also prints where each data set looks for its files, and how much is there.
    """
    from metarun.config.groups import choices
    from metarun.config.overrides import OF_SWEEPS, nearest
    from metarun.config.schema import GROUPS

    request.accept("--config-dir")
    groups = (*GROUPS, *OF_SWEEPS)
    for group in request.words:
        if group not in groups:
            raise Refused(
                f"list {group}: no such group{nearest(group, groups)} ({', '.join(groups)})"
            )
    config_dir = request.flags.config_dir
    for group in request.words or groups:
        offered = choices(group, config_dir)
        if group in OF_SWEEPS:  # choices that come with Hydra have no description: omit them
            offered = {name: text for name, text in offered.items() if text}
        width = max((len(name) for name in offered), default=0)
        root_lines, cache_lines = (
            _data_lines(config_dir) if request.words and group == "data" else ({}, [])
        )
        print(f"{group}=")
        for name, text in offered.items():
            print(f"  {name:<{width}}  {text}".rstrip())
            if name in root_lines:
                print(f"  {'':<{width}}  {root_lines[name]}")
        for line in cache_lines:
            print(line)
    return 0


def _data_lines(config_dir: str | None) -> tuple[dict[str, str], list[str]]:
    """Return a line for each data set that reads files, and the lines on the cache folders."""
    from omegaconf import OmegaConf

    from metarun.config.groups import conf_dir, files
    from metarun.data import locations

    base = OmegaConf.load(conf_dir() / "config.yaml")
    paths = {
        name: locations.keys(file, base) for name, file in files("data", config_dir).items() if file
    }
    roots = {n: locations.root_line(keys["root"]) for n, keys in paths.items() if "root" in keys}
    caches = [keys["cache"] for keys in paths.values() if keys.get("cache")]
    return roots, list(locations.cache_lines(caches))
