"""`metarun list [GROUP [CHOICE]]`, `metarun list published`."""

from __future__ import annotations

import time
from pathlib import Path

from metarun.config.command_line import Request
from metarun.errors import Refused, say

OTHER = "other"  # the domain of data sets that state none


def run(request: Request) -> int:
    """Print the choices of each config group, or the keys of a choice.

    `list data` also prints where each data set looks for its files, and how much is there.
    `list published` prints the published figures of all presets, and the runs that are stored.
    """
    from metarun.config.groups import OF_SWEEPS
    from metarun.config.schema import GROUPS

    request.accept("--config-dir")
    if request.words == ["published"]:
        _print_published()
        return 0
    groups, config_dir = (*GROUPS, *OF_SWEEPS), request.flags.config_dir
    for group, names in _by_group(request.words or list(groups), groups, config_dir).items():
        if names:
            for name, file in names.items():
                _print_choice(group, name, file, config_dir)
        else:
            _print_choices(group, config_dir, details=bool(request.words))
    return 0


def _by_group(
    words: list[str], groups: tuple[str, ...], config_dir: str | None
) -> dict[str, dict[str, Path]]:
    """Each typed group, with the file of each of its choices that follow it."""
    from metarun.config.groups import files
    from metarun.config.overrides import nearest

    requested: dict[str, dict[str, Path]] = {}
    group = ""
    for word in words:
        if word in groups:
            group = word
            requested.setdefault(group, {})
            continue
        options = files(group, config_dir) if group else {}
        if file := options.get(word):
            requested[group][word] = file
        elif group and group in requested and options:
            hint = nearest(word, [*options, *groups])
            raise Refused(f"list {group} {word}: no such choice{hint} (metarun list {group}: all)")
        else:
            hint = nearest(word, groups)
            raise Refused(f"list {word}: no such group{hint} ({', '.join(groups)})")
    return requested


def _print_choice(group: str, name: str, file: Path, config_dir: str | None) -> None:
    from rich.text import Text

    from metarun.config.groups import meaning
    from metarun.config.keys import describe, settings
    from metarun.runs.grid import grid
    from metarun.training.display import console

    screen = console()
    keys = describe(group, file, [Path(config_dir)] if config_dir else [])
    screen.print(f"{group}={name}  {meaning(file)}", markup=False, soft_wrap=True)
    if keys:
        with_types = any(key.allowed for key in keys)
        table = grid("", "key", "default", *["allowed"] * with_types, "meaning")
        for key in keys:
            cells = [key.name, key.default, *[key.allowed] * with_types, key.help]
            table.add_row(*map(Text, cells))
        screen.print(table)
    for title, overrides in settings(group, file):
        screen.print(f"{title}: {overrides}", markup=False, soft_wrap=True)


def _print_published() -> None:
    """Print each published figure, what independent re-runs reached, and the stored runs."""
    from metarun.report.figures import figures_dir, hours_of, published_figures, variant_of
    from metarun.runs.grid import Column, fitted
    from metarun.training.display import console

    rows: list[list[str]] = []
    for figure in published_figures(figures_dir()):
        headline = figure.headline
        reruns = ", ".join(headline.published(stat) for stat in figure.reruns.values())
        goal = [headline.published(figure.figure), reruns]
        for run in figure.runs:
            verdict, task = run["verify"], figure.task + variant_of(run)
            reached = verdict["reached"]
            stat = reached and {**reached, "ci95": reached.get("ci95_classes", reached["ci95"])}
            row = [headline.figure(stat), verdict["verdict"], verdict["version"], hours_of(run)]
            rows.append([figure.experiment, task, *goal, *row])
        if not figure.runs:
            about = "" if figure.hours is None else f"about {figure.hours:g}"
            rows.append([figure.experiment, figure.task, *goal, "–", "not run", "", about])
    titles = ("preset", "task", "published", "re-runs", "reached", "verdict", "version", "hours")
    ranks = (0, 0, 0, 1, 0, 0, 3, 2)
    cells = zip(*rows, strict=True)
    columns = [
        Column(title, column, rank, whole=True)
        for title, column, rank in zip(titles, cells, ranks, strict=True)
    ]
    screen = console()
    screen.print(fitted("", columns, screen.width)[0])


def _print_choices(group: str, config_dir: str | None, details: bool) -> None:
    from metarun.config.groups import OF_SWEEPS, choices, domain, files

    offered = choices(group, config_dir)
    if group in OF_SWEEPS:  # choices that come with Hydra have no description: omit them
        offered = {name: text for name, text in offered.items() if text}
    width = max((len(name) for name in offered), default=0)
    has_details = details and group == "data"
    root_lines, cache_lines = _data_lines(config_dir) if has_details else ({}, [])
    say(f"{group}=")
    of_domain: dict[str, list[str]] = {"": list(offered)}
    if group == "data":  # the data sets of a user, which state no domain, are last
        paths = files(group, config_dir)
        domains = {name: (file and domain(file)) or OTHER for name, file in paths.items()}
        titles = sorted(set(domains.values()), key=lambda title: (title == OTHER, title))
        of_domain = {title: [n for n in offered if domains[n] == title] for title in titles}
    for title, names in of_domain.items():
        if title:
            say(f" {title}")
        for name in names:
            say(f"  {name:<{width}}  {offered[name]}".rstrip())
            if name in root_lines:
                say(f"  {'':<{width}}  {root_lines[name]}")
    for line in cache_lines:
        say(line)


def _data_lines(config_dir: str | None) -> tuple[dict[str, str], list[str]]:
    """Return a line for each data set that reads files, and the lines on the cache folders."""
    from metarun.data import locations

    paths = locations.all_keys(config_dir)
    roots = {n: locations.root_line(keys["root"]) for n, keys in paths.items() if "root" in keys}
    files = [name for name, keys in paths.items() if "file" in keys]
    roots |= dict.fromkeys(files, "file: named by data.file=FILE")
    return roots, list(locations.cache_lines(paths, time.time()))
