"""`data.train_on=trainval`: training on two splits, with the number of steps of an earlier run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from metarun.config.compose import checked, compose
from metarun.training.parts import assemble
from metarun.training.steps import with_steps
from tests.conftest import TINY, signal_in_step

Metarun = Callable[..., tuple[int, str, list[str]]]
BOTH = (*TINY, "data.train_on=trainval")


def result(run: str) -> dict:
    return json.loads(Path(run, "result.json").read_text())


def weights(run: str) -> dict[str, torch.Tensor]:
    return torch.load(Path(run, "checkpoints", "best.pt"), weights_only=True)["learner"]


def splits_of(*words: str) -> dict:
    config = checked(compose(list((*TINY, *words)[2:]), TINY[1]))
    return assemble(config, [Path(TINY[1])]).splits


def test_the_classes_of_both_splits_are_trained_and_those_of_the_test_stay_apart() -> None:
    apart, both = splits_of(), splits_of("data.train_on=trainval")
    assert both.keys() == {"train", "test"}
    assert both["train"].names == apart["train"].names + apart["val"].names
    assert both["test"].sha256 == apart["test"].sha256
    assert not set(both["train"].names) & set(both["test"].names)
    items = [
        split.items[first : first + count].tobytes()
        for split in (both["train"], apart["train"], apart["val"])
        for first, count in zip(split.first, split.counts, strict=True)
    ]
    assert items[: len(both["train"].names)] == items[len(both["train"].names) :]


def test_the_last_checkpoint_is_tested_and_the_protocol_says_so(metarun: Metarun) -> None:
    code, out, err = metarun(*BOTH, "out=run", "steps=5")
    assert (code, err) == (0, [])
    assert "validation 0" not in out
    written = result("run")
    assert written["val"] == {"best_step": 5}
    expected = {"train_on": "trainval", "steps_from": None, "selection": "last step"}
    assert expected.items() <= written["protocol"].items()
    last = torch.load(Path("run/checkpoints/last.pt"), weights_only=True)["learner"]
    assert all(torch.equal(tensor, last[name]) for name, tensor in weights("run").items())
    lines = Path("run/metrics.jsonl").read_text().splitlines()
    assert {json.loads(line)["split"] for line in lines} == {"train"}


def test_the_steps_are_those_that_an_earlier_run_has_chosen(metarun: Metarun) -> None:
    assert metarun(*TINY, "out=first", "steps=8", "optimizer.lr=0.1")[0] == 0
    words = (*BOTH, "out=run", "optimizer.lr=0.1", "steps_from=first")
    assert metarun(*words, "seed=1")[0] == 0
    assert result("run")["run"]["steps"] == result("first")["val"]["best_step"]
    assert result("run")["protocol"]["steps_from"] == "first"
    _, out, _ = metarun("compare", "first", "run")
    assert "note: train_on: train in first, trainval in run" in out
    assert "note: selection: best validation accuracy in first, last step in run" in out
    assert metarun("report", ".")[0] == 0


def test_it_resumes_with_the_same_result(metarun: Metarun, monkeypatch: pytest.MonkeyPatch) -> None:
    assert metarun(*BOTH, "out=whole", "steps=5")[0] == 0
    with monkeypatch.context() as patch:
        signal_in_step(patch, 3)
        assert metarun(*BOTH, "out=run", "steps=5")[0] == 130
    assert metarun("resume=run", *TINY[:2])[0] == 0
    assert result("run")["test"] == result("whole")["test"]
    assert all(torch.equal(t, weights("run")[name]) for name, t in weights("whole").items())


def test_its_validation_classes_are_not_for_tests(metarun: Metarun) -> None:
    assert metarun(*BOTH, "out=run")[0] == 0
    for word in ("split=val", "data.train_on=train"):
        code, _, err = metarun("evaluate", "run=run", "split=val", word, *TINY[:2])
        line = "split=val: run was trained on its classes (data.train_on=trainval)"
        assert (code, err) == (2, [f"metarun: {line}"])
    code, _, err = metarun("evaluate", "run=run", "episodes=4", *TINY[:2])
    assert (code, err) == (0, [])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["data.train_on=val"], "data.train_on=val: should be train or trainval"),
        (["data=sinusoid", "algo=maml", "backbone=mlp_regression", "data.train_on=trainval"],
         "data.train_on=trainval: the splits of sinusoid cannot be joined"),
        (["steps_from=first"], "steps_from=first: is for data.train_on=trainval; other"),
        (["data.train_on=trainval", "steps_from=none"], "steps_from=none: no such folder"),
        (["data.train_on=trainval", "steps_from=first", "steps=9"], "steps=9: steps_from sets it"),
        (["data.train_on=trainval", "steps_from=first", "optimizer.lr=0.5"],
         "steps_from=first: has another setting: optimizer.lr=0.5: the run was trained with"),
        (["data.train_on=trainval", "steps_from=both"],
         "steps_from=both: was trained without validation, too"),
    ],
)  # fmt: skip
def test_wrong_requests_are_refused(metarun: Metarun, words: list[str], line: str) -> None:
    for name in ("first", "both"):
        if f"steps_from={name}" in words:
            metarun(*(BOTH if name == "both" else TINY), f"out={name}")
    tiny = [w for w in TINY if "data=sinusoid" not in words or not w.startswith("backbone.")]
    code, _, err = metarun(*tiny, *words, "out=run")
    assert code == 2
    assert err[0].startswith(f"metarun: {line}")
    assert not Path("run").exists()


def test_without_an_earlier_run_the_steps_are_those_of_the_configuration() -> None:
    config = checked(compose(["data.train_on=trainval", "steps=7"]))
    assert with_steps(config) is config
