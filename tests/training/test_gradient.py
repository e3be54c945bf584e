"""The meta-gradient is that of the mean loss over tasks; random draws depend on the task only."""

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


def make_tasks(count: int = 3, **sizes: int) -> list[Task]:
    return tasks(count, shape=(6,), dtype=torch.float64, **sizes)


def gradient(learner: Learner, some: list[Task]) -> Tensor:
    learner = copy.deepcopy(learner)  # leaves the running averages unchanged
    accumulate(learner, some, 0)
    return torch.cat([p.grad.flatten() for p in learner.parameters()])


def make_learner(kind: type[Learner]) -> Learner:
    torch.manual_seed(0)
    return kind(MLP((6,), hidden=[5]), SPEC).double()


@pytest.mark.parametrize("kind", [ProtoNet, MAML])
def test_the_gradient_is_the_mean_over_tasks(kind: type[Learner]) -> None:
    learner, some = make_learner(kind), make_tasks()
    each = torch.stack([gradient(learner, [task]) for task in some])
    torch.testing.assert_close(gradient(learner, some), each.mean(0))


def test_a_joint_learner_gets_all_tasks_as_one_batch() -> None:
    learner, some = make_learner(Baseline), make_tasks()
    actual = gradient(learner, some)
    x = torch.cat([torch.cat([t.support.x, t.query.x]) for t in some])
    y = torch.cat([t.classes[torch.cat([t.support.y, t.query.y])] for t in some])
    nn.functional.cross_entropy(learner.head(learner.backbone(x)), y).backward()
    torch.testing.assert_close(actual, torch.cat([p.grad.flatten() for p in learner.parameters()]))


class Noisy(Learner):
    """The loss is a random number."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def outer_loss(self, task: Task) -> Judged:
        loss = self.weight * torch.rand(())
        return Judged(loss, {"loss": loss.detach()})

    def adapt(self, support: Examples) -> Model:
        factor = torch.rand(())
        return lambda x: factor * x


def test_random_draws_depend_on_the_number_of_the_task_and_the_seed_only() -> None:
    def drawn(some: list[Task], seed: int = 0) -> list[float]:
        return [float(scores["loss"]) for scores in accumulate(Noisy(), some, seed)]

    some = make_tasks(4)
    together = drawn(some)
    assert together == [value for task in some for value in drawn([task])]
    assert together[::-1] == drawn(some[::-1])
    assert len(set(together)) == 4
    assert together != drawn(some, seed=1)
    seed_draws(0, some[2].number)
    assert float(torch.rand(())) == together[2]


def test_random_draws_in_evaluation_depend_on_the_task_only() -> None:
    some, x = make_tasks(3), torch.ones(1)
    together = [float(model(x)) for model in adapt(Noisy(), some)]
    assert together == [float(adapt(Noisy(), [task])[0](x)) for task in some]
    assert len(set(together)) == 3
