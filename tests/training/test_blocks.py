"""A step is divided into blocks of tasks; what they contribute is added in their order."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from metarun import CLASSIFICATION, Judged, Learner, Spec, Task
from metarun.algorithms.baseline import Baseline
from metarun.algorithms.maml import MAML
from metarun.algorithms.protonet import ProtoNet
from metarun.algorithms.reptile import Reptile
from metarun.backbones.mlp import MLP
from metarun.backbones.norm import BatchNorm
from metarun.training.blocks import blocks, combine, obstacle
from metarun.training.gradient import accumulate, part
from tests.conftest import tasks

SPEC = Spec((6,), 3, CLASSIFICATION, shots=2, classes=10)


def make(kind: type[Learner], layer: nn.Module | None = None) -> Learner:
    torch.manual_seed(0)
    net = nn.Sequential(MLP((6,), hidden=[5]), layer or nn.Identity())
    net.features = 5
    return kind(net, SPEC).double()


def batch(count: int) -> list[Task]:
    return tasks(count, shape=(6,), dtype=torch.float64)


def sizes(learner: Learner, count: int) -> list[int]:
    return [len(block) for block in blocks(learner, count)]


def test_a_step_has_at_most_eight_blocks_of_contiguous_tasks() -> None:
    learner = make(MAML)
    assert sizes(learner, 1) == [1]
    assert sizes(learner, 4) == [1] * 4
    assert sizes(learner, 16) == [2] * 8
    assert sizes(learner, 25) == [4] * 6 + [1]
    assert [i for block in blocks(learner, 25) for i in block] == list(range(25))


def test_with_vmap_a_block_is_computed_together() -> None:
    learner = make(MAML)
    learner.engine, learner.tasks_at_once = "vmap", 16
    assert (sizes(learner, 32), sizes(learner, 40)) == ([16, 16], [16, 16, 8])


@pytest.mark.parametrize(
    ("learner", "reason"),
    [
        (make(Baseline), "its loss needs all tasks of a step at once"),
        (make(Reptile), "a task starts from the state that the task before has left"),
    ],
)
def test_learners_whose_tasks_depend_on_each_other_have_one_block(
    learner: Learner, reason: str
) -> None:
    assert (sizes(learner, 9), obstacle(learner)) == ([9], reason)


class Counting(nn.Identity):
    """A layer with a buffer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))


@pytest.mark.parametrize(
    "layer",
    [Counting(), nn.BatchNorm1d(5, momentum=None), nn.Sequential(nn.Identity(), Counting())],
)
def test_an_unknown_buffer_keeps_a_step_in_one_block(layer: nn.Module) -> None:
    """The cumulative average of `momentum=None` depends on the number of earlier updates."""
    learner = make(ProtoNet, layer)
    assert sizes(learner, 4) == [4]
    assert "may pass from task to task" in obstacle(learner)


@pytest.mark.parametrize(
    "layer",
    [BatchNorm(5), BatchNorm(5, momentum=0.3), nn.BatchNorm1d(5), nn.Identity()],
    ids=str,
)
def test_running_averages_are_those_of_one_task_after_another(layer: nn.Module) -> None:
    learner, some = make(ProtoNet, layer), batch(11)
    assert obstacle(learner) is None
    in_order = copy.deepcopy(learner)
    for task in some:
        with torch.no_grad():
            in_order.outer_loss(task)
    for _ in range(2):  # the second step starts from other averages
        for task in some:
            with torch.no_grad():
                in_order.outer_loss(task)
        accumulate(learner, some, 0)
    accumulate(learner, some, 0)
    for (name, expected), actual in zip(in_order.named_buffers(), learner.buffers(), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12, msg=name)


def state(learner: Learner) -> list[Tensor]:
    return [*learner.state_dict().values(), *(p.grad for p in learner.parameters())]


@pytest.mark.parametrize("kind", [MAML, ProtoNet, Baseline])
def test_parts_computed_elsewhere_give_the_same_bits(kind: type[Learner]) -> None:
    learner, some = make(kind, BatchNorm(5)), batch(9)
    elsewhere = [copy.deepcopy(learner) for _ in range(8)]
    accumulate(whole := copy.deepcopy(learner), some, 0)
    parts = [
        part(other, some[block.start : block.stop], 9, 0)
        for other, block in zip(elsewhere, blocks(learner, 9), strict=False)
    ]
    combine(learner, parts)
    assert all(torch.equal(a, b) for a, b in zip(state(whole), state(learner), strict=True))


@pytest.mark.parametrize("kind", [MAML, ProtoNet])
def test_a_part_leaves_the_learner_as_it_was(kind: type[Learner]) -> None:
    learner = make(kind, BatchNorm(5))
    before = copy.deepcopy(learner.state_dict())
    part(learner, batch(2), 4, 0)
    assert all(torch.equal(before[name], t) for name, t in learner.state_dict().items())
    assert all(parameter.grad is None for parameter in learner.parameters())


class Failing(Learner):
    """Its second task fails, after it has updated the running averages."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.calls = BatchNorm(6), 0

    def outer_loss(self, task: Task) -> Judged:
        self.calls += 1
        loss = self.norm(task.query.x).sum()
        if self.calls == 2:
            raise ArithmeticError
        return Judged(loss, {"loss": loss.detach()})


def test_a_task_that_fails_leaves_the_learner_as_it_was() -> None:
    learner = Failing().double()
    before = copy.deepcopy(learner.state_dict())
    with pytest.raises(ArithmeticError):
        accumulate(learner, batch(4), 0)
    assert all(torch.equal(before[name], t) for name, t in learner.state_dict().items())


def test_a_parameter_without_a_gradient_has_none() -> None:
    """Weight decay would change it otherwise."""
    learner = make(ProtoNet)
    learner.unused = nn.Parameter(torch.ones(2))
    accumulate(learner, batch(4), 0)
    assert learner.unused.grad is None
