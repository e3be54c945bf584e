"""A job runs once, whichever process runs it, and prints its place and its result."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from metarun.runs.lock import alone_in
from tests.conftest import TINY

Metarun = Callable[..., tuple[int, str, list[str]]]


def test_a_job_that_another_process_runs_is_skipped(metarun: Metarun) -> None:
    words = [*TINY, "shots=1,2", "hydra.sweep.dir=sweep"]
    assert metarun("-m", *words)[0] == 0
    Path("sweep/1/result.json").unlink()
    with alone_in(Path("sweep/1")):
        code, out, err = metarun("resume=sweep", *TINY[:2])
    assert (code, err) == (0, [])
    assert f"skipped: {Path.cwd() / 'sweep/1'}: process {os.getpid()} on " in out
    assert not Path("sweep/1/result.json").exists()


def test_a_job_that_another_process_has_finished_is_not_run_again(metarun: Metarun) -> None:
    """Two jobs with the same settings and folder stand for two processes."""
    words = [*TINY, "seed=0,0", "hydra.sweep.subdir=same", "hydra.sweep.dir=sweep"]
    code, out, err = metarun("-m", *words)
    assert (code, err) == (0, [])
    assert out.count("finished before") == 1


def test_jobs_are_counted_and_each_ends_with_its_result(metarun: Metarun) -> None:
    code, out, err = metarun("-m", *TINY, "shots=1,90,2", "hydra.sweep.dir=sweep")
    assert code == 1
    assert err[0].startswith("metarun: job 1: shots=90")
    lines = [line for line in out.splitlines() if line.startswith("job ")]
    assert [line.partition(":")[0] for line in lines] == [
        f"job {i} ({i + 1} of 3)" for i in range(3)
    ]
    results = re.findall(r"^  test [\d.]+ ± .* %  validation .* %  \d:\d\d$", out, re.MULTILINE)
    assert len(results) == 2
    _, out, _ = metarun("resume=sweep", *TINY[:2])
    assert "job 2 (3 of 3): " in out
    assert out.count("  finished before\n  test ") == 2


def test_links_in_the_folder_of_a_job_are_not_followed(metarun: Metarun) -> None:
    Path("elsewhere").mkdir()
    Path("sweep/0").mkdir(parents=True)
    Path("sweep/0/.hydra").symlink_to("../../elsewhere")
    code, _, err = metarun("-m", *TINY, "seed=0", "hydra.sweep.dir=sweep")
    assert (code, len(err)) == (1, 1)
    assert err[0].endswith("sweep/0/.hydra: is a link; a run writes only to its own files")
    assert list(Path("elsewhere").iterdir()) == []
