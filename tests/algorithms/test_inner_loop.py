"""The inner loop, and the gradient of a batch of tasks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from metarun.algorithms import Learner
from metarun.algorithms.inner_loop import Adapted, Normalised, adapted
from metarun.backbones.norm import BatchNorm
from metarun.tasks.task import Evidence
from metarun.testing import predict, tasks
from tests.conftest import scores_of


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 4), BatchNorm(4), nn.Tanh(), nn.Linear(4, 3)).double()


def test_adaptation_is_gradient_descent_on_a_copy() -> None:
    model, support = net(), tasks(shape=(6,))[0].support
    before = [p.detach().clone() for p in model.parameters()]
    actual = adapted(model, support, steps=2, lr=0.3, first_order=True)
    plain = net()
    for _ in range(2):
        loss = F.cross_entropy(plain(support.x), support.y)
        gradients = torch.autograd.grad(loss, [*plain.parameters()])
        with torch.no_grad():
            for p, g in zip(plain.parameters(), gradients, strict=True):
                p -= 0.3 * g
    for p, q in zip(actual.values(), plain.parameters(), strict=True):
        torch.testing.assert_close(p, q)
    assert all(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))


def test_steps_after_the_first_may_have_another_size() -> None:
    model, support = net(), tasks(shape=(6,))[0].support
    actual = adapted(model, support, steps=3, lr=0.3, later_lr=0.1, first_order=True)
    expected = net()
    for steps, lr in ((1, 0.3), (2, 0.1)):
        weights = adapted(expected, support, steps=steps, lr=lr, first_order=True)
        expected.load_state_dict({**expected.state_dict(), **weights})
    torch.testing.assert_close(actual, dict(expected.named_parameters()))


def test_each_parameter_entry_has_its_own_step_size() -> None:
    model, support = net(), tasks(shape=(6,))[0].support
    lrs = [torch.zeros_like(p) for p in model.parameters()]
    lrs[0][1, 2] = 0.5
    one = adapted(model, support, steps=1, lr=lrs, first_order=True)
    every = adapted(model, support, steps=1, lr=0.5, first_order=True)
    for p, a, b in zip(model.parameters(), one.values(), every.values(), strict=True):
        expected = p.detach().clone()
        if p is model[0].weight:
            expected[1, 2] = b[1, 2]
        torch.testing.assert_close(a.detach(), expected)


def test_it_adapts_under_no_grad() -> None:
    model, task = net(), tasks(shape=(6,))[0]
    options = {"steps": 1, "lr": 0.3, "first_order": True}
    with torch.no_grad():
        actual = adapted(model, task.support, **options)
        outputs = Normalised(Adapted(model, actual), task.support, Learner())(task.query.x)
        assert not outputs.requires_grad
    expected = adapted(model, task.support, **options)
    assert torch.equal(actual["0.weight"], expected["0.weight"])


class Unadapted(Learner):
    """A layer that ignores the support."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(6, 3).double()

    def adapt(self, support: Evidence) -> nn.Module:
        return self.net


def test_the_gradient_is_the_mean_over_tasks_and_each_task_has_scores() -> None:
    """A sum over tasks would make the outer step proportional to the meta-batch."""
    learner, batch = Unadapted(), tasks(3, shape=(6,))
    scores = scores_of(learner, batch)
    logits = [learner.net(task.query.x) for task in batch]
    losses = torch.stack(
        [F.cross_entropy(z, t.query.y) for z, t in zip(logits, batch, strict=True)]
    )
    torch.testing.assert_close(scores["loss"], losses.detach())
    (expected,) = torch.autograd.grad(losses.mean(), learner.net.weight)
    torch.testing.assert_close(learner.net.weight.grad, expected)
    actual = predict(learner, batch)
    torch.testing.assert_close(actual, torch.stack(logits).detach())
    assert not actual.requires_grad
