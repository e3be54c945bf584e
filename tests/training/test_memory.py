"""The memory of a step is estimated before it is needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from metarun import testing
from metarun.training import memory
from metarun.training.gradient import accumulate
from tests.algorithms.learners import SHIPPED, build
from tests.conftest import TINY

Metarun = Callable[..., tuple[int, str, list[str]]]
CONTENT = {"reptile", "siamese"}  # learners whose step depends on values
SHORT = [*TINY[:4], "threads=1", "out=run"]


def free(patch: pytest.MonkeyPatch, size: float) -> None:
    patch.setattr(memory, "free_memory", lambda device: size)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["backbone.filters=1000000"],
            "algo=protonet backbone=conv4: the weights need 108.0 TB of memory, and 8.0 GB are "
            "free; use a smaller network",
        ),
        (["backbone=mlp", "backbone.hidden=[1000000,1000000]"], "the weights need 4.0 TB"),
        (["algo=lstm", "algo.hidden=10000000"], "the weights need "),
        (["algo=relationnet", "algo.filters=1000000"], "the weights need "),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    metarun: Metarun, monkeypatch: pytest.MonkeyPatch, words: list[str], line: str
) -> None:
    free(monkeypatch, 8e9)
    code, out, err = metarun(*SHORT, *words)
    assert (code, out, len(err)) == (2, "", 1)
    assert line in err[0]
    assert not Path("run").exists()


def test_a_step_that_may_not_fit_is_reported_before_anything_is_written(
    metarun: Metarun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise RuntimeError("out of memory")

    free(monkeypatch, 16e9)
    monkeypatch.setattr("metarun.train.try_first_step", stop)
    _, _, err = metarun(*SHORT, "algo=lstm", "backbone=resnet12")
    before, needed, after = err[0].partition(" a training step may need 6")
    assert before == "metarun: algo=lstm backbone=resnet12:"
    assert needed
    assert after.endswith(" GB of memory, and 16.0 GB are free")
    assert not Path("run").exists()


def test_an_everyday_run_gets_no_warning_and_no_computation(
    metarun: Metarun, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 4e9)
    monkeypatch.setattr(memory, "_kept", None)
    code, _, err = metarun(*TINY, "out=run", "steps=1")
    assert (code, err) == (0, [])


@pytest.mark.parametrize("algo", [name for name in SHIPPED if not name.startswith("nearest")])
def test_a_step_without_content_keeps_tensors_of_the_same_size(algo: str) -> None:
    """The step with content is the truth."""
    learner = build(algo, "transductive").train()
    task = testing.tasks()[0]
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        accumulate(learner, [task], 0)
    truth = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    estimate = memory._kept(build(algo, "transductive").train().to("meta"), task)
    if algo in CONTENT:
        assert estimate <= truth
    else:
        assert 0.6 * truth < estimate < 1.5 * truth


def test_the_free_memory_is_less_than_that_of_the_machine() -> None:
    assert 1e8 < memory.free_memory(torch.device("cpu")) < 1e14


@pytest.mark.parametrize("threads", [1025, 2**63])
def test_too_many_threads_are_refused(metarun: Metarun, threads: int) -> None:
    code, _, err = metarun(*TINY, f"threads={threads}", "out=run")
    assert code == 2
    assert err == [f"metarun: threads={threads}: should be less than or equal to 1024"]
    assert not Path("run").exists()
