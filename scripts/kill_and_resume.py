"""Kill a run at random moments, resume it until it ends, and compare it with an undisturbed run.

    python scripts/kill_and_resume.py ALGO [--trials N] [--seed N] [--keep DIR] [overrides …]

The run is short and its data is synthetic (tests/own/blobs.py), so that it writes checkpoints all
the time; overrides change that. Each trial starts the run and kills its process with SIGKILL after
a time drawn uniformly from the duration of training and test. It then resumes the run and kills it
again, until the run completes. Only kills of a process that was training or testing count. Both
runs must have the same tensors and numbers in their checkpoints, the same metrics.jsonl, the same
accuracy in each test episode and, except for times, the same result. The exit code is 1 if a trial
differs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

CONFIG_DIR = Path(__file__).resolve().parents[1] / "tests" / "own"
SHORT = (
    "--config-dir",
    str(CONFIG_DIR),
    "data=blobs",
    "debug=tiny",
    "backbone.filters=8",
    "threads=1",
    "steps=12",
    "eval_every=2",
    "log_every=3",
    "optimizer.schedule=cosine",
)
MAY_DIFFER = ("wall_seconds", "step_seconds", "id", "command", "resumed_with", "out")

# The parent process has imported everything and has not computed anything: children start fast.
STARTING = multiprocessing.get_context("forkserver")
PRELOADED = (
    "metarun.cli",
    "metarun.train",
    "metarun.commands.train",
    "metarun.testing",
    "torch._dynamo",  # metarun imports this one and the next only during a run
    "matplotlib.backends.backend_agg",
)
STARTING.set_forkserver_preload(list(PRELOADED))


@dataclass
class Kill:
    """The state of a killed run: its last step in metrics.jsonl, and incomplete files."""

    step: int
    writing: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.step}{'w' if self.writing else ''}"


def command(argv: Sequence[str], folder: Path, started: Connection | None = None) -> None:
    """In a child process: run metarun in `folder` and write the output to a file there."""
    os.chdir(folder)
    with open("output.txt", "a") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    from metarun import cli
    from metarun.training import execution

    original = execution.meta_train

    def meta_train(*args: Any) -> None:
        if started is not None:
            started.send(time.monotonic())
        original(*args)

    execution.meta_train = meta_train
    sys.exit(cli.main(list(argv)))


def start(argv: Sequence[str], folder: Path) -> tuple[BaseProcess, Connection]:
    """Start a child process; return it and a connection that gets the time when training starts."""
    receiver, sender = STARTING.Pipe(duplex=False)
    child = STARTING.Process(target=command, args=(list(argv), folder, sender))
    child.start()
    sender.close()
    return child, receiver


def whole(overrides: Sequence[str], folder: Path) -> float:
    """Run in `folder/run` without a kill; return the seconds that training and test took."""
    child, started = start([*overrides, "out=run"], folder)
    try:
        start_time = started.recv()
    except EOFError:
        start_time = time.monotonic()
    child.join()
    if child.exitcode != 0:
        raise SystemExit(f"the undisturbed run failed: {(folder / 'output.txt').read_text()}")
    return time.monotonic() - start_time


def killed(
    overrides: Sequence[str], folder: Path, seconds: float, rng: random.Random
) -> list[Kill]:
    """Run in `folder/run` with kills until the run completes; return the kills."""
    out, kills = folder / "run", []
    while True:
        child, started = start(next_words(overrides, out), folder)
        try:
            started.recv()
            child.join(rng.uniform(0, seconds))
        except EOFError:  # the process ended before training started
            child.join()
        if child.is_alive():
            os.kill(child.pid, signal.SIGKILL)
            child.join()
        if child.exitcode == -signal.SIGKILL:
            kills.append(state_at_kill(out))
            if finished(out):  # killed after the result was written: resume would refuse
                return kills
        elif child.exitcode != 0:
            raise SystemExit(f"cannot resume: {(folder / 'output.txt').read_text()}")
        elif kills:
            return kills
        else:  # the run completed before the first kill: start another one
            out.rename(folder / f"quicker{len(list(folder.iterdir()))}")


def finished(out: Path) -> bool:
    """Return whether the result.json of a run says that it is completed."""
    file = out / "result.json"
    return file.exists() and json.loads(file.read_text("utf-8"))["status"] == "completed"


def next_words(overrides: Sequence[str], out: Path) -> list[str]:
    """Return the arguments that resume the run or, if it has no config.yaml yet, start it."""
    if (out / "config.yaml").exists():
        return [f"resume={out.name}", *config_dir(overrides)]
    return [*overrides, f"out={out.name}"]


def config_dir(overrides: Sequence[str]) -> list[str]:
    """Return `--config-dir` and its value."""
    overrides = list(overrides)
    at = overrides.index("--config-dir") if "--config-dir" in overrides else len(overrides)
    return overrides[at : at + 2]


def state_at_kill(out: Path) -> Kill:
    """Return the progress of a killed run."""
    file = out / "metrics.jsonl"
    lines = file.read_bytes().splitlines() if file.exists() else []
    steps = [0]
    for line in lines:
        try:
            steps.append(json.loads(line)["step"])
        except ValueError:  # the kill cut this line short
            continue
    return Kill(max(steps), [p.name for p in out.rglob(".*.part")])


def differences(a: Path, b: Path) -> list[str]:
    """Return the places where two finished runs differ, except for times and names."""
    import torch

    places = []
    for name in ("metrics.jsonl", "test_episodes.csv"):
        if (a / name).read_bytes() != (b / name).read_bytes():
            places.append(name)
    results = [json.loads((run / "result.json").read_text("utf-8")) for run in (a, b)]
    for key in ("status", "test", "val", "protocol"):
        places += [f"result.json: {x}" for x in unequal(*(r[key] for r in results), key)]
    for name in ("last.pt", "best.pt"):
        states = [torch.load(run / "checkpoints" / name, weights_only=True) for run in (a, b)]
        places += [f"{name}: {x}" for x in unequal(*states, "")]
    return places


def unequal(a: Any, b: Any, place: str) -> Iterator[str]:
    """Yield the places where two states are not identical bit by bit."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        for key in a:
            if key not in MAY_DIFFER:
                yield from unequal(a[key], b[key], f"{place}.{key}")
    elif isinstance(a, list | tuple) and type(a) is type(b) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            yield from unequal(x, y, f"{place}[{i}]")
    elif hasattr(a, "numpy") and hasattr(b, "numpy"):
        same_type = (a.dtype, a.shape) == (b.dtype, b.shape)
        if not same_type or a.numpy().tobytes() != b.numpy().tobytes():
            yield place
    elif type(a) is not type(b) or repr(a) != repr(b):  # repr: NaN equals NaN
        yield place


