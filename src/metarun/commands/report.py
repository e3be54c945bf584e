"""`metarun report DIR… [out=FILE.html]`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from metarun.config.command_line import Request
from metarun.errors import Refused

if TYPE_CHECKING:
    from metarun.report.ranking import Ranking


def run(request: Request) -> int:
    """Every run and evaluation below the folders: a table, `report.csv` and `report.html`."""
    request.accept()
    out = request.folder("out")
    folders = [Path(word).expanduser() for word in request.words]
    if not folders:
        raise Refused("report: say where the runs lie: metarun report DIR [DIR …]")
    for folder in folders:
        if "=" in str(folder) and not folder.exists():
            raise Refused(f"{folder}: no such folder; report takes folders, and out=FILE.html")
    if out is not None and out.suffix != ".html":
        raise Refused(f"out={out}: should end in .html; the table goes beside it as .csv")

    from metarun.report import ranking, runs, tables

    page = out or folders[0] / "report.html"
    table = page.with_suffix(".csv")
    found = ranking.rank(runs.find(folders))
    _refuse_others(page, table)
    _write_report(page, table, found, folders)

    from metarun.training.display import console

    screen = console()
    screen.print(tables.as_table(found))
    if (over := tables.seeds_table(found)) is not None:
        screen.print(over)
    for file in (table, page):
        screen.print(str(file), soft_wrap=True, markup=False)
    return 0


def _refuse_others(page: Path, table: Path) -> None:
    """Refuse what could not be written, and to write over what no report has left there."""
    if not page.parent.is_dir():
        raise Refused(f"out={page}: no such folder: {page.parent}")
    mistakes = []
    for file in (page, table):
        if file.is_symlink():
            mistakes.append(f"{file}: is a link; a report replaces only its own files")
        elif file.exists() and not _is_ours(file):
            mistakes.append(
                f"{file}: is not from metarun report; move it, or write elsewhere: out=FILE.html"
            )
    if not mistakes and not os.access(page.parent, os.W_OK):
        mistakes.append(f"{page.parent}: cannot be written to; write elsewhere: out=FILE.html")
    if mistakes:
        raise Refused(*mistakes)


def _is_ours(file: Path) -> bool:
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


def _write_report(page: Path, table: Path, found: Ranking, folders: Sequence[Path]) -> None:
    from metarun.files import write_whole
    from metarun.report.page import render
    from metarun.report.tables import as_csv

    text = render(found, folders, page.parent)
    try:
        write_whole(table, as_csv(found))
        write_whole(page, text)
    except OSError as error:
        raise Refused(
            f"{error.filename}: cannot be written ({error.strerror}); elsewhere: out=FILE.html"
        ) from error
