"""How much less wall time a sweep takes with two processes than with one.

    python scripts/two_processes.py [--repeats N] [--jobs N] [overrides …]

The same sweep of short jobs, one thread each, by `hydra/launcher=joblib` with one process and with
two, in turn, each from the start of the command to its end: so the second process's import of torch
counts. Prints each time, the medians and their ratio; on a machine that does other things at the
same time they mean little. Exit code 1 if the two do not end with the same figures.
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

OWN = Path(__file__).resolve().parents[1] / "tests" / "own"
METARUN = Path(sys.executable).with_name("metarun")
SHORT = (
    *("--config-dir", str(OWN), "data=blobs", "debug=tiny", "logger=none", "threads=1"),
    *("steps=150", "eval_every=50", "meta_batch=4", "val_episodes=50", "test_episodes=200"),
)


def sweep(folder: Path, processes: int, jobs: int, words: list[str]) -> float:
    """Run the sweep in `folder`; the seconds that it took."""
    command = [
        *(str(METARUN), "-m", "hydra/launcher=joblib", f"hydra.launcher.n_jobs={processes}"),
        *(*SHORT, f"seed=range({jobs})", f"hydra.sweep.dir={folder}", *words),
    ]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return seconds


def figures(folder: Path, jobs: int) -> list[object]:
    """What each job's test found."""
    return [json.loads((folder / f"{job}/result.json").read_text())["test"] for job in range(jobs)]


def main() -> int:
    """Alternate, print, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=8)
    options, words = parser.parse_known_args()
    seconds: dict[int, list[float]] = {1: [], 2: []}
    print(f"{options.jobs} jobs, one thread each, {len(os.sched_getaffinity(0))} cores")
    with tempfile.TemporaryDirectory() as place:
        seen = []
        for repeat in range(options.repeats):
            for processes in (1, 2) if repeat % 2 == 0 else (2, 1):
                folder = Path(place, f"{processes}_{repeat}")
                seconds[processes].append(sweep(folder, processes, options.jobs, words))
                seen.append(figures(folder, options.jobs))
                print(f"{processes} at a time: {seconds[processes][-1]:6.1f} s", flush=True)
    one, two = (statistics.median(seconds[processes]) for processes in (1, 2))
    print(f"medians {one:.1f} s and {two:.1f} s: {one / two:.2f} times as fast with two")
    if any(found != seen[0] for found in seen):
        print("the figures differ")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
