"""Stores the figures of runs in docs/figures, and writes docs/figures.md from the stored files.

    .venv/bin/python scripts/figures.py RUN_DIR …   store these runs, then write the page
    .venv/bin/python scripts/figures.py             write the page

A run is stored under the name of its folder: the verdict of `metarun verify`, if there is one, the
command, the protocol, the validations and the score of each test episode. RUN_DIR may also be an
evaluation of a run or a job of a sweep: `runs/maml/evaluations/five_shots`, `runs/sweep/0`.
"""

from __future__ import annotations

import base64
import csv
import json
import shlex
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metarun.report.configuration import words
from metarun.report.figures import (
    Published,
    hours_of,
    published_figures,
    stored_runs,
    trained_on,
    variant_of,
)
from metarun.runs.results import as_json, data_name, setting
from metarun.stats import interval
from metarun.tasks.headline import Headline

ROOT = Path(__file__).resolve().parents[1]
FOLDER, PAGE = ROOT / "docs" / "figures", ROOT / "docs" / "figures.md"
BEGIN = "<!-- From here to the end mark, scripts/figures.py writes this page. -->\n"
END = "<!-- end mark -->\n"
RUN_KEYS = ("algo", "backbone", "parameters", "seed", "steps", "steps_done", "wall_seconds")
RUN_KEYS += ("device", "threads", "workers", "versions")
RESULT_KEYS = ("status", "test", "test_by_batch_norm", "val", "protocol")
LARGEST = 32_000  # characters of the compressed scores
POINTS = 6  # validations that the page shows of an unfinished run


def content_of(run: Path) -> dict[str, Any]:
    """What is stored of the run in this folder."""
    result = json.loads((run / "result.json").read_text("utf-8"))
    verdict = run / "verify.json"
    judged = json.loads(verdict.read_text("utf-8")) if verdict.is_file() else None
    if judged is None and result["status"] != "completed":
        sys.exit(f"{run}: is not finished")
    score = Headline.of(result).score
    metrics = run / "metrics.jsonl"
    lines = map(json.loads, metrics.read_text("utf-8").splitlines() if metrics.is_file() else ())
    validations = [[x["step"], x[score], x["ci95"]] for x in lines if x["split"] == "val"]
    without = ("logger", *["budget"] * (result["status"] == "completed"))
    keys = {k: v for k, v in words(result["run"]["command"]).items() if k not in without}
    if "steps" in keys:  # a resumed run has the command of its start
        keys["steps"] = result["run"]["steps"]
    typed = [f"{k}={v}" for k, v in keys.items()]
    arguments = shlex.split(result["run"]["command"])
    if "--config-dir" in arguments:
        folder = arguments[arguments.index("--config-dir") + 1]
        typed = ["--config-dir", Path(folder).name, *typed]
    if is_evaluation(run):
        typed = ["evaluate", f"run={name_of(run.parents[1])}", *typed]
    backbone = result["protocol"]["backbone"]
    if weights := backbone.get("weights"):  # a run or a file, named without its folder
        backbone["weights"] = Path(weights).name
        typed.append(f"backbone.weights={Path(weights).name}")
    return {
        "verify": judged,
        "command": " ".join(["metarun", *["verify"] * bool(judged), *typed]),
        **{key: result[key] for key in RESULT_KEYS if key in result},
        "run": {key: result["run"][key] for key in RUN_KEYS if key in result["run"]},
        "validations": validations,
        "scores": packed(run / "test_episodes.csv", score) if "test" in result else None,
    }


def is_evaluation(run: Path) -> bool:
    """Whether the folder is an evaluation of a run."""
    return run.resolve().parent.name == "evaluations"


def name_of(run: Path) -> str:
    """The name under which the run is stored: that of its folder, behind what it belongs to."""
    run = run.resolve()
    if is_evaluation(run):
        return f"{name_of(run.parents[1])}_{run.name}"
    return f"{run.parent.name}_{run.name}" if (run.parent / "sweep.csv").exists() else run.name


def packed(file: Path, score: str) -> str | None:
    """The score of each test episode as compressed text; `None` if it would be large."""
    with file.open(encoding="utf-8") as rows:
        text = " ".join(row[score] for row in csv.DictReader(rows))
    code = base64.b64encode(zlib.compress(text.encode(), 9)).decode()
    return code if len(code) <= LARGEST else None


def unpacked(code: str) -> np.ndarray:
    """The scores (episodes) that `packed` has compressed."""
    return np.array(zlib.decompress(base64.b64decode(code)).split(), np.float64)


def store(run: Path, folder: Path = FOLDER) -> None:
    """Write the file of a run; only that of an unfinished run is replaced."""
    file = folder / f"{name_of(run)}.json"
    if file.exists():
        before = json.loads(file.read_text("utf-8"))
        if before["status"] == "completed":
            sys.exit(f"{file}: is there already; remove it first, or rename {run}")
    folder.mkdir(exist_ok=True)
    file.write_text(as_json(content_of(run)), "utf-8")


