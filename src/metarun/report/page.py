"""The report as one self-contained HTML page: no requests, and no scripts but its own."""

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
TEMPLATES = Environment(
    loader=FileSystemLoader(HERE),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
MARK = '<meta name="generator" content="metarun'  # marks pages that a later report may overwrite
# Plotly creates an empty <style> and fills it through the CSSOM, so its hash is that of an empty
# text. A map library bundled with it creates another <style> unless an element has its id; the
# page has such an element. So the policy does without 'unsafe-inline'.
EMPTY_STYLE = ""
MAP_STYLE_ID = re.compile(r'getElementById\("([0-9a-f]{64})"\)')


def render(ranking: Ranking, folders: Sequence[Path], place: Path) -> str:
    """Render the page.

    Args:
        folders: as typed.
        place: the folder of the page, for links to files below it.

    Returns:
        The HTML text.
    """
    run_labels = labels.run_labels(ranking)
    album = Album()
    runs = [sections.section(e, place, album) for e in ranking.entries]
    matrices, problems = matrix.tables(ranking)
    run_curves = [curves.read_curves(entry.folder, entry.headline) for entry in ranking.entries]
    plot_data = _plot_data(ranking, run_labels, run_curves)
    columns, rows = cells.table(ranking, run_labels, [curves.reached(c) for c in run_curves])
    plotly = _plotly()
    scripts = [plotly, (HERE / "page.js").read_text("utf-8")]
    style = (HERE / "page.css").read_text("utf-8")
    return TEMPLATES.get_template("page.html.j2").render(
        policy=policy(scripts, [style, EMPTY_STYLE]),
        reserved_ids=sorted(set(MAP_STYLE_ID.findall(plotly))),
        scripts=scripts,
        style=style,
        version=__version__,
        created=time.strftime("%Y-%m-%d %H:%M"),
        folders=[labels.one_line(str(f if f.name else f.resolve())) for f in folders],
        glance=cells.glance(ranking, run_labels),
        columns=columns,
        filters=cells.filters(ranking),
        rows=rows,
        runs=runs,
        data=as_data(plot_data),
        headlines=plot_data["headlines"],
        matrices=matrices,
        problems=problems,
        omitted=album.omitted,
    )


def policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """A Content-Security-Policy that allows these scripts, these styles and data images only."""

    def hashes(texts: Sequence[str]) -> str:
        digests = (hashlib.sha256(text.encode()).digest() for text in texts)
        return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)

    rules = ["default-src 'none'", "img-src data:", "base-uri 'none'", "form-action 'none'"]
    rules += [f"script-src {hashes(scripts)}", f"style-src {hashes(styles)}"]
    return "; ".join(rules)


def as_data(content: Any) -> str:
    """ASCII JSON that is safe inside <script>: `<`, `>` and `&` are escaped."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _plot_data(
    ranking: Ranking, run_labels: Sequence[str], run_curves: Sequence[Curves]
) -> dict[str, Any]:
    """The data that page.js plots: headlines, seed groups, and a record for each run, by row."""
    number = {id(entry): i for i, entry in enumerate(ranking.entries)}
    keys = labels.colour_keys(ranking)
    run_headlines = [
        entry.headline or Headline.among({name for curve in by_split.values() for name in curve})
        for entry, by_split in zip(ranking.entries, run_curves, strict=True)
    ]
    unique = dict.fromkeys([*ranking.headlines, *filter(None, run_headlines)])
    headlines = list(unique)[: cells.MAX_HEADLINES]
    places = {
        id(run): place for place, (_, run_list) in enumerate(ranking.lines) for run in run_list
    }
    rows = zip(run_labels, ranking.entries, run_headlines, run_curves, strict=True)
    runs = [
        {
            "label": label,
            "headline": headlines.index(headline) if headline in headlines else None,
            "test": entry.test,
            "val": entry.val,
            "place": places.get(id(entry)),
            "groups": [value(entry) for _, value in keys],
            "curves": by_split,
        }
        for label, entry, headline, by_split in rows
    ]
    seeds = [
        {"label": label, "test": group.test, "runs": [number[id(e)] for e in group.entries]}
        for group, label in zip(ranking.groups, labels.group_labels(ranking), strict=True)
    ]
    pairs = list(zip(run_headlines, run_curves, strict=True))
    records = [_headline(h, [by_split for of, by_split in pairs if of == h]) for h in headlines]
    titles = [title for title, _ in keys]
    return {"keys": titles, "headlines": records, "runs": runs, "seeds": seeds}


def _headline(headline: Headline, run_curves: Sequence[Curves]) -> dict[str, Any]:
    """The format of a score, and whether any run has a loss that differs from the score."""
    loss_curves = (c for by_split in run_curves for c in by_split.values() if "loss" in c)
    return {
        "score": headline.score,
        "higher": headline.higher_is_better,
        "percent": headline.percent,
        "digits": headline.digits,
        "title": headline.name,
        "loss": any(curve["loss"] != curve.get(headline.score) for curve in loss_curves),
    }


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    text = get_plotlyjs()
    if "</script" in text.lower() or "<!--" in text:  # would end the <script> element
        raise ValueError("plotly's script cannot be embedded in a page")
    return text.replace("\r\n", "\n").replace("\r", "\n")  # browsers hash normalised newlines
