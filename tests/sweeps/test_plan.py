"""The jobs of a sweep are those of Hydra's own sweeper."""

from __future__ import annotations

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

from metarun.config.groups import hydra_for
from metarun.config.overrides import parse
from metarun.sweeps.plan import _combinations


@pytest.mark.parametrize(
    "words",
    [
        ["shots=1"],
        ["shots=1,5", "algo=maml,protonet", "seed=range(3)"],
        ["tags=[a,b],[c]", "+x='a b','c,d'", "++data.noise=1e1,2"],
        ["algo=glob(*maml)", "optimizer.lr=sort(0.2,0.1)", "~tags"],
        ["shots=1,2", "ways=5", "shots=7", "ways=2,3"],
        ["seed=range(5,1,-2)", "data.root='/a b/c'", "tags=choice([])"],
    ],
)
def test_every_combination_is_a_job(words: list[str]) -> None:
    parsed, mistakes = parse(hydra_for(None).config_loader, words, sweep=True)
    assert not mistakes
    (expected,) = BasicSweeper.split_arguments(parsed, None)
    assert [list(job) for job in _combinations(parsed)] == expected
