"""Run folders are read in any state: finished or not, valid or malformed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from metarun.errors import Refused
from metarun.report import runs
from metarun.report.entry import STATUSES, Entry, Stat
from metarun.runs.lock import HOLDER
from tests.conftest import TINY
from tests.report.folders import result, run

Metarun = Callable[..., tuple[int, str, list[str]]]
STOPPED = 2**22 + 1  # above the largest process id of Linux


def find_one(folder: Path) -> Entry:
    (entry,) = runs.find([folder])
    return entry


def test_a_real_run_and_its_evaluation(metarun: Metarun) -> None:
    assert metarun(*TINY, "algo.distance=cosine", "seed=3", "out=a/run")[0] == 0
    assert metarun("evaluate", "run=a/run", "shots=2", *TINY[:2])[0] == 0
    trained, evaluation = runs.find([Path("a")])
    trained_result = json.loads(Path("a/run/result.json").read_text())
    assert (trained.name, trained.status, trained.error) == ("run", "completed", "")
    tested = trained_result["test"]["accuracy"]
    assert trained.test == Stat(tested["mean"], tested["ci95"])
    assert trained.val == Stat(**trained_result["val"]["accuracy"])
    assert (trained.algo, trained.data, trained.task) == ("protonet", "blobs", "5-way 1-shot")
    assert (trained.seed, trained.steps, trained.steps_done) == (3, 4, 4)
    assert trained.words["algo.distance"] == trained.settings["algo.distance"] == "cosine"
    assert trained.settings["algo"] == "protonet"
    assert "out" not in trained.words
    assert evaluation.folder.parent == Path("a/run/evaluations")
    assert evaluation.task == "5-way 2-shot"
    assert evaluation.settings["shots"] == "2"
    assert evaluation.settings["algo.distance"] == "cosine"
    assert "run" not in evaluation.words


def test_the_arguments_of_an_evaluation_override_those_of_its_run(metarun: Metarun) -> None:
    assert metarun(*TINY, "out=run")[0] == 0
    arguments = ("algo.batch_norm=transductive", "episodes=9")
    assert metarun("evaluate", "run=run", *arguments, *TINY[:2])[0] == 0
    trained, evaluation = runs.find([Path("run")])
    assert trained.settings["algo.batch_norm"] == "inductive"
    assert evaluation.settings["algo.batch_norm"] == evaluation.batch_norm == "transductive"
    assert evaluation.settings["test_episodes"] == evaluation.words["test_episodes"] == "9"
    assert evaluation.words["debug"] == trained.words["debug"] == "tiny"
    assert "episodes" not in evaluation.words


@pytest.mark.parametrize("status", ["failed", "interrupted"])
def test_a_run_that_did_not_finish_has_no_test_figure(tmp_path: Path, status: str) -> None:
    entry = find_one(run(tmp_path / "a", status=status, error="no luck"))
    assert (entry.status, entry.error, entry.test) == (status, "no luck", None)
    assert entry.val == Stat(0.9, 0.01)


def test_a_pruned_trial(tmp_path: Path) -> None:
    entry = find_one(run(tmp_path / "a", status="interrupted", pruned={"step": 5}, test=None))
    assert entry.status == "pruned"


def holder(folder: Path, pid: int, host: str) -> None:
    (folder / HOLDER).write_text(json.dumps({"pid": pid, "host": host}))


def test_a_running_run_without_a_process_was_killed(tmp_path: Path) -> None:
    folder = run(tmp_path / "a", status="running", test=None)
    assert find_one(folder).status == "killed"
    holder(folder, os.getpid(), socket.gethostname())
    assert find_one(folder).status == "running"
    holder(folder, STOPPED, socket.gethostname())
    assert find_one(folder).status == "killed"
    holder(folder, STOPPED, "another machine")
    assert find_one(folder).status == "running"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_a_zombie_process_has_ended(tmp_path: Path) -> None:
    folder = run(tmp_path / "a", status="running", test=None)
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        holder(folder, process.pid, socket.gethostname())
        assert find_one(folder).status == "running"
    finally:
        process.kill()
    os.waitid(
        os.P_PID, process.pid, os.WEXITED | os.WNOWAIT
    )  # ended, but still in the process table
    assert find_one(folder).status == "killed"
    process.communicate()


def test_a_run_without_a_result(tmp_path: Path) -> None:
    folder = run(tmp_path / "a", config={"seed": 4, "choices": {"algo": "maml"}, "steps": 7})
    (folder / "result.json").unlink()
    entry = find_one(folder)
    assert (entry.status, entry.algo, entry.seed, entry.steps) == ("killed", "maml", 4, 7)
    holder(folder, os.getpid(), socket.gethostname())
    assert find_one(folder).status == "running"


def test_finding_runs_takes_no_lock_and_writes_nothing(metarun: Metarun) -> None:
    assert metarun(*TINY, "out=a")[0] == 0
    before = {p: p.stat().st_mtime_ns for p in sorted(Path.cwd().rglob("*"))}
    runs.find([Path("a")])
    assert {p: p.stat().st_mtime_ns for p in sorted(Path.cwd().rglob("*"))} == before


def test_each_run_is_found_once_in_natural_order(tmp_path: Path) -> None:
    for name in ("10", "2", "1/evaluations/again", "1"):
        (tmp_path / "s" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "s" / name / "result.json").write_text(json.dumps(result()))
    entries = runs.find([tmp_path / "s", tmp_path / "s/2", tmp_path / "s"])
    names = [entry.name for entry in entries]
    assert names == [str(tmp_path / "s" / n) for n in ("1", "1/evaluations/again", "2", "10")]
    assert [e.name for e in runs.find([tmp_path / "s"])] == ["1", "1/evaluations/again", "2", "10"]


def test_folders_without_a_run_are_reported(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    places = [tmp_path / name for name in ("empty", "file", "nowhere")]
    with pytest.raises(Refused) as refused:
        runs.find(places)
    assert refused.value.mistakes == [
        f"{places[0]}: holds no run",
        f"{places[1]}: is not a folder",
        f"{places[2]}: no such folder",
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
KEYS = ("status", "error", "test", "val", "protocol", "run", "pruned")
INNER = ("accuracy", "mse", "mean", "ci95", "ways", "shots", "command", "algo", "seed", "steps")


@example({"status": "\x1b[2J"})
@given(
    st.dictionaries(
        st.sampled_from(KEYS),
        JSON
        | st.sampled_from(["completed", "running", "interrupted"])
        | st.dictionaries(
            st.sampled_from(INNER),
            JSON | st.dictionaries(st.sampled_from(("mean", "ci95")), JSON),
        ),
    )
)
def test_arbitrary_results_give_valid_entries(
    tmp_path_factory: pytest.TempPathFactory, content: dict
) -> None:
    folder = tmp_path_factory.mktemp("stranger")
    (folder / "result.json").write_text(json.dumps(content))
    entry = find_one(folder)
    assert entry.status in STATUSES
    assert (entry.test is not None) == (entry.status == "completed")
    texts = (entry.name, entry.error, entry.algo, entry.data, entry.task, entry.command)
    assert all(isinstance(text, str) and text.isprintable() for text in texts[1:])
    for stat in (entry.test, entry.val):
        assert stat is None or (abs(stat.mean) < 1e15 and (stat.ci95 is None or stat.ci95 >= 0))


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]",
        "!!python/object/apply:os.system [exit]",
        "a: [",
        "- 1",
        "\0",
        "a: " + "[" * 5000,
        "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: [*c,*c]",
    ],
)
def test_a_malformed_configuration_affects_that_run_only(tmp_path: Path, text: str) -> None:
    folder = run(tmp_path / "a")
    (folder / "config.yaml").write_text(text)
    entry = find_one(folder)
    assert entry.status == "completed"
    assert all(len(value) <= 2000 for value in entry.settings.values())


def test_nothing_outside_the_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text(json.dumps(result()))
    (tmp_path / "secret.yaml").write_text("password: abc")
    folder = run(tmp_path / "a")
    (folder / "config.yaml").symlink_to(tmp_path / "secret.yaml")
    assert "password" not in find_one(folder).settings
    (folder / "result.json").unlink()
    (folder / "result.json").symlink_to(tmp_path / "secret.json")
    assert find_one(folder).status == "unreadable"


def test_the_depth_of_the_search_is_limited(tmp_path: Path) -> None:
    inside = run(tmp_path / "s/a")
    run(tmp_path.joinpath("s", *["d"] * (runs.MAX_DEPTH + 1)))
    assert find_one(tmp_path / "s").folder == inside


def test_links_to_other_runs_are_not_followed(tmp_path: Path) -> None:
    run(tmp_path / "elsewhere")
    inside = run(tmp_path / "s/a")
    (tmp_path / "s/link").symlink_to(tmp_path / "elsewhere")
    assert find_one(tmp_path / "s").folder == inside


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("shots", 5),
        ("data", "omniglot"),
        ("protocol", "lake"),
        ("data_settings", {"size": 32}),
        ("batch_norm", "transductive"),
        ("algo", {"test_inner_steps": 10}),
    ],
)
def test_an_older_evaluation_of_another_task_has_no_validation_figure(
    tmp_path: Path, entry: str, value: Any
) -> None:
    """Its result does not say so: its protocol is compared with that of its run."""
    training = run(tmp_path / "run")
    protocol = json.loads((training / "result.json").read_text())["protocol"]
    run(tmp_path / "run/evaluations/same", protocol=protocol)
    run(tmp_path / "run/evaluations/other", protocol=protocol | {entry: value})
    vals = {entry.name: entry.val is not None for entry in runs.find([tmp_path])}
    assert vals == {"run": True, "run/evaluations/same": True, "run/evaluations/other": False}


def test_a_result_says_whether_its_validation_was_of_the_same_task(tmp_path: Path) -> None:
    for same in (True, False):
        run(tmp_path / f"run/evaluations/{same}", val_of_same_task=same)
    assert [entry.val is not None for entry in runs.find([tmp_path])] == [False, True]


def test_the_name_of_own_pictures_with_and_without_a_result(tmp_path: Path) -> None:
    own = {"data": "image_folder", "data_name": "pets", "ways": 2, "shots": 1}
    run(tmp_path / "0", protocol=own)
    for i, name in enumerate((None, "cells"), 1):
        data = {"root": "/somewhere/pets", "name": name}
        config = {"choices": {"data": "image_folder"}, "data": data}
        folder = run(tmp_path / str(i), config=config)
        (folder / "result.json").unlink()
    assert [entry.data for entry in runs.find([tmp_path])] == ["pets", "pets", "cells"]
