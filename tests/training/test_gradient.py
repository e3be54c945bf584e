"""The meta-gradient is that of the mean over tasks, and draws belong to tasks."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from metarun import CLASSIFICATION, Examples, Judged, Learner, Model, Spec, Task
from metarun.algorithms.baseline import Baseline
from metarun.algorithms.maml import MAML
from metarun.algorithms.protonet import ProtoNet
from metarun.backbones.mlp import MLP
from metarun.training.gradient import accumulate, adapt, seed_draws
from tests.conftest import tasks

SPEC = Spec((6,), 3, CLASSIFICATION, shots=2, classes=10)


def given(count: int = 3, **sizes: int) -> list[Task]:
    return tasks(count, shape=(6,), dtype=torch.float64, **sizes)


def gradient(learner: Learner, some: list[Task]) -> Tensor:
    learner = copy.deepcopy(learner)  # running averages of training stay as they are
    accumulate(learner, some, 0)
    return torch.cat([p.grad.flatten() for p in learner.parameters()])


def made(kind: type[Learner]) -> Learner:
    torch.manual_seed(0)
    return kind(MLP((6,), hidden=[5]), SPEC).double()


@pytest.mark.parametrize("kind", [ProtoNet, MAML])
def test_the_mean_over_tasks_is_differentiated(kind: type[Learner]) -> None:
    learner, some = made(kind), given()
    each = torch.stack([gradient(learner, [task]) for task in some])
    torch.testing.assert_close(gradient(learner, some), each.mean(0))


def test_a_joint_learner_sees_all_tasks_as_one_batch() -> None:
    learner, some = made(Baseline), given()
    found = gradient(learner, some)
    x = torch.cat([torch.cat([t.support.x, t.query.x]) for t in some])
    y = torch.cat([t.classes[torch.cat([t.support.y, t.query.y])] for t in some])
    nn.functional.cross_entropy(learner.head(learner.backbone(x)), y).backward()
    torch.testing.assert_close(found, torch.cat([p.grad.flatten() for p in learner.parameters()]))


class Noisy(Learner):
    """Its loss is a number that it draws."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def outer_loss(self, task: Task) -> Judged:
        loss = self.weight * torch.rand(())
        return Judged(loss, {"loss": loss.detach()})

    def adapt(self, support: Examples) -> Model:
        factor = torch.rand(())
        return lambda x: factor * x


def test_what_is_drawn_for_a_task_depends_on_its_number_and_the_seed_alone() -> None:
    def drawn(some: list[Task], seed: int = 0) -> list[float]:
        return [float(scores["loss"]) for scores in accumulate(Noisy(), some, seed)]

    some = given(4)
    together = drawn(some)
    assert together == [value for task in some for value in drawn([task])]
    assert together[::-1] == drawn(some[::-1])
    assert len(set(together)) == 4
    assert together != drawn(some, seed=1)
    seed_draws(0, some[2].number)
    assert float(torch.rand(())) == together[2]


def test_in_evaluation_too() -> None:
    some, x = given(3), torch.ones(1)
    together = [float(model(x)) for model in adapt(Noisy(), some)]
    assert together == [float(adapt(Noisy(), [task])[0](x)) for task in some]
    assert len(set(together)) == 3
