"""`metarun compare RUN_A RUN_B [RUN_C …] [out=FILE.csv]`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from metarun.config.command_line import Request, expand, new_file_mistakes
from metarun.errors import Mistakes, refusing_os_errors

if TYPE_CHECKING:
    from metarun.report.comparison import Pair
    from metarun.report.tested import Tested
    from metarun.stats import Difference
    from metarun.tasks.headline import Headline


def run(request: Request) -> int:
    """Print the paired differences between tested runs on the same frozen episodes."""
    request.accept()
    out = request.folder("out")
    folders, lines = _distinct(expand(word, word) for word in request.words)
    mistakes = Mistakes(lines + new_file_mistakes(out, ".csv"))

    from metarun.report.comparison import as_csv, compare
    from metarun.report.tested import read_test

    tests = [mistakes.catch(read_test, folder) for folder in folders]
    mistakes.settle()
    pairs, notes = compare(tests)
    if out is not None:
        _write_new(out, as_csv(pairs))
    _print(tests, pairs, notes)
    return 0


def _distinct(folders: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """Return the different folders, and a line for each one that is repeated or missing."""
    seen: dict[Path, Path] = {}
    lines = []
    for folder in folders:
        resolved = folder.resolve()
        if "=" in str(folder) and not folder.exists():
            lines.append(f"{folder}: no such folder; compare takes folders, and out=FILE.csv")
        elif resolved in seen:
            lines.append(f"{folder}: the same folder as {seen[resolved]}: nothing to compare")
        else:
            seen[resolved] = folder
    if len(seen) < 2 and not lines:
        lines.append("compare: name at least two runs: metarun compare RUN_A RUN_B [RUN_C …]")
    return list(seen.values()), lines


def _write_new(file: Path, text: str) -> None:
    """Create a file; it must not exist."""
    with (
        refusing_os_errors(f"out={file}", "cannot be written to"),
        open(file, "x", encoding="utf-8", newline="") as stream,
    ):
        try:
            stream.write(text)
            stream.flush()
        except BaseException:
            file.unlink()
            raise


def _print(tests: list[Tested], pairs: list[Pair], notes: list[str]) -> None:
    """Print the scores of the runs, the differences, and notes on the method."""
    from metarun.report.margins import margins
    from metarun.report.untrusted import part, shown, size
    from metarun.runs.grid import Column, fitted
    from metarun.runs.results import data_name, setting
    from metarun.stats import interval
    from metarun.training.display import console

    screen, headline = console(), tests[0].headline
    algos = [str(part(test.result, "run").get("algo", "–")) for test in tests]
    columns = [
        Column("run", [shown(test.folder) for test in tests]),
        Column("algo", [shown(algo) for algo in algos], 1),
        Column(
            headline.score,
            [headline.figure(interval(t.values)) for t in tests],
            right=True,
            whole=True,
        ),
    ]
    screen.print(fitted("", columns, screen.width)[0])

    is_corrected = len(pairs) > 1
    columns = [
        Column(
            "difference", [f"{shown(p.first.folder)} − {shown(p.second.folder)}" for p in pairs]
        ),
        Column("mean", [_mean(p, headline) for p in pairs], right=True, whole=True),
        Column(
            "p (Holm)" if is_corrected else "p",
            [f"{p.p_holm:.2g}" for p in pairs],
            right=True,
            whole=True,
        ),
        Column("", [_verdict(p, headline) for p in pairs]),
    ]
    screen.print(fitted("", columns, screen.width)[0])

    if after := margins(pairs):
        names = [f"{shown(p.first.folder)} − {shown(p.second.folder)}" for p in pairs]
        cells = [
            [_difference(d, headline) for d in column]
            for column in zip(*after.values(), strict=True)
        ]
        steps = Column("after step", [str(step) for step in after], right=True)
        columns = [
            Column(name, column, rank, right=True, whole=True)
            for rank, (name, column) in enumerate(zip(names, cells, strict=True))
        ]
        screen.print(fitted("", [steps, *columns], screen.width)[0])

    p = tests[0].protocol
    task = setting(size(p["ways"]), size(p["shots"]))
    method = [
        f"{p['episodes']} episodes of {shown(data_name(p))} {shown(p['split'])}, {task}, "
        f"{shown(p['batch_norm'])} batch norm, the same for all"
        + ("" if headline.higher_is_better else f"; a lower {headline.score} is better"),
        "paired t-test and 95 % intervals over episodes; they do not cover other training seeds",
    ]
    if is_corrected:
        method.append(f"p is corrected for {len(pairs)} comparisons (Holm); the intervals are not")
    for line in (*method, *(f"note: {line}" for line in notes)):
        screen.print(line, markup=False, soft_wrap=True)


def _mean(pair: Pair, headline: Headline) -> str:
    """The mean difference with its interval."""
    return _difference(pair.difference, headline)


def _difference(difference: Difference, headline: Headline) -> str:
    mean, ci95, _ = difference
    factor, digits = headline.factor, headline.digits
    return f"{factor * mean:+.{digits}f} ± {factor * ci95:.{digits}f}{headline.unit}"


def _verdict(pair: Pair, headline: Headline) -> str:
    """Which run is better, if the difference is significant."""
    from metarun.report.untrusted import shown

    if not pair.significant:
        return "not significant"
    first_is_better = (pair.difference.mean > 0) == headline.higher_is_better
    better = pair.first if first_is_better else pair.second
    return f"{shown(better.folder)} is better"
