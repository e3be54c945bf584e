"""The report as one HTML page: it opens from disk, loads nothing and runs only its own script."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from metarun import __version__
from metarun.report import cells, curves, labels, matrix, sections
from metarun.report.album import Album
from metarun.report.curves import Curves
from metarun.report.ranking import Ranking
from metarun.tasks.headline import Headline

HERE = Path(__file__).parent
TRIMMED = {"trim_blocks": True, "lstrip_blocks": True}
TEMPLATES = Environment(
    loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, **TRIMMED
)
MARK = '<meta name="generator" content="metarun'  # by which a later report knows its own page
# Plotly makes an empty <style> and fills it by the CSSOM; a map library that comes with it makes
# one of its own unless there is an element with its id. So neither needs 'unsafe-inline'.
EMPTY = ""
MAPS_STYLE = re.compile(r'getElementById\("([0-9a-f]{64})"\)')


def render(ranking: Ranking, folders: Sequence[Path], place: Path) -> str:
    """The page.

    Args:
        folders: as they were typed.
        place: the folder that the page will lie in, for links to files below it.
    """
    called = labels.run_labels(ranking)
    album = Album()
    runs = [sections.section(e, place, album) for e in ranking.entries]
    compared, unread = matrix.tables(ranking)
    drawn = [curves.read_curves(entry.folder, entry.headline) for entry in ranking.entries]
    plotted = _plotted(ranking, called, drawn)
    columns, rows = cells.table(ranking, called, [curves.reached(found) for found in drawn])
    plotly = _plotly()
    scripts = [plotly, (HERE / "page.js").read_text("utf-8")]
    style = (HERE / "page.css").read_text("utf-8")
    return TEMPLATES.get_template("page.html.j2").render(
        policy=policy(scripts, [style, EMPTY]),
        taken=sorted(set(MAPS_STYLE.findall(plotly))),
        scripts=scripts,
        style=style,
        version=__version__,
        made=time.strftime("%Y-%m-%d %H:%M"),
        folders=[labels.one_line(str(f if f.name else f.resolve())) for f in folders],
        glance=cells.glance(ranking, called),
        columns=columns,
        filters=cells.filters(ranking),
        rows=rows,
        runs=runs,
        data=as_data(plotted),
        headlines=plotted["headlines"],
        matrices=compared,
        unread=unread,
        omitted=album.omitted,
    )


def policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """A Content-Security-Policy under which these scripts run, and nothing else does or loads."""

    def hashes(texts: Sequence[str]) -> str:
        digests = (hashlib.sha256(text.encode()).digest() for text in texts)
        return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)

    rules = ["default-src 'none'", "img-src data:", "base-uri 'none'", "form-action 'none'"]
    rules += [f"script-src {hashes(scripts)}", f"style-src {hashes(styles)}"]
    return "; ".join(rules)


def as_data(content: Any) -> str:
    """JSON that means the same inside <script>, where < and & would begin something else."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))  # ASCII
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _plotted(ranking: Ranking, called: Sequence[str], drawn: Sequence[Curves]) -> dict[str, Any]:
    """What the script draws from: a record for each run, in the order of the rows."""
    number = {id(entry): i for i, entry in enumerate(ranking.entries)}
    keys = labels.colour_keys(ranking)
    judged = [
        entry.headline or Headline.among({name for curve in found.values() for name in curve})
        for entry, found in zip(ranking.entries, drawn, strict=True)
    ]
    kinds = list(dict.fromkeys([*ranking.headlines, *filter(None, judged)]))[: cells.MAX_HEADLINES]
    runs = [
        {
            "label": label,
            "headline": kinds.index(kind) if kind in kinds else None,
            **{"test": entry.test, "val": entry.val},
            "groups": [value(entry) for _, value in keys],
            "curves": found,
        }
        for label, entry, kind, found in zip(called, ranking.entries, judged, drawn, strict=True)
    ]
    seeds = [
        {"label": label, "test": group.test, "runs": [number[id(e)] for e in group.entries]}
        for group, label in zip(ranking.groups, labels.group_labels(ranking), strict=True)
    ]
    curved = list(zip(judged, drawn, strict=True))
    headlines = [_headline(kind, [own for of, own in curved if of == kind]) for kind in kinds]
    titles = [title for title, _ in keys]
    return {"keys": titles, "headlines": headlines, "runs": runs, "seeds": seeds}


def _headline(kind: Headline, drawn: Sequence[Curves]) -> dict[str, Any]:
    """What the script writes figures by, and whether the loss is another score in some run."""
    found = (curve for curves in drawn for curve in curves.values() if "loss" in curve)
    return {
        **{"score": kind.score, "higher": kind.higher_is_better, "percent": kind.percent},
        **{"digits": kind.digits, "title": kind.name},
        "loss": any(curve["loss"] != curve.get(kind.score) for curve in found),
    }


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    text = get_plotlyjs()
    if "</script" in text.lower() or "<!--" in text:  # it could not stand in a page
        raise ValueError("plotly's script cannot be put into a page")
    return text.replace("\r\n", "\n").replace("\r", "\n")  # as a browser reads it, for its hash