def main() -> int:
    """Run the trials and print the outcome of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("algo")
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="random seed of the kill times")
    parser.add_argument(
        "--keep", type=Path, help="folder in which the runs are kept; by default, they are removed"
    )
    args, overrides = parser.parse_known_args()
    overrides = [*SHORT, f"algo={args.algo}", *overrides]
    rng = random.Random(f"{args.algo} {args.seed}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = (args.keep or Path(temporary)).resolve()
        (folder / "whole").mkdir(parents=True)
        seconds = whole(overrides, folder / "whole")
        print(f"{args.algo}: undisturbed, training and test take {seconds:.1f} s", flush=True)
        identical, all_kills = 0, 0
        for trial in range(args.trials):
            trial_folder = folder / f"killed{trial}"
            trial_folder.mkdir()
            kills = killed(overrides, trial_folder, seconds, rng)
            places = differences(folder / "whole" / "run", trial_folder / "run")
            identical, all_kills = identical + (not places), all_kills + len(kills)
            steps = f"killed at step {', '.join(map(str, kills))}" if kills else "never killed"
            print(f"  trial {trial}: {steps}: {'; '.join(places) or 'identical'}", flush=True)
        print(f"{args.algo}: {identical} of {args.trials} identical, {all_kills} kills", flush=True)
    return int(identical < args.trials)


if __name__ == "__main__":
    sys.exit(main())
