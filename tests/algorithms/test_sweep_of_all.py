"""A sweep over all learners."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.algorithms.learners import SHIPPED, WITHOUT_TRAINING
from tests.conftest import TINY

ALGORITHMS = {
    "anil",
    "baseline",
    "baseline_pp",
    "fomaml",
    "lstm",
    "maml",
    "matchingnet",
    "linear_probe",
    "meta_baseline",
    "meta_sgd",
    "nearest_centroid",
    "nearest_neighbour",
    "protonet",
    "relationnet",
    "reptile",
    "siamese",
    "simpleshot",
}


def test_one_sweep_compares_all_learners_in_one_table(
    metarun: Callable[..., tuple[int, str, list[str]]],
) -> None:
    assert set(SHIPPED) >= ALGORITHMS
    words = [word for word in TINY if "filters" not in word]  # not a key of backbone=identity
    words += ["steps=2", "meta_batch=1", "test_episodes=4", f"algo={','.join(SHIPPED)}"]
    code, out, err = metarun("-m", *words, "hydra.sweep.dir=all")
    assert (code, err) == (0, [])
    rows = [line.split()[:2] for line in out.splitlines()]
    hashes = set()
    for number, name in enumerate(SHIPPED):
        result = json.loads(Path("all", str(number), "result.json").read_text())
        assert result["run"]["algo"] == name
        assert result["run"]["steps"] == (0 if name in WITHOUT_TRAINING else 2)
        assert result["test"]["episodes"] == 4
        assert [str(number), name] in rows
        hashes.add(result["protocol"]["episodes_sha256"])
    assert len(hashes) == 1  # all learners have the same test episodes
