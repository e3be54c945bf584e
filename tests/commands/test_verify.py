"""The command `metarun verify`: it trains a preset, goes on with it, and judges its figure."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import before_each_step, signal_in_step
from tests.presets import NAME, preset

Metarun = Callable[..., tuple[int, str, list[str]]]
FOLDER = Path("runs/verify/nearest_item_blobs_5w1s")


@pytest.fixture
def verify(metarun: Metarun) -> Metarun:
    """Runs `metarun verify` on a tiny preset, with its published figure and re-runs in %."""

    def call(*words: str, **figures: str) -> tuple[int, str, list[str]]:
        return metarun("verify", *preset(Path("conf"), **figures), *words)

    return call


def verdict(folder: Path = FOLDER) -> dict[str, Any]:
    return json.loads((folder / "verify.json").read_text())


def test_a_preset_that_reaches_its_figure_passes(verify: Metarun) -> None:
    code, out, err = verify("threads=1")
    assert (code, err) == (0, [])
    result = json.loads((FOLDER / "result.json").read_text())
    written = verdict()
    assert (written["verdict"], written["experiment"]) == ("passed", NAME)
    assert written["published"] == {"mean": 0.3, "source": "Nobody 2017, table 1"}
    assert written["reached"] == result["test"]["accuracy"]
    assert written["band"] == result["test"]["accuracy"]["ci95_classes"]
    assert out.splitlines()[-1].startswith("passed: as good or better, by ")
    before = (FOLDER / "result.json").read_bytes()
    assert verify("threads=1")[0] == 0  # it is finished; nothing is trained
    assert (FOLDER / "result.json").read_bytes() == before


def test_a_preset_that_does_not_fails(verify: Metarun) -> None:
    code, out, _ = verify("threads=1", "out=mine", "ways=5", "shots=1", published="[130.0, 0.1]")
    assert (code, verdict(Path("mine"))["verdict"]) == (1, "failed")
    assert out.splitlines()[-1].startswith("failed: below by ")


def test_the_lowest_rerun_counts(verify: Metarun) -> None:
    reruns = "{somebody: {5way_1shot: [20.0]}, others: {5way_1shot: [40.0], 5way_5shot: [1.0]}}"
    code, out, _ = verify("threads=1", published="[130.0]", reruns=reruns)
    assert (code, verdict()["to_reach"]) == (0, {"mean": 0.2, "source": "somebody"})
    assert "the lowest of 2 independent re-runs counts in its place: 20 % (somebody)" in out


def test_a_budget_ends_a_run_that_the_same_command_goes_on_with(
    verify: Metarun, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert verify("threads=1", "out=whole")[0] == 0
    now = time.monotonic
    with monkeypatch.context() as patch:
        late = [0.0]
        patch.setattr(time, "monotonic", lambda: now() + late[0])
        before_each_step(patch, lambda step: late.append(late.pop() + 3600 * (step == 3)))
        code, out, err = verify("threads=1", "budget=30m")
    assert (code, err) == (1, [])
    assert "unfinished after step 3 of 4" in out.splitlines()[-1]
    written = verdict()
    assert (written["verdict"], written["steps_done"]) == ("unfinished", 3)
    assert verify("threads=1", "budget=30m")[0] == 0
    assert verdict()["reached"] == verdict(Path("whole"))["reached"]


def test_a_run_that_a_signal_stops_is_unfinished(
    verify: Metarun, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        signal_in_step(patch, 2)
        code, _, err = verify("threads=1")
    assert (code, len(err)) == (130, 1)
    assert "step 2 of 4 is saved" in err[0]
    written = verdict()
    assert (written["verdict"], written["steps_done"]) == ("unfinished", 2)


def test_the_verdict_is_fixed_when_the_run_starts(verify: Metarun) -> None:
    assert verify("threads=1")[0] == 0
    assert verify("threads=1", published="[130.0]")[0] == 0


def test_other_seeds_have_other_folders(verify: Metarun) -> None:
    assert verify("threads=1", "seed=3")[0] == 0
    assert verdict(Path(f"{FOLDER}_seed3"))["seed"] == 3
    code, _, err = verify("threads=1", f"out={FOLDER}_seed3")
    expected = "holds another run: seed=0: the run was trained with 3"
    assert (code, err) == (2, [f"metarun: out={FOLDER}_seed3: {expected}"])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["steps=10"], "steps=10: changes the published setting; leave it out"),
        (["quick=true"], "quick=true: is not the published setting; leave it out"),
        (["shots=2"], f"ways=5 shots=2: {NAME} has no published figure for them"),
        (["algo=protonet"], "verify: needs a preset: metarun verify experiment="),
        (["budget=soon"], "budget=soon: should be a time such as 30m, 2h or 1h30m"),
        (["budget=0m"], "budget=0m: should be a time such as 30m, 2h or 1h30m"),
        (["stepps=10"], "stepps: no such key"),
    ],
)
def test_another_setting_is_refused(verify: Metarun, words: list[str], line: str) -> None:
    code, _, err = verify(*words)
    assert code == 2
    assert err[0].startswith(f"metarun: {line}")
    assert not Path("runs").exists()


def test_the_second_training_of_the_authors_is_verified(verify: Metarun) -> None:
    words = ("data.train_on=trainval", f"steps_from={FOLDER}", "threads=1")
    assert verify("threads=1", train_on="trainval")[0] == 0
    assert verdict()["differences"] == ["train_on=train (published: trainval)"]
    for _ in range(2):
        assert verify(*words, train_on="trainval")[0] == 0
    again = verdict(Path(f"{FOLDER}_trainval"))
    best_step = json.loads((FOLDER / "result.json").read_text())["val"]["best_step"]
    assert (again["steps"], again["differences"]) == (best_step, [])
    code, _, err = verify(*words, "out=run")
    line = "data.train_on=trainval: changes the published setting; leave it out"
    assert (code, err) == (2, [f"metarun: {line}"])


def test_a_word_that_says_what_is_published_is_accepted(verify: Metarun) -> None:
    assert verify("threads=1", "queries=3", "out=run")[0] == 0
