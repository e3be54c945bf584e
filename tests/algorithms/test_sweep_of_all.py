"""One command compares every learner there is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.algorithms.learners import SHIPPED
from tests.conftest import TINY

FOUNDING = {
    *("maml", "fomaml", "anil", "meta_sgd", "reptile", "lstm", "baseline", "baseline_pp"),
    *("protonet", "matchingnet", "relationnet", "siamese"),
}


def test_every_learner_runs_through_the_same_loop_into_one_table(
    metarun: Callable[..., tuple[int, str, list[str]]],
) -> None:
    assert set(SHIPPED) >= FOUNDING
    code, out, err = metarun(
        "-m", *TINY, f"algo={','.join(SHIPPED)}", "test_episodes=4", "hydra.sweep.dir=all"
    )
    assert (code, err) == (0, [])
    rows = [line.split()[:2] for line in out.splitlines()]
    hashes = set()
    for number, name in enumerate(SHIPPED):
        found = json.loads(Path("all", str(number), "result.json").read_text())
        assert found["run"]["algo"] == name
        assert found["test"]["episodes"] == 4
        assert [str(number), name] in rows
        hashes.add(found["protocol"]["episodes_sha256"])
    assert len(hashes) == 1  # the same frozen episodes for all
