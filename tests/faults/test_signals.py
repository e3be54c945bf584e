"""Signals during critical operations, and two processes in one folder."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kill_and_resume
import pytest
import torch

from metarun import train
from metarun.loggers.none import NoLogger
from metarun.runs import checkpoint
from metarun.runs.lock import alone_in
from metarun.training import evaluation, execution, loop, tested
from tests.conftest import TINY
from tests.faults.conftest import SHORT, assert_same
from tests.test_train import result

Metarun = Callable[..., tuple[int, str, list[str]]]


@pytest.mark.parametrize(
    "numbers", [[signal.SIGTERM], [signal.SIGINT], [signal.SIGINT] * 2, [signal.SIGHUP] * 2]
)
@pytest.mark.parametrize("write", [1, 4])
def test_a_signal_while_a_checkpoint_is_written(
    metarun: Metarun, made: Path, numbers: list[int], write: int
) -> None:
    """At the first rename, before any checkpoint, or the fourth, after `last.pt`."""
    original, calls = os.replace, []

    def replace(old: Any, new: Any) -> None:
        calls.append(new)
        checkpoints = [x for x in calls if "checkpoints" in str(x)]
        if len(checkpoints) == write and "checkpoints" in str(new):
            for number in numbers:
                os.kill(os.getpid(), number)
        original(old, new)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", replace)
        code, _, err = metarun(*SHORT, "out=run")
    assert (code, len(err)) == (130, 1)
    line = err[0]
    assert line.startswith("metarun: interrupted; ")
    assert ("at once" in line) == (numbers == [signal.SIGINT] * 2)
    assert result("run")["status"] == "interrupted"
    assert not list(Path("run/checkpoints").glob(".*"))
    again = shlex.split(line.partition("go on with: metarun ")[2])
    assert metarun(*again)[0] == 0
    assert_same(Path("run"), made / "whole")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_the_test_keeps_the_trained_weights(
    metarun: Metarun, made: Path, number: int
) -> None:
    def evaluate(*args: Any) -> Any:
        os.kill(os.getpid(), number)
        return evaluation.evaluate(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execution, "evaluate", evaluate)
        code, _, (line,) = metarun(*SHORT, "out=run")
    assert code == 130
    assert line.startswith("metarun: interrupted; step 4 of 4 is saved; go on with: ")
    assert result("run")["status"] == "interrupted"
    assert metarun("resume=run", *TINY[:2])[0] == 0
    assert_same(Path("run"), made / "whole")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_an_evaluation_writes_nothing(
    metarun: Metarun, made: Path, number: int
) -> None:
    def test(*args: Any) -> Any:
        os.kill(os.getpid(), number)
        return evaluation.evaluate_kinds(*args)

    shutil.copytree(made / "whole", "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tested, "evaluate_kinds", test)
        code, _, err = metarun("evaluate", "run=run", *TINY[:2])
    assert (code, err) == (130, ["metarun: interrupted"])
    assert not Path("run/evaluations").exists()


def test_a_finished_run_stays_finished_if_the_end_of_the_logger_is_interrupted(
    metarun: Metarun, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finish(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(NoLogger, "finish", finish)
    assert metarun(*SHORT, "out=run")[0] == 130
    assert_same(Path("run"), made / "whole")


def test_a_second_process_in_a_folder_reports_the_first(metarun: Metarun, tmp_path: Path) -> None:
    """The first one would train for hours."""
    words = [*SHORT, "out=run"]
    first, begun = kill_and_resume.start([*words, "steps=100000"], tmp_path)
    try:
        begun.recv()
        code, _, err = metarun(*words)
        assert code == 2
        assert "holds a run already" in err[0]
        code, _, err = metarun("resume=run", *TINY[:2])
        assert code == 2
        assert err[0].startswith(f"metarun: run: process {first.pid} on ")
        assert err[0].endswith(" is running in this folder")
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.join()


def test_only_one_process_can_start_in_a_new_folder(metarun: Metarun) -> None:
    """The other process locks the folder between the check and the start of this one."""
    original = train.assemble

    def assemble(*args: Any, **kwargs: Any) -> Any:
        parts = original(*args, **kwargs)
        Path("run").mkdir()
        held.enter_context(alone_in(Path("run")))
        return parts

    with contextlib.ExitStack() as held, pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "assemble", assemble)
        code, _, err = metarun(*SHORT, "out=run")
    assert code == 2
    assert f"process {os.getpid()} on " in err[0]
    assert not Path("run/config.yaml").exists()


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_value_that_is_not_finite_can_be_reproduced(
    metarun: Metarun, made: Path, what: str
) -> None:
    original = loop.accumulate

    def accumulate(learner: Any, tasks: Any, seed: int) -> Any:
        """Fails in step 4, also after resuming, because it depends on the tasks only."""
        scores = original(learner, tasks, seed)
        if tasks[1].number == 7:
            if what == "loss":
                scores[1]["loss"] = torch.tensor(torch.nan)
            else:
                next(learner.parameters()).grad.fill_(torch.inf)
        return scores

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "accumulate", accumulate)
        code, _, (line,) = metarun(*SHORT, "out=run", "eval_every=2")
        assert code == 1
        assert line.startswith("metarun: step 4: the ")
        assert "training episodes 6 to 7 of seed 0" in line
        if what == "loss":
            assert "the loss of episode 7 is not finite" in line
        assert result("run")["status"] == "failed"
        assert checkpoint.load_state(Path("run/checkpoints/last.pt"))["step"] == 2
        again = line.partition("from the last checkpoint: metarun ")[2].partition(";")[0]
        code, _, (second,) = metarun(*shlex.split(again))
        assert (code, second) == (1, line)
    assert checkpoint.load_state(Path("run/checkpoints/last.pt"))["step"] == 2
