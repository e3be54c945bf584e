"""Seeds: what depends on them, what does not, and the mean over them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from metarun.config import compose, plain
from metarun.display import console
from metarun.parts import Parts, assemble
from metarun.seeds import over_seeds
from tests.conftest import OWN


def parts(*typed: str) -> Parts:
    words = ["data=blobs", "debug=tiny", "backbone.filters=4", "threads=1", *typed]
    return assemble(plain(compose(words, str(OWN))), [OWN])


def weights(*typed: str) -> dict[str, torch.Tensor]:
    return parts(*typed).learner.state_dict()


def training_episodes(*typed: str) -> list[tuple[np.ndarray, ...]]:
    sampler = parts(*typed).training()
    return [sampler.pick(i) for i in range(5)]


def same(one: Any, two: Any) -> bool:
    pairs = zip(one, two, strict=True)
    return all(all(map(np.array_equal, a, b)) for a, b in pairs)


HELD = ("train_ways=5", "train_shots=1", "train_queries=3")
ELSEWHERE = (
    *("shots=2", "queries=1", "steps=9", "eval_seed=1", "val_episodes=2", "test_episodes=3"),
    *("meta_batch=5", "optimizer.lr=0.5", "eval_every=1", "log_every=3"),
)


@pytest.mark.parametrize("algo", ["maml", "protonet", "relationnet", "lstm"])
def test_initial_weights_depend_on_the_seed_and_the_shapes_alone(algo: str) -> None:
    other = (*ELSEWHERE, "data.classes=60", "data.noise=1.0")
    before, after = weights(f"algo={algo}", *HELD), weights(f"algo={algo}", *HELD, *other)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_backbone_starts_alike_under_every_head() -> None:
    """More classes give `baseline` a larger head, behind the same first weights."""
    before, after = (weights("algo=baseline", f"data.classes={n}") for n in (36, 60))
    backbone = [key for key in before if key.startswith("backbone.")]
    assert backbone
    assert all(torch.equal(before[key], after[key]) for key in backbone)


@pytest.mark.parametrize(
    "other", [ELSEWHERE, ("ways=3",), ("algo=maml", *HELD), ("precision=float64",)]
)
def test_training_episodes_depend_on_the_seed_alone(other: tuple[str, ...]) -> None:
    assert same(training_episodes(*HELD), training_episodes(*HELD, "meta_batch=2", *other))


def test_another_seed_is_another_start_and_other_episodes_but_the_same_test() -> None:
    one, two = parts("seed=0"), parts("seed=1")
    first, second = one.learner.state_dict(), two.learner.state_dict()
    assert any(not torch.equal(first[key], second[key]) for key in first)
    assert not same(training_episodes("seed=0"), training_episodes("seed=1"))
    for split in ("val", "test"):
        assert one.frozen(split).sha256(20) == two.frozen(split).sha256(20)


def test_training_episodes_are_never_those_of_an_evaluation() -> None:
    known = parts("seed=3", "eval_seed=3")
    training = known.training()
    for split in ("val", "test"):
        frozen = known.frozen(split)
        assert not same([training.pick(i) for i in range(5)], [frozen.pick(i) for i in range(5)])


def finished(seed: int, mean: float, **more: Any) -> dict[str, Any]:
    score = {"accuracy": {"mean": mean, "ci95": 0.001}}
    return {
        "status": "completed",
        "test": score,
        "val": score,
        "protocol": {"data": "glyphs", "ways": 5, "shots": 1},
        "run": {"algo": "maml", "seed": seed},
        **more,
    }


def printed(runs: list[tuple[list[str], dict[str, Any]]]) -> list[str]:
    screen, table = console(), over_seeds(runs)
    with screen.capture() as capture:
        screen.print(table if table is not None else "none")
    return [" ".join(line.split()) for line in capture.get().splitlines() if line.strip()]


def test_the_interval_over_seeds_is_students_t_over_their_means() -> None:
    means = [0.90, 0.93, 0.91]
    runs = [(["metarun", f"seed={s}"], finished(s, mean)) for s, mean in enumerate(means)]
    low, high = stats.t.interval(0.95, 2, loc=sum(means) / 3, scale=stats.sem(means))
    line = printed(runs)[-1]
    assert f"91.33 ± {50 * (high - low):.2f} %" in line
    assert line.endswith("0 1 2")


def test_only_what_differs_in_nothing_but_the_seed_is_put_together() -> None:
    runs = [
        (["metarun", "shots=1", "seed=0"], finished(0, 0.5)),
        (["metarun", "shots=5", "++seed=0"], finished(0, 0.8)),
        (["metarun", "shots=1", "seed=1"], finished(1, 0.6)),
        (["metarun", "seed=1", "shots=5"], finished(1, 0.9)),
        (["metarun", "shots=20", "seed=1"], finished(1, 0.1)),
        (["metarun", "shots=1", "seed=2"], {"status": "failed"}),
        (["metarun", "shots=1", "seed=3"], finished(3, 0.0, status="interrupted")),
    ]
    one, five = printed(runs)[-2:]
    assert one.startswith("shots=1 maml glyphs 5-way 1-shot 55.00 ±")
    assert five.startswith("shots=5 maml glyphs 5-way 1-shot 85.00 ±")
    assert one.endswith("0 1")


def test_without_two_seeds_of_a_setting_there_is_no_second_table() -> None:
    assert printed([(["shots=1", "seed=0"], finished(0, 0.5)), ([], {"status": "failed"})]) == [
        "none"
    ]
    again = [(["seed=0"], finished(0, 0.5)), (["++seed=0"], finished(0, 0.5))]
    assert printed(again) == ["none"]


def test_squared_errors_are_averaged_as_they_are() -> None:
    error = {"mse": {"mean": 0.5, "ci95": 0.1}}
    more = {"mse": {"mean": 0.7, "ci95": 0.1}}
    runs = [
        (["seed=0"], finished(0, 0, test=error, val=error)),
        (["seed=1"], finished(1, 0, test=more, val=error)),
    ]
    assert "0.6000 ± 1.2706" in printed(runs)[-1]  # t(1) = 12.706 times 0.1
