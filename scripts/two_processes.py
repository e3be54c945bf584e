"""Measure how much faster a sweep runs with two processes than with one.

    python scripts/two_processes.py [--repeats N] [--jobs N] [overrides …]

The script runs the same sweep of short jobs with one thread each, alternately with one and with two
processes of `hydra/launcher=joblib`. It times the whole command, so the import of torch in the
second process counts. It prints each time, the medians and their ratio; run it on an idle machine.
The exit code is 1 if the two sweeps give different test scores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONFIG_DIR = Path(__file__).resolve().parents[1] / "tests" / "own"
METARUN = Path(sys.executable).with_name("metarun")
SHORT_RUN = (
    "--config-dir",
    str(CONFIG_DIR),
    "data=blobs",
    "debug=tiny",
    "logger=none",
    "threads=1",
    "steps=150",
    "eval_every=50",
    "meta_batch=4",
    "val_episodes=50",
    "test_episodes=200",
)


def sweep(folder: Path, processes: int, jobs: int, overrides: list[str]) -> float:
    """Run the sweep in `folder`; return the time in seconds."""
    command = [
        str(METARUN),
        "-m",
        "hydra/launcher=joblib",
        f"hydra.launcher.n_jobs={processes}",
        *SHORT_RUN,
        f"seed=range({jobs})",
        f"hydra.sweep.dir={folder}",
        *overrides,
    ]
    start = time.perf_counter()
    result = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if result.returncode:
        sys.exit(f"{' '.join(command)}\n{result.stdout}{result.stderr}")
    return seconds


def scores(folder: Path, jobs: int) -> list[object]:
    """Return the test scores of each job."""
    return [json.loads((folder / f"{job}/result.json").read_text())["test"] for job in range(jobs)]


def main() -> int:
    """Run the sweeps, print the times, and compare the test scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=8)
    options, overrides = parser.parse_known_args()
    seconds: dict[int, list[float]] = {1: [], 2: []}
    print(f"{options.jobs} jobs, one thread each, {len(os.sched_getaffinity(0))} cores")
    with tempfile.TemporaryDirectory() as parent:
        all_scores = []
        for repeat in range(options.repeats):
            for processes in (1, 2) if repeat % 2 == 0 else (2, 1):
                folder = Path(parent, f"{processes}_{repeat}")
                seconds[processes].append(sweep(folder, processes, options.jobs, overrides))
                all_scores.append(scores(folder, options.jobs))
                print(f"{processes} at a time: {seconds[processes][-1]:6.1f} s", flush=True)
    one, two = (statistics.median(seconds[processes]) for processes in (1, 2))
    print(f"medians {one:.1f} s and {two:.1f} s: {one / two:.2f} times as fast with two")
    if any(other != all_scores[0] for other in all_scores):
        print("the test scores differ")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
