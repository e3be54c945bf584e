"""`metarun compare RUN_A RUN_B [RUN_C …] [out=FILE.csv]`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from metarun.config.command_line import Request
from metarun.errors import Refused

if TYPE_CHECKING:
    from metarun.report.comparison import Pair
    from metarun.report.tested import Tested


def run(request: Request) -> int:
    """Paired differences between tested runs, on the same frozen episodes."""
    request.accept()
    out = request.folder("out")
    folders, mistakes = _distinct(Path(word).expanduser() for word in request.words)
    mistakes += _unfit(out)

    from metarun.report.comparison import as_csv, compare
    from metarun.report.tested import read_test

    tests = []
    for folder in folders:
        try:
            tests.append(read_test(folder))
        except Refused as refused:
            mistakes += refused.mistakes
    if mistakes:
        raise Refused(*mistakes)
    pairs, notes = compare(tests)
    if out is not None:
        _write_new(out, as_csv(pairs))
    _print(tests, pairs, notes)
    return 0


def _distinct(typed: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """The folders to be compared, and what is wrong with how they were named."""
    seen: dict[Path, Path] = {}
    lines = []
    for folder in typed:
        where = folder.resolve()
        if "=" in str(folder) and not folder.exists():
            lines.append(f"{folder}: no such folder; compare takes folders, and out=FILE.csv")
        elif where in seen:
            lines.append(f"{folder}: the same folder as {seen[where]}: nothing to compare")
        else:
            seen[where] = folder
    if len(seen) < 2 and not lines:
        lines.append("compare: say which: metarun compare RUN_A RUN_B [RUN_C …]")
    return list(seen.values()), lines


def _unfit(out: Path | None) -> list[str]:
    if out is None:
        return []
    if out.suffix != ".csv":
        return [f"out={out}: should end in .csv"]
    if out.exists() or out.is_symlink():
        return [f"out={out}: is there already"]
    return [] if out.parent.is_dir() else [f"out={out}: {out.parent} is not a folder"]


def _write_new(file: Path, text: str) -> None:
    """Write a file that was not there."""
    try:
        with open(file, "x", encoding="utf-8", newline="") as opened:
            try:
                opened.write(text)
                opened.flush()
            except BaseException:
                file.unlink()
                raise
    except OSError as error:
        raise Refused(f"out={file}: cannot be written to ({error.strerror})") from error


def _print(tests: list[Tested], pairs: list[Pair], notes: list[str]) -> None:
    from rich.text import Text

    from metarun.report.untrusted import part, shown
    from metarun.runs.results import grid, setting
    from metarun.stats import interval
    from metarun.training.display import console

    screen, headline = console(), tests[0].headline
    factor, digits = headline.factor, headline.digits

    runs = grid("", "run", right=("algo", headline.score))
    for test in tests:
        algo = part(test.result, "run").get("algo", "–")
        runs.add_row(
            Text(shown(test.folder)), Text(shown(algo)), headline.figure(interval(test.values))
        )
    screen.print(runs)

    corrected = len(pairs) > 1
    found = grid("", "difference", right=("mean", "p (Holm)" if corrected else "p", ""))
    for pair in pairs:
        mean, ci95, _ = pair.found
        verdict = "not told apart"
        if pair.told_apart:
            ahead = (mean > 0) == headline.higher_is_better
            verdict = f"{shown((pair.first if ahead else pair.second).folder)} is better"
        found.add_row(
            Text(f"{shown(pair.first.folder)} − {shown(pair.second.folder)}"),
            f"{factor * mean:+.{digits}f} ± {factor * ci95:.{digits}f}{headline.unit}",
            f"{pair.p_holm:.2g}",
            Text(verdict),
        )
    screen.print(found)

    p = tests[0].protocol
    task = setting(p["ways"], p["shots"]) if _counts(p["ways"], p["shots"]) else "–"
    said = [
        f"{p['episodes']} episodes of {shown(p['data'])} {shown(p['split'])}, {task}, "
        f"{shown(p['batch_norm'])} batch norm, the same for all"
        + ("" if headline.higher_is_better else f"; of {headline.score}, less is better"),
        "paired t-test and 95 % intervals over episodes; training with another seed is not in them",
    ]
    if corrected:
        said.append(f"p is corrected for {len(pairs)} comparisons (Holm); the intervals are not")
    for line in (*said, *(f"note: {line}" for line in notes)):
        screen.print(line, markup=False, soft_wrap=True)


def _counts(*values: object) -> bool:
    return all(isinstance(v, int) for v in values)
