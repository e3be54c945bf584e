"""Several processes compute the run that one computes, to the bit."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist

from metarun import cli
from metarun.algorithms import Learner
from metarun.algorithms.baseline import Baseline
from metarun.algorithms.maml import MAML
from metarun.algorithms.protonet import ProtoNet
from metarun.config.compose import checked, compose
from metarun.config.schema import RunConfig
from metarun.errors import Refused
from metarun.runs import checkpoint
from metarun.training import gradient, processes, worker
from metarun.training.processes import set_workers, size_of
from metarun.training.worker import Worker
from metarun.training.workers import Workers
from tests.conftest import TINY, blank
from tests.faults.conftest import kill_and_resume
from tests.training.test_blocks import Counting, make

Metarun = Callable[..., tuple[int, str, list[str]]]
PROTONET = (*TINY, "meta_batch=4")
MAML_RUN = (*TINY, "algo=maml", "meta_batch=4", "backbone=mlp", "backbone.hidden=[8]")
MAML_RUN = tuple(word for word in MAML_RUN if word != "backbone.filters=8")
FAILS_AT = "TEST_FAILS_AT"


class Forked:
    """A child process in the place of `subprocess.Popen`, which imports nothing again.

    It is forked by a process that has no threads: a child of this one could wait for a lock that
    one of its threads held.
    """

    def __init__(self, _: Any, env: Mapping[str, str], **__: Any) -> None:
        self.process = kill_and_resume.STARTING.Process(target=serve, args=(os.getcwd(), dict(env)))
        self.process.start()
        self.pid = self.process.pid

    def poll(self) -> int | None:
        return self.process.exitcode

    def kill(self) -> None:
        self.process.kill()

    def wait(self) -> None:
        self.process.join()


def serve(folder: str, environment: Mapping[str, str]) -> None:
    """In a child process: serve rank 0, and fail where the test says."""
    os.chdir(folder)
    os.environ.update(environment)
    with pytest.MonkeyPatch.context() as patch:
        if FAILS_AT in environment:
            fail_at(patch, int(environment[FAILS_AT]))
        worker.serve()


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> list[Forked]:
    """The children of the test's runs, which are forked."""
    children: list[Forked] = []

    def start(*arguments: Any, **settings: Any) -> Forked:
        children.append(Forked(*arguments, **settings))
        return children[-1]

    monkeypatch.setattr(processes.subprocess, "Popen", start)
    return children


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the runs that one process has computed."""
    folder, before = tmp_path_factory.mktemp("made"), Path.cwd()
    os.chdir(folder)
    with pytest.MonkeyPatch.context() as patch:
        blank(patch)
        for out, words in (("protonet", PROTONET), ("maml", MAML_RUN)):
            assert cli.main([*words, f"out={out}"]) == 0
    os.chdir(before)
    yield folder


def assert_same(a: Path, b: Path) -> None:
    """Same weights, state of the optimizer, metrics and scores of each episode."""
    for name in ("metrics.jsonl", "test_episodes.csv"):
        assert (a / name).read_text() == (b / name).read_text()
    one, two = (checkpoint.load_state(run / "checkpoints/last.pt") for run in (a, b))
    for key in ("learner", "best_learner", "optimizer"):
        torch.testing.assert_close(one[key], two[key], rtol=0, atol=0)


def test_a_started_process_computes_its_share(metarun: Metarun, made: Path) -> None:
    code, out, err = metarun(*MAML_RUN, "workers=2", "out=run")
    assert (code, err) == (0, [])
    assert "is divided, its training is not" not in out
    assert_same(Path("run"), made / "maml")
    assert json.loads(Path("run/result.json").read_text())["run"]["workers"] == 2
    assert "\nworkers: 2\n" in Path("run/config.yaml").read_text()
    assert not dist.is_initialized()


def test_running_averages_do_not_depend_on_the_number_of_workers(
    metarun: Metarun, made: Path, forked: list[Forked]
) -> None:
    assert metarun(*PROTONET, "workers=3", "out=run")[0] == 0
    assert_same(Path("run"), made / "protonet")
    assert [child.poll() for child in forked] == [-signal.SIGKILL] * 2  # none is left


def test_an_evaluation_is_divided(metarun: Metarun, forked: list[Forked]) -> None:
    """With both kinds of batch norm, and a last block that is not full."""
    assert metarun(*TINY, "out=run", "test_episodes=20")[0] == 0
    for workers in (1, 2):
        words = (f"workers={workers}", f"name={workers}", "shots=2")
        assert metarun("evaluate", "run=run", *words, *TINY[:2])[0] == 0
    one, two = (Path("run/evaluations") / name for name in "12")
    assert (one / "test_episodes.csv").read_text() == (two / "test_episodes.csv").read_text()
    kinds = [json.loads((x / "result.json").read_text())["test_by_batch_norm"] for x in (one, two)]
    assert kinds[0] == kinds[1]
    assert len(forked) == 1


def test_where_the_training_is_not_divided_the_evaluation_is(
    metarun: Metarun, forked: list[Forked]
) -> None:
    words = (*TINY, "algo=reptile", "algo.test_inner_steps=2")
    assert metarun(*words, "out=one")[0] == 0
    code, out, err = metarun(*words, "workers=2", "out=two")
    assert (code, err, len(forked)) == (0, [], 1)
    line = "workers=2: the evaluation of reptile is divided, its training is not: a task starts"
    assert line in out
    assert_same(Path("one"), Path("two"))


@pytest.mark.parametrize(
    ("learner", "tasks", "reason"),
    [
        (make(MAML), 4, None),
        (make(Baseline), 4, "its loss needs all tasks of a step at once"),
        (make(ProtoNet), 1, "meta_batch=1 is one block of tasks"),
        (make(ProtoNet, Counting()), 4, "its buffer backbone.1.seen may pass from task to task"),
    ],
)
def test_why_a_training_is_not_divided(
    monkeypatch: pytest.MonkeyPatch, learner: Learner, tasks: int, reason: str | None
) -> None:
    monkeypatch.setattr(Worker, "__init__", lambda self: None)
    monkeypatch.setattr(Workers, "_lead", lambda *_: None)
    config = SimpleNamespace(meta_batch=tasks)
    assert Workers(SimpleNamespace(learner=learner, config=config), []).note == reason


def before_each_step(patch: pytest.MonkeyPatch, act: Callable[[int], None]) -> None:
    """Call `act` with 0, 1, … before the outer steps of a run with workers."""
    original = Workers.accumulate

    def accumulate(workers: Workers, numbers: range) -> Any:
        act(numbers.start // len(numbers))
        return original(workers, numbers)

    patch.setattr(Workers, "accumulate", accumulate)


def test_a_killed_worker_ends_the_run_which_goes_on_with_another_number(
    metarun: Metarun, made: Path, forked: list[Forked]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        before_each_step(patch, lambda step: step == 3 and os.kill(forked[0].pid, signal.SIGKILL))
        code, _, (line,) = metarun(*PROTONET, "workers=2", "out=run")
    assert code == 1
    assert line.startswith(
        "metarun: worker 2 of 2 ended (killed by signal 9); step 3 is saved, "
        "go on with: metarun resume=run"
    )
    assert json.loads(Path("run/result.json").read_text())["status"] == "failed"
    assert metarun("resume=run", "workers=1", *TINY[:2])[0] == 0
    assert_same(Path("run"), made / "protonet")


def test_signals_are_for_the_first_process(
    metarun: Metarun, made: Path, forked: list[Forked]
) -> None:
    """The others ignore them; a run that is stopped goes on with more workers."""

    def interrupt(step: int) -> None:
        if step == 1:
            for number in (signal.SIGINT, signal.SIGTERM):
                os.kill(forked[0].pid, number)
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        before_each_step(patch, interrupt)
        code, _, (line,) = metarun(*PROTONET, "workers=2", "out=run")
    assert code == 130
    assert line.startswith("metarun: interrupted; step 3 of 4 is saved; go on with: ")
    assert metarun("resume=run", "workers=3", *TINY[:2])[0] == 0
    assert_same(Path("run"), made / "protonet")


def fail_at(patch: pytest.MonkeyPatch, number: int) -> None:
    """Raise an error in the block that begins with this training task, in children also."""
    patch.setenv(FAILS_AT, str(number))
    original = gradient.part

    def part(learner: Any, tasks: Any, *arguments: Any) -> Any:
        if tasks[0].number == number:
            raise ArithmeticError("no such number")
        return original(learner, tasks, *arguments)

    patch.setattr(gradient, "part", part)


def test_an_error_in_a_worker_is_shown(
    metarun: Metarun, forked: list[Forked], monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at(monkeypatch, 5)  # the second block of the second step
    code, _, (line,) = metarun(*PROTONET, "workers=2", "out=run")
    assert code == 1
    assert line.startswith("metarun: worker 2 of 2: ArithmeticError: no such number")
    assert "in part\n" in Path("run/run.log").read_text()


def test_an_error_in_the_first_process_is_its_own(
    metarun: Metarun, forked: list[Forked], monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at(monkeypatch, 4)
    code, _, (line,) = metarun(*PROTONET, "workers=2", "out=run")
    assert code == 1
    assert line.startswith("metarun: ArithmeticError: no such number (traceback in run/run.log)")


def test_a_worker_that_cannot_start_is_named(
    metarun: Metarun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "SERVE", "raise SystemExit('no memory')")
    code, _, (line,) = metarun(*PROTONET, "workers=2", "out=run")
    assert code == 1
    assert line.startswith("metarun: worker 2 of 2 ended (exit code 1): no memory; step 0 is saved")


@pytest.mark.parametrize("value", ["0", "1025", "1.5", "true", "many"])
def test_workers_is_a_number_or_auto(metarun: Metarun, value: str) -> None:
    code, _, (line,) = metarun(*TINY, f"workers={value}", "out=run")
    assert code == 2
    assert line.endswith("should be a number of processes, 1 to 1024, or auto")
    assert not Path("run").exists()


@cache
def composed() -> RunConfig:
    return checked(compose(["algo=maml"]))


def numbers_for(cores: int, **keys: Any) -> tuple[int, int]:
    """The numbers of processes and of threads in each."""
    config = set_workers(make(MAML), composed().model_copy(update=keys), cores)
    return config.workers, config.threads


def test_the_cores_are_used_once() -> None:
    assert numbers_for(8, workers=1) == (1, 8)
    assert numbers_for(8, workers=2) == (2, 4)
    assert numbers_for(8, workers=3) == (3, 2)
    assert numbers_for(2, workers=4) == (4, 1)
    assert numbers_for(8, workers=2, threads=3) == (2, 3)


def test_auto_is_at_most_the_number_of_cores_and_of_blocks() -> None:
    assert numbers_for(4, workers="auto", meta_batch=16) == (4, 1)
    assert numbers_for(64, workers="auto", meta_batch=16) == (8, 8)
    assert numbers_for(64, workers="auto", meta_batch=3) == (3, 21)
    assert numbers_for(4, workers="auto", meta_batch=16, threads=2) == (2, 2)
    assert numbers_for(4, workers="auto", meta_batch=1) == (1, 4)


@pytest.mark.parametrize("workers", [1, 4, "auto", 3])
def test_torchrun_sets_the_number(monkeypatch: pytest.MonkeyPatch, workers: int | str) -> None:
    """It also sets the number of threads, by OMP_NUM_THREADS. `config.yaml` has none of them: the
    run may be resumed without torchrun, or with more processes.
    """
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 4)
    if workers == 3:
        with pytest.raises(Refused, match=r"^workers=3: torchrun has started 4 processes; write"):
            numbers_for(1, workers=workers)
    else:
        assert numbers_for(1, workers=workers) == (1, 1)
        assert size_of(composed()) == 4


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_if_the_first_process_is_killed_the_others_end(tmp_path: Path) -> None:
    words = [*PROTONET, "workers=2", "out=run"]
    command = [sys.executable, "-m", "metarun", *words, "steps=100000"]
    first = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    metrics = tmp_path / "run/metrics.jsonl"
    while not metrics.exists():
        assert first.poll() is None
        time.sleep(0.1)
    listed = subprocess.run(["pgrep", "-P", str(first.pid)], capture_output=True, text=True)
    (child,) = map(int, listed.stdout.split())
    assert alive(child)
    first.kill()
    first.wait()
    while alive(child):  # a limit of time is the test's that hangs
        time.sleep(0.1)


def torchrun(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
def test_torchrun_starts_the_workers(tmp_path: Path, made: Path) -> None:
    agent = torchrun(tmp_path, "--nproc-per-node=2", "-m", "metarun", *PROTONET, "out=run")
    out, _ = agent.communicate()
    assert (agent.returncode, out.count("step 4/4")) == (0, 1)  # one process shows
    assert_same(tmp_path / "run", made / "protonet")
    assert json.loads((tmp_path / "run/result.json").read_text())["run"]["workers"] == 2


@pytest.mark.slow
def test_torchrun_starts_workers_on_two_machines(tmp_path: Path, made: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    machine = ["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", "--rdzv-id=test"]
    machine += [f"--rdzv-endpoint=127.0.0.1:{port}", "--local-addr=127.0.0.1"]
    agents = [torchrun(tmp_path, *machine, "-m", "metarun", *PROTONET, "out=run") for _ in "12"]
    outs = [agent.communicate()[0] for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0]
    assert sum(out.count("step 4/4") for out in outs) == 1
    assert_same(tmp_path / "run", made / "protonet")


@pytest.mark.slow
def test_a_command_without_training_ends_all_processes_of_torchrun(tmp_path: Path) -> None:
    for words, code in ((["list", "algo"], 0), (["workers=3", *PROTONET], 1)):
        agent = torchrun(tmp_path, "--nproc-per-node=2", "-m", "metarun", *words)
        out, _ = agent.communicate()
        assert agent.returncode == code
        assert (code == 0) or "exitcode  : 2" in out