def page(text: str, folder: Path = FOLDER) -> str:
    """The page with its written part made anew from the stored files."""
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        sys.exit(f"{PAGE}: the marks are missing")
    return before + BEGIN + "\n" + "\n".join(sections(folder)) + "\n\n" + END + after


def sections(folder: Path) -> Iterator[str]:
    """The lines of the written part."""
    figures, runs = published_figures(folder), stored_runs(folder)
    names = {run["command"]: name for name, run in runs.items()}
    yield "## Published figures"
    yield ""
    tried = [figure for figure in figures if figure.runs]
    if tried:
        yield "| preset | task | published | reached ± episodes / classes | verdict | hours |"
        yield "|---|---|---|---|---|---|"
        for figure in tried:
            for run in figure.runs:
                yield row_of(figure, run, names[run["command"]])
            yield from over_seeds(figure)
        yield ""
    else:
        yield "No run is stored yet."
        yield ""
    yield "Not run, with the expected hours of one CPU thread where they are known:"
    yield ""
    for experiment in dict.fromkeys(figure.experiment for figure in figures):
        cells = [not_run(f) for f in figures if f.experiment == experiment and not f.runs]
        if cells:
            yield f"- `{experiment}`: {', '.join(cells)}"
    others = {name: run for name, run in runs.items() if not run["verify"]}
    if others:
        yield ""
        yield "## Other runs"
    for data in sorted({data_name(run["protocol"]) for run in others.values()}):
        yield ""
        yield f"### `data={data}`"
        yield ""
        yield "| command | task | test ± episodes / classes | steps |"
        yield "|---|---|---|---|"
        of_data = (item for item in others.items() if data_name(item[1]["protocol"]) == data)
        yield from (other(name, run) for name, run in of_data)


def row_of(figure: Published, run: Mapping[str, Any], name: str) -> str:
    """The row of a run that was to reach a published figure."""
    verdict, headline = run["verify"], figure.headline
    reached, said = "–", verdict["verdict"]
    if verdict["reached"]:
        reached = with_intervals(headline, verdict["reached"])
        ahead = f"{headline.factor * verdict['ahead']:+.{headline.digits}f}"
        band = f"{headline.factor * verdict['band']:.{headline.digits}f}"
        said += f" ({ahead}, band {band})"
    else:
        said += f" at step {verdict['steps_done']} of {verdict['steps']}{curve(headline, run)}"
    return (
        f"| [{figure.experiment}](figures/{name}.json){variant_of(run)} | {figure.task} "
        f"| {goal(figure)} | {reached} | {said} | {hours_of(run)} |"
    )


def goal(figure: Published) -> str:
    """The published figure, and the lowest re-run."""
    text = figure.headline.published(figure.figure)
    if figure.reruns:
        means = figure.reruns.values()
        lowest = min(means, key=lambda stat: figure.headline.worth(stat["mean"]))
        text += f"; re-run {figure.headline.published(lowest)}"
    return text


def curve(headline: Headline, run: Mapping[str, Any]) -> str:
    """Some validations of an unfinished run."""
    every = run["validations"][:: max(1, -(-len(run["validations"]) // POINTS))]
    points = (f"{headline.text(mean)} ({step})" for step, mean, _ in every)
    return f"; validation (step): {', '.join(points)}" if every else ""


def over_seeds(figure: Published) -> Iterator[str]:
    """A row with the mean over seeds, if several runs have ended."""
    ended = [
        run["verify"]
        for run in figure.runs
        if run["verify"]["reached"] and trained_on(run) == "train"
    ]
    if len({verdict["seed"] for verdict in ended}) > 1:
        stat = interval(np.array([verdict["reached"]["mean"] for verdict in ended]))
        said = f"{figure.headline.figure(stat)}, 95 % over {len(ended)} seeds"
        yield f"| {figure.experiment}, over seeds | {figure.task} | {goal(figure)} | {said} | | |"


def not_run(figure: Published) -> str:
    """A cell that was not run, with its published figure and the expected hours."""
    hours = "" if figure.hours is None else f", {figure.hours:g} h"
    return f"{figure.task} ({figure.headline.published(figure.figure)}{hours})"


def other(name: str, run: Mapping[str, Any]) -> str:
    """The row of a run without a published figure to reach."""
    protocol, headline = run["protocol"], Headline.of(run)
    task = setting(protocol["ways"], protocol["shots"])
    if headline.percent and protocol["batch_norm"]:
        task += f", {protocol['batch_norm']}"
    test = with_intervals(headline, run["test"][headline.score])
    return (
        f"| [`{run['command']}`](figures/{name}.json) | {task} | {test} | {run['run']['steps']} |"
    )


def with_intervals(headline: Headline, stat: Mapping[str, float]) -> str:
    """`98.60 ± 0.22 / 0.31 %`: the second interval is over classes."""
    text = headline.figure(stat)
    if "ci95_classes" not in stat:
        return text
    classes = f" / {headline.factor * stat['ci95_classes']:.{headline.digits}f}"
    return text.removesuffix(" %") + classes + " %" * text.endswith(" %")


def main(folders: Sequence[str]) -> None:
    for run in folders:
        store(Path(run))
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
