"""Kill a run at random moments, resume it until it ends, and compare it with one left alone.

    python scripts/kill_and_resume.py ALGO [--trials N] [--seed N] [--keep DIR] [overrides …]

The run is short and its data is made on the spot (tests/own/blobs.py), so that checkpoints are
written all the time; overrides change that. Each trial starts the run, kills its process with
SIGKILL after a time drawn uniformly from the length of the whole training and test, resumes it,
kills it again, and so on until it ends by itself. Only kills of a process that was training or
testing count. It must end with the same tensors and numbers in both checkpoints, the same
metrics.jsonl, the same accuracy in each test episode and the same result, times excepted. Exit code
1 if a trial does not.
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

OWN = Path(__file__).resolve().parents[1] / "tests" / "own"
SHORT = (
    *("--config-dir", str(OWN), "data=blobs", "debug=tiny", "backbone.filters=8", "threads=1"),
    *("steps=12", "eval_every=2", "log_every=3", "optimizer.schedule=cosine"),
)
DIFFER = ("wall_seconds", "step_seconds", "id", "command", "resumed_with", "out")  # may

# A parent that has imported everything and never computed: its children start in no time.
STARTING = multiprocessing.get_context("forkserver")
PRELOADED = (
    *("metarun.cli", "metarun.train", "metarun.commands.train", "metarun.testing"),
    *("torch._dynamo", "matplotlib.backends.backend_agg"),  # imported late otherwise
)
STARTING.set_forkserver_preload(list(PRELOADED))


@dataclass
class Kill:
    """Where a run was when it was killed: steps noted in metrics.jsonl, files half written."""

    step: int
    writing: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.step}{'w' if self.writing else ''}"


def command(argv: Sequence[str], folder: Path, begun: Connection | None = None) -> None:
    """What a child does: run a command of metarun in `folder`, its output in a file there."""
    os.chdir(folder)
    with open("output.txt", "a") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    from metarun import cli, train

    original = train.meta_train

    def meta_train(*args: Any) -> None:
        if begun is not None:
            begun.send(time.monotonic())
        original(*args)

    train.meta_train = meta_train
    sys.exit(cli.main(list(argv)))


def start(argv: Sequence[str], folder: Path) -> tuple[BaseProcess, Connection]:
    """A child at work, and where it says when training begins."""
    here, there = STARTING.Pipe(duplex=False)
    child = STARTING.Process(target=command, args=(list(argv), folder, there))
    child.start()
    there.close()
    return child, here


def whole(words: Sequence[str], folder: Path) -> float:
    """Run without a kill in `folder/run`; how long training and test took, in seconds."""
    child, begun = start([*words, "out=run"], folder)
    try:
        began = begun.recv()
    except EOFError:
        began = time.monotonic()
    child.join()
    if child.exitcode != 0:
        raise SystemExit(f"the run itself fails: {(folder / 'output.txt').read_text()}")
    return time.monotonic() - began


def killed(words: Sequence[str], folder: Path, seconds: float, rng: random.Random) -> list[Kill]:
    """Run with kills in `folder/run`; where they came."""
    out, kills = folder / "run", []
    while True:
        child, begun = start(next_words(words, out), folder)
        try:
            begun.recv()
            child.join(rng.uniform(0, seconds))
        except EOFError:  # ended before it began
            child.join()
        if child.is_alive():
            os.kill(child.pid, signal.SIGKILL)
            child.join()
        if child.exitcode == -signal.SIGKILL:
            kills.append(where(out))
            if finished(out):  # killed as it said good-bye: resume rightly refuses
                return kills
        elif child.exitcode != 0:
            raise SystemExit(f"cannot go on: {(folder / 'output.txt').read_text()}")
        elif kills:
            return kills
        else:  # it was quicker than its end: that was no trial
            out.rename(folder / f"quicker{len(list(folder.iterdir()))}")


def finished(out: Path) -> bool:
    """Does its result.json say so?"""
    file = out / "result.json"
    return file.exists() and json.loads(file.read_text("utf-8"))["status"] == "completed"


def next_words(words: Sequence[str], out: Path) -> list[str]:
    """Start the run, or go on with it: it exists from the moment that its config.yaml does."""
    if (out / "config.yaml").exists():
        return [f"resume={out.name}", *own_folder(words)]
    return [*words, f"out={out.name}"]


def own_folder(words: Sequence[str]) -> list[str]:
    """`--config-dir` and its value."""
    at = list(words).index("--config-dir") if "--config-dir" in words else len(words)
    return list(words[at : at + 2])


def where(out: Path) -> Kill:
    """How far a killed run has come."""
    lines = out / "metrics.jsonl"
    noted = lines.read_bytes().splitlines() if lines.exists() else []
    steps = [0]
    for line in noted:
        try:
            steps.append(json.loads(line)["step"])
        except ValueError:  # killed while it wrote this one
            continue
    return Kill(max(steps), [p.name for p in out.rglob(".*.part")])


def differences(a: Path, b: Path) -> list[str]:
    """What two finished runs do not share, times and names excepted."""
    import torch

    found = []
    for name in ("metrics.jsonl", "test_episodes.csv"):
        if (a / name).read_bytes() != (b / name).read_bytes():
            found.append(name)
    results = [json.loads((run / "result.json").read_text("utf-8")) for run in (a, b)]
    for key in ("status", "test", "val", "protocol"):
        found += [f"result.json: {x}" for x in unlike(*(r[key] for r in results), key)]
    for name in ("last.pt", "best.pt"):
        states = [torch.load(run / "checkpoints" / name, weights_only=True) for run in (a, b)]
        found += [f"{name}: {x}" for x in unlike(*states, "")]
    return found


def unlike(a: Any, b: Any, place: str) -> Iterator[str]:
    """Places at which two states differ in a single bit."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        for key in a:
            if key not in DIFFER:
                yield from unlike(a[key], b[key], f"{place}.{key}")
    elif isinstance(a, list | tuple) and type(a) is type(b) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            yield from unlike(x, y, f"{place}[{i}]")
    elif hasattr(a, "numpy") and hasattr(b, "numpy"):
        same = (a.dtype, a.shape) == (b.dtype, b.shape)
        if not same or a.numpy().tobytes() != b.numpy().tobytes():
            yield place
    elif type(a) is not type(b) or repr(a) != repr(b):  # NaN is itself here
        yield place


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("algo")
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--keep", type=Path, help="a folder for the runs, else they are removed")
    args, overrides = parser.parse_known_args()
    words = [*SHORT, f"algo={args.algo}", *overrides]
    rng = random.Random(f"{args.algo} {args.seed}")
    with tempfile.TemporaryDirectory() as passing:
        folder = (args.keep or Path(passing)).resolve()
        (folder / "whole").mkdir(parents=True)
        seconds = whole(words, folder / "whole")
        print(f"{args.algo}: left alone it trains and tests for {seconds:.1f} s", flush=True)
        same, all_kills = 0, 0
        for trial in range(args.trials):
            here = folder / f"killed{trial}"
            here.mkdir()
            kills = killed(words, here, seconds, rng)
            wrong = differences(folder / "whole" / "run", here / "run")
            same, all_kills = same + (not wrong), all_kills + len(kills)
            told = f"killed at step {', '.join(map(str, kills))}" if kills else "never killed"
            print(f"  trial {trial}: {told}: {'; '.join(wrong) or 'identical'}", flush=True)
        print(f"{args.algo}: {same} of {args.trials} identical, {all_kills} kills", flush=True)
    return int(same < args.trials)


if __name__ == "__main__":
    sys.exit(main())
