"""The verdict of `metarun verify`: whether a run reaches the published figure of its preset."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from metarun.config.schema import Preset
from metarun.runs.results import clock
from metarun.tasks.headline import Headline

KEPT = ("batch_norm", "split_sha256", "episodes_sha256", "train_split_sha256")


def judge(preset: Preset, result: Mapping[str, Any]) -> dict[str, Any]:
    """The content of `verify.json` for a run that has ended.

    The figure to reach is the published one or, if the preset names independent re-runs, the lowest
    of these. With its interval p (0 if none is published) and the interval c of the run over
    classes (over episodes for data without classes), the run passes if
    reached + √(p² + c²) ≥ figure. If lower is better, the signs are reversed.

    Args:
        preset: of the configuration that the run was started with.
        result: content of `result.json`.
    """
    headline, run = Headline.of(result), result["run"]
    published = {**_scaled(preset.published, headline), "source": preset.source}
    reruns = [_scaled(figure, headline) for figure in preset.reruns]
    target = min(reruns or [published], key=lambda figure: headline.worth(figure["mean"]))
    verdict: dict[str, Any] = {
        "verdict": "unfinished",
        "experiment": preset.experiment,
        "cell": preset.cell,
        "seed": run["seed"],
        "headline": headline.as_dict(),
        "published": published,
        "reruns": reruns,
        "to_reach": target,
        "reached": None,
        "steps": run["steps"],
        "steps_done": run["steps_done"],
        "seconds": run["wall_seconds"],
        "version": run["versions"]["metarun"],
        "protocol": {key: result["protocol"][key] for key in KEPT},
        "differences": result["protocol"]["published"]["differences"],
    }
    if result["status"] == "completed":
        reached = result["test"][headline.score]
        interval = reached.get("ci95_classes", reached["ci95"])
        band = math.hypot(target.get("ci95", 0.0), interval)
        ahead = headline.worth(reached["mean"]) - headline.worth(target["mean"])
        passed = ahead + band >= 0
        verdict |= {"reached": reached, "band": band, "ahead": ahead}
        verdict["verdict"] = "passed" if passed else "failed"
    return verdict


def lines(verdict: Mapping[str, Any]) -> list[str]:
    """The verdict in words."""
    headline = Headline(**verdict["headline"])
    published, target, reached = (verdict[key] for key in ("published", "to_reach", "reached"))
    said = [f"published: {headline.published(published)} ({published['source']})"]
    if verdict["reruns"]:
        said.append(
            f"the lowest of {len(verdict['reruns'])} independent re-runs counts in its place: "
            f"{headline.published(target)} ({target['source']})"
        )
    if reached is None:
        done, steps = verdict["steps_done"], verdict["steps"]
        return [
            *said,
            f"unfinished after step {done} of {steps} in {clock(verdict['seconds'])}; "
            "the same command goes on",
        ]
    over = "classes" if "ci95_classes" in reached else "episodes"
    stat = {**reached, "ci95": reached.get("ci95_classes", reached["ci95"])}
    said.append(f"reached: {headline.figure(stat)}, interval over {over}")
    distance = _amount(headline, abs(verdict["ahead"]))
    if verdict["verdict"] == "failed":
        side = "below" if headline.higher_is_better else "above"
        said.append(
            f"failed: {side} by {distance}; the band is {_amount(headline, verdict['band'])}"
        )
    elif verdict["ahead"] >= 0:
        said.append(f"passed: as good or better, by {distance}")
    else:
        said.append(f"passed: within the band of {_amount(headline, verdict['band'])}")
    return said


def _amount(headline: Headline, value: float) -> str:
    return f"{headline.factor * value:.{headline.digits}f}{headline.unit}"


def _scaled(figure: Mapping[str, Any], headline: Headline) -> dict[str, Any]:
    """A figure of a preset, with fractions in place of percentages."""
    return {k: v if k == "source" else v / headline.factor for k, v in figure.items()}
