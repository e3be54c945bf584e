"""The meta-gradient of MAML, against finite differences and closed forms in float64."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from metarun.algorithms.anil import ANIL
from metarun.algorithms.clone_adapt import l2l
from metarun.algorithms.maml import MAML
from metarun.backbones.norm import BatchNorm
from metarun.errors import Refused
from tests.algorithms.gradients import finite_differences, gradient, same_as_wrapper, small, smooth
from tests.algorithms.learners import predict, ragged

learner = partial(smooth, MAML)


@pytest.mark.parametrize("batch_norm", ["transductive", "inductive"])
@pytest.mark.parametrize("inner_steps", [1, 3])
def test_the_meta_gradient_equals_finite_differences(inner_steps: int, batch_norm: str) -> None:
    model = learner(inner_lr=0.3, inner_steps=inner_steps, batch_norm=batch_norm)
    expected = finite_differences(model, small())
    torch.testing.assert_close(gradient(model, small()), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("first_order", [False, True])
def test_the_meta_gradient_equals_that_of_the_learn2learn_wrapper(first_order: bool) -> None:
    model = learner(inner_lr=0.3, inner_steps=2, first_order=first_order)
    wrapper = l2l.algorithms.MAML(copy.deepcopy(model.net), lr=0.3, first_order=first_order)
    same_as_wrapper(model, wrapper, [*wrapper.parameters()], steps=2)


def test_the_outer_loss_is_the_mean_over_tasks() -> None:
    """A sum would make the outer step proportional to the meta-batch."""
    model, batch = learner(), small(2)
    separate = torch.stack([gradient(model, [task]) for task in batch]).mean(0)
    torch.testing.assert_close(gradient(model, batch), separate)


def test_without_inner_steps_maml_is_ordinary_training() -> None:
    model, (task,) = learner(inner_steps=0), small(1)
    actual = gradient(model, [task])
    for layer in model.modules():
        if isinstance(layer, BatchNorm):
            layer.statistics = "batch"
    loss = F.cross_entropy(model.net(task.query.x), task.query.y)
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(loss, [*model.parameters()])])
    torch.testing.assert_close(actual, expected)


def test_prediction_uses_the_inner_steps_of_evaluation() -> None:
    """Three explicit gradient steps give the same logits."""
    model, (task,) = learner(hidden=(), inner_lr=0.5, test_inner_steps=3), small(1)
    w, b = (p.detach().clone().requires_grad_() for p in model.net[1].parameters())
    for _ in range(3):
        loss = F.cross_entropy(task.support.x @ w.T + b, task.support.y)
        dw, db = torch.autograd.grad(loss, (w, b))
        w, b = (w - 0.5 * dw).requires_grad_(), (b - 0.5 * db).requires_grad_()
    torch.testing.assert_close(predict(model, [task])[0], (task.query.x @ w.T + b).detach())


@pytest.mark.parametrize("batch_norm", ["transductive", "inductive"])
def test_tasks_of_different_sizes_have_equal_weight(batch_norm: str) -> None:
    model, batch = learner(inner_lr=0.3, batch_norm=batch_norm), ragged()
    actual = gradient(model, batch)
    torch.testing.assert_close(actual, finite_differences(model, batch), rtol=1e-5, atol=1e-8)
    separate = torch.stack([gradient(model, [task]) for task in batch]).mean(0)
    torch.testing.assert_close(actual, separate)


def test_with_the_head_alone_it_is_anil() -> None:
    """`ANIL` is another implementation, which computes the features only once."""
    options = dict(inner_lr=0.5, inner_steps=3)
    part, anil = smooth(MAML, adapts=["head"], **options), smooth(ANIL, **options)
    torch.testing.assert_close(gradient(part, small()), gradient(anil, small()))


def test_only_the_named_parts_adapt() -> None:
    """Every other weight has its initial value after the inner loop, and a gradient."""
    model = smooth(MAML, adapts=["layers"], inner_lr=0.5)
    weights = model.fast_weights(small()[0].support)
    body = {name for name, _ in model.net.named_parameters() if name.startswith("0.layers.")}
    assert set(weights) == body
    expected = finite_differences(model, small())
    torch.testing.assert_close(gradient(model, small()), expected, rtol=1e-5, atol=1e-8)
    assert model.net[1].weight.grad.abs().max() > 0


@pytest.mark.parametrize("parts", [[], ["decision"], ["head", "bodies"]])
def test_a_part_that_the_network_lacks_is_refused(parts: list[str]) -> None:
    with pytest.raises(Refused, match=r"algo\.adapts=.*: should be parts of .*: layers, head"):
        smooth(MAML, adapts=parts)
