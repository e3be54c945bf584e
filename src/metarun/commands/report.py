"""`metarun report DIR… [out=FILE.html]`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from metarun.config.command_line import Request, expand
from metarun.errors import Refused

if TYPE_CHECKING:
    from metarun.report.ranking import Ranking


def run(request: Request) -> int:
    """Print a table of all runs in the folders, and write `report.csv` and `report.html`."""
    request.accept()
    out = request.folder("out")
    folders = [expand(word, word) for word in request.words]
    if not folders:
        raise Refused("report: name the folders of the runs: metarun report DIR [DIR …]")
    for folder in folders:
        if "=" in str(folder) and not folder.exists():
            raise Refused(f"{folder}: no such folder; report takes folders, and out=FILE.html")
    if out is not None and out.suffix != ".html":
        raise Refused(f"out={out}: should end in .html; the table goes beside it as .csv")

    from metarun.report import ranking, runs, tables

    page = out or folders[0] / "report.html"
    table = page.with_suffix(".csv")
    ranked = ranking.rank(runs.find(folders))
    _check_files(page, table)
    _write_report(page, table, ranked, folders)

    from metarun.training.display import console

    screen = console()
    tables.show(screen, ranked)
    for file in (table, page):
        screen.print(str(file), soft_wrap=True, markup=False)
    return 0


def _check_files(page: Path, table: Path) -> None:
    """Check that the files can be written, and that only files of an earlier report are replaced.

    Raises:
        Refused: with a line for each file.
    """
    if not page.parent.is_dir():
        raise Refused(f"out={page}: no such folder: {page.parent}")
    mistakes = []
    for file in (page, table):
        if file.is_symlink():
            mistakes.append(f"{file}: is a link; a report replaces only its own files")
        elif file.exists() and not _is_report(file):
            mistakes.append(
                f"{file}: is not from metarun report; move it, or write elsewhere: out=FILE.html"
            )
    if not mistakes and not os.access(page.parent, os.W_OK):
        mistakes.append(f"{page.parent}: cannot be written to; write elsewhere: out=FILE.html")
    if mistakes:
        raise Refused(*mistakes)


def _is_report(file: Path) -> bool:
    """Return whether the content of a file was written by `metarun report`."""
    from metarun.files import read_whole
    from metarun.report.page import MARK

    try:
        text = read_whole(file, 2**30).decode("utf-8", "replace")
    except OSError:
        return False
    if file.suffix == ".html":
        return MARK in text[:2000]
    head = text.partition("\n")[0]
    return head.startswith("run,status,") and ",score,test,test_ci95,val,val_ci95," in head


def _write_report(page: Path, table: Path, ranked: Ranking, folders: Sequence[Path]) -> None:
    """Write the table and the page."""
    from metarun.files import write_whole
    from metarun.report.page import render
    from metarun.report.tables import as_csv

    text = render(ranked, folders, page.parent)
    try:
        write_whole(table, as_csv(ranked))
        write_whole(page, text)
    except OSError as error:
        raise Refused(
            f"{error.filename}: cannot be written ({error.strerror}); elsewhere: out=FILE.html"
        ) from error
