"""A process that runs jobs ends with its parent, after the running job has saved its state."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path


def test_a_worker_ends_after_its_parent_was_killed(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from metarun.sweeps.workers import run_in_parallel; "
        "from tests.sweeps.test_workers import Call; "
        f"run_in_parallel([Call(n, Path({str(tmp_path)!r}), 60) for n in range(2)], 2, 1)"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=root, env=environment)
    deadline = time.monotonic() + 60
    while len(texts := [file.read_text() for file in tmp_path.iterdir()]) < 2 or "" in texts:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    while any(Path(f"/proc/{pid}").exists() for pid in texts):
        assert time.monotonic() < deadline, "a worker goes on without its parent"
        time.sleep(0.05)
    assert {file.read_text() for file in tmp_path.iterdir()} == {f"{pid} saved" for pid in texts}
