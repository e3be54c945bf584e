"""The verdict of `metarun verify`: the rule, and its words."""

from __future__ import annotations

import math
from typing import Any

import pytest

from metarun.config.schema import Preset
from metarun.report.verdict import judge, lines
from metarun.tasks.headline import ACCURACY, MSE, Headline

PRESET = Preset(
    experiment="protonet/omniglot",
    cell="5way_1shot",
    published={"mean": 98.8},
    score="accuracy",
    source="Snell et al. 2017, table 1",
    protocol={},
    notes=[],
    changes=[],
)


def result(headline: Headline = ACCURACY, status: str = "completed", **stat: Any) -> dict[str, Any]:
    sums = dict.fromkeys(("split_sha256", "episodes_sha256", "train_split_sha256"), "0")
    return {
        "status": status,
        "test": {headline.score: stat, "episodes": 1000},
        "protocol": {
            **sums,
            "headline": headline.as_dict(),
            "batch_norm": "inductive",
            "published": {"differences": ["paper: pictures have 1 bit"]},
        },
        "run": {
            **{"seed": 0, "steps": 20_000, "steps_done": 1200, "wall_seconds": 3725.0},
            "versions": {"metarun": "1.0"},
        },
    }


@pytest.mark.parametrize(
    ("mean", "ci95_classes", "published", "reruns", "verdict", "words"),
    [
        (0.990, 0.003, [98.8], [], "passed", "passed: as good or better, by 0.20 points"),
        (0.986, 0.003, [98.8], [], "passed", "passed: within the band of 0.30 points"),
        (
            0.984,
            0.003,
            [98.8],
            [],
            "failed",
            "failed: below by 0.40 points; the band is 0.30 points",
        ),
        (0.984, 0.003, [98.8, 0.4], [], "passed", "passed: within the band of 0.50 points"),
        (0.984, 0.003, [98.8], [98.2, 98.5], "passed", "passed: as good or better, by 0.20 points"),
        (0.984, 0.003, [98.8], [99.1], "failed", "failed: below by 0.70 points"),
    ],
)
def test_a_run_passes_within_the_two_intervals(
    mean: float,
    ci95_classes: float,
    published: list[float],
    reruns: list[float],
    verdict: str,
    words: str,
) -> None:
    preset = PRESET.model_copy(
        update={
            "published": dict(zip(("mean", "ci95"), published, strict=False)),
            "reruns": [{"mean": mean, "source": f"run {mean}"} for mean in reruns],
        }
    )
    judged = judge(preset, result(mean=mean, ci95=0.002, ci95_classes=ci95_classes))
    assert judged["verdict"] == verdict
    figure = min(reruns or published[:1]) / 100
    p = published[1] / 100 if len(published) > 1 else 0
    assert judged["to_reach"]["mean"] == pytest.approx(figure)
    assert judged["band"] == pytest.approx(math.hypot(p, ci95_classes))
    assert (mean + judged["band"] >= figure) is (verdict == "passed")
    assert words in lines(judged)[-1]


def test_the_words_name_the_figures_and_their_sources() -> None:
    reruns = [{"mean": 98.5, "source": "a"}, {"mean": 98.2, "ci95": 0.1, "source": "b"}]
    preset = PRESET.model_copy(update={"reruns": reruns})
    judged = judge(preset, result(mean=0.984, ci95=0.002, ci95_classes=0.003))
    assert lines(judged)[:-1] == [
        "published: 98.8 % (Snell et al. 2017, table 1)",
        "the lowest of 2 independent re-runs counts in its place: 98.2 ± 0.1 % (b)",
        "reached: 98.40 ± 0.30 %, interval over classes",
    ]


def test_an_error_is_below_the_published_one_and_has_an_interval_over_episodes() -> None:
    preset = PRESET.model_copy(update={"published": {"mean": 0.3}, "score": "mse"})
    good, bad = (judge(preset, result(MSE, mean=m, ci95=0.02)) for m in (0.31, 0.33))
    assert (good["verdict"], bad["verdict"]) == ("passed", "failed")
    assert lines(bad)[1:] == [
        "reached: 0.3300 ± 0.0200, interval over episodes",
        "failed: above by 0.0300; the band is 0.0200",
    ]


def test_a_run_that_has_not_ended_never_passes() -> None:
    unfinished = judge(PRESET, result(status="interrupted", mean=1.0, ci95=0.0))
    assert (unfinished["verdict"], unfinished["reached"]) == ("unfinished", None)
    assert lines(unfinished)[-1] == (
        "unfinished after step 1200 of 20000 in 1:02:05; the same command goes on"
    )
