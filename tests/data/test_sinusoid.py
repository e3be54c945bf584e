"""Waves as published, checked against an independent implementation."""

from __future__ import annotations

import math

import numpy as np
import torch

from metarun.data.sinusoid import Sinusoid
from metarun.tasks.gathered import source_of
from metarun.tasks.sampler import Sampler

SPLITS = Sinusoid().load()


def frozen(shots: int = 10, queries: int = 7, split: str = "test") -> Sampler:
    source = source_of(SPLITS[split], (1, shots, queries), dtype=torch.float64)
    return Sampler.frozen(source, split, 0)


def test_an_episode_is_k_and_q_points_of_one_wave() -> None:
    for task in frozen().tasks(range(3)):
        assert task.support.x.shape == task.support.y.shape == (10, 1)
        assert task.query.x.shape == task.query.y.shape == (7, 1)
        assert task.classes is None
        wave = frozen().choose(task.number)
        for part in (task.support, task.query):
            for (a,), (b,) in zip(part.x.tolist(), part.y.tolist(), strict=True):
                assert b == float(wave.amplitude) * math.sin(a - float(wave.phase))


def test_support_and_query_share_no_point() -> None:
    for task in frozen().tasks(range(50)):
        assert len(set(torch.cat([task.support.x, task.query.x]).flatten().tolist())) == 17


def test_amplitudes_phases_and_points_fill_the_published_ranges() -> None:
    sampler = Sampler.training(source_of(SPLITS["train"], (1, 5, 5)), 0)
    waves = [sampler.choose(i) for i in range(2000)]
    for drawn, low, high in (
        (np.array([w.amplitude for w in waves]), 0.1, 5.0),
        (np.array([w.phase for w in waves]), 0.0, math.pi),
        (np.concatenate([w.x for w in waves]), -5.0, 5.0),
    ):
        assert low <= drawn.min() < low + 0.01 * (high - low)
        assert high >= drawn.max() > high - 0.01 * (high - low)
        # the mean of a uniform draw, within five standard errors
        error = (high - low) / math.sqrt(12 * drawn.size)
        assert abs(drawn.mean() - (low + high) / 2) < 5 * error


def test_splits_draw_other_waves_and_the_hash_names_them() -> None:
    assert float(frozen(split="val").choose(0).phase) != float(frozen().choose(0).phase)
    digests = {frozen(split=s).sha256(5) for s in ("val", "test")}
    assert len(digests | {frozen(shots=9).sha256(5)}) == 3
    assert frozen().sha256(5) in digests


def test_attributes_of_a_split() -> None:
    assert Sinusoid().facts() == {"train": None, "val": None, "test": None}
    for split in SPLITS.values():
        assert (split.shape, split.outputs, split.facts) == ((1,), 1, None)
        assert len(split.sha256) == 64
