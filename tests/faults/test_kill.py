"""A run killed by SIGKILL at any moment resumes and ends with the same result."""

from __future__ import annotations

import os
import random
import shutil
import signal
from pathlib import Path

import kill_and_resume
import pytest

from metarun.runs import checkpoint
from tests.algorithms.learners import SHIPPED, WITHOUT_TRAINING
from tests.faults import killing
from tests.faults.conftest import SHORT, assert_same

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
WORDS = [*SHORT, "steps=2"]


def child(argv: list[str], folder: Path, at: int | None = None) -> int:
    """Run a command in a new process; returns the exit code, −9 if it killed itself."""
    process = kill_and_resume.STARTING.Process(target=killing.command, args=(argv, folder, at))
    process.start()
    process.join()
    return process.exitcode


def whole(words: list[str], folder: Path) -> list[str]:
    """Run without kills in `folder/run`; returns the list of its writes."""
    folder.mkdir()
    assert child([*words, "out=run"], folder) == 0, (folder / "output.txt").read_text()
    return (folder / "writes.txt").read_text().splitlines()


def killed_at(words: list[str], folder: Path, at: int) -> None:
    """Kill the run before its `at`-th write, and resume and kill it until it ends.

    Each process may do twelve more writes than the one before.
    """
    folder.mkdir()
    code = child([*words, "out=run"], folder, at)
    assert code == -signal.SIGKILL
    while code == -signal.SIGKILL and not kill_and_resume.finished(folder / "run"):
        at += 12
        code = child(kill_and_resume.next_words(words, folder / "run"), folder, at)
    assert code in (0, -signal.SIGKILL), (folder / "output.txt").read_text()


def test_a_kill_in_the_middle_of_a_checkpoint(tmp_path: Path) -> None:
    """Kill between the writes of the second checkpoint, which keeps the first as previous."""
    writes = whole(WORDS, tmp_path / "whole")
    renamed = [i for i, name in enumerate(writes, start=1) if name == "replace last.pt"]
    assert len(renamed) == 2
    first = renamed[1] - 3
    assert writes[first - 1 : renamed[1] + 1] == [
        *("fsync last.pt", "link previous.pt", "replace previous.pt"),
        *("replace last.pt", "fsync checkpoints"),
    ]
    for at in range(first, renamed[1] + 2):
        killed_at(WORDS, tmp_path / str(at), at)
        assert_same(tmp_path / "whole" / "run", tmp_path / str(at) / "run")


@pytest.mark.slow
@pytest.mark.parametrize("algo", ["protonet", "reptile"])
def test_a_kill_between_any_two_writes(tmp_path: Path, algo: str) -> None:
    words = [*WORDS, f"algo={algo}"]
    writes = whole(words, tmp_path / "whole")
    for at in range(1, len(writes) + 1):
        killed_at(words, tmp_path / str(at), at)
        assert_same(tmp_path / "whole" / "run", tmp_path / str(at) / "run")


def kills(algo: str, folder: Path, least: int) -> None:
    """Repeat the trials of the script until there were `least` kills."""
    words = [*kill_and_resume.SHORT, f"algo={algo}"]
    if algo in WITHOUT_TRAINING:
        words.remove("backbone.filters=8")  # not a key of backbone=identity
    (folder / "whole").mkdir()
    seconds = kill_and_resume.whole(words, folder / "whole")
    rng, count, trial = random.Random(algo), 0, 0
    while count < least:
        (here := folder / str(trial)).mkdir()
        count += len(kill_and_resume.killed(words, here, seconds, rng))
        assert_same(folder / "whole" / "run", here / "run")
        trial += 1


def test_kills_at_random_moments(tmp_path: Path) -> None:
    kills("maml", tmp_path, 2)


@pytest.mark.slow
@pytest.mark.parametrize("algo", SHIPPED)
def test_kills_at_random_moments_of_every_learner(tmp_path: Path, algo: str) -> None:
    """About 60 kills over all learners."""
    kills(algo, tmp_path, -(-60 // len(SHIPPED)))


def test_the_comparison_detects_one_changed_bit(made: Path, tmp_path: Path) -> None:
    """Otherwise the other tests of this file could not fail."""
    run = tmp_path / "run"
    shutil.copytree(made / "whole", run)
    assert kill_and_resume.differences(made / "whole", run) == []
    state = checkpoint.load_state(run / "checkpoints/last.pt")
    name, weights = next(iter(state["learner"].items()))
    weights.view(-1)[0] = -weights.view(-1)[0]
    checkpoint.save(run / "checkpoints/last.pt", state)
    (run / "metrics.jsonl").write_bytes((run / "metrics.jsonl").read_bytes()[:-1])
    assert kill_and_resume.differences(made / "whole", run) == [
        "metrics.jsonl",
        f"last.pt: .learner.{name}",
    ]
