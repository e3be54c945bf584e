"""A sweep over all learners."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.algorithms.learners import SHIPPED
from tests.conftest import TINY

ALGORITHMS = {
    "anil",
    "baseline",
    "baseline_pp",
    "fomaml",
    "lstm",
    "maml",
    "matchingnet",
    "meta_sgd",
    "protonet",
    "relationnet",
    "reptile",
    "siamese",
}


def test_one_sweep_compares_all_learners_in_one_table(
    metarun: Callable[..., tuple[int, str, list[str]]],
) -> None:
    assert set(SHIPPED) >= ALGORITHMS
    code, out, err = metarun(
        "-m", *TINY, f"algo={','.join(SHIPPED)}", "test_episodes=4", "hydra.sweep.dir=all"
    )
    assert (code, err) == (0, [])
    rows = [line.split()[:2] for line in out.splitlines()]
    hashes = set()
    for number, name in enumerate(SHIPPED):
        result = json.loads(Path("all", str(number), "result.json").read_text())
        assert result["run"]["algo"] == name
        assert result["test"]["episodes"] == 4
        assert [str(number), name] in rows
        hashes.add(result["protocol"]["episodes_sha256"])
    assert len(hashes) == 1  # all learners have the same test episodes
