"""Properties of all learners: those in `conf/algo` and a custom one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import pytest
import torch
from torch import Tensor

from metarun import testing
from metarun.algorithms import Learner
from metarun.tasks.task import Examples, Inputs, Judged, Model, Task
from metarun.testing import Make, build
from tests.algorithms.learners import (
    SHIPPED,
    STATISTICS,
    WITHOUT_TRAINING,
    predict,
    relabelled,
)
from tests.conftest import OWN

test_custom = testing.of("nearest_item", config_dir=str(OWN))


@pytest.mark.parametrize(("name", "batch_norm"), STATISTICS)
@pytest.mark.parametrize("check", testing.CHECKS, ids=lambda check: check.__name__)
def test_shipped(check: Callable[[Make, str], None], batch_norm: str, name: str) -> None:
    check(partial(build, name), batch_norm)


@pytest.mark.parametrize(("name", "batch_norm"), STATISTICS)
def test_a_model_does_not_depend_on_other_tasks_of_its_batch(batch_norm: str, name: str) -> None:
    learner, batch = build(name, batch_norm), testing.tasks(3, seed=1)
    with torch.no_grad():
        models = learner.adapt_all([task.support for task in batch])
        for task, model in zip(batch, models, strict=True):
            alone = learner.adapt(task.support)
            torch.testing.assert_close(model(task.query.x), alone(task.query.x))


GRADIENT_BASED = ("anil", "fomaml", "lstm", "maml", "meta_sgd", "reptile")
BASELINES = ("baseline", "baseline_pp", "linear_probe", "simpleshot")


@pytest.mark.parametrize("name", SHIPPED)
def test_attributes_of_a_learner(name: str) -> None:
    learner = build(name, "inductive")
    assert learner.learns == (name not in WITHOUT_TRAINING)
    assert learner.per_label_head == (name in GRADIENT_BASED)
    assert learner.needs_labels == (name not in GRADIENT_BASED)
    acts = name in ("fomaml", "lstm", "maml", "meta_sgd")
    assert learner.takes == (("examples", "environments") if acts else ("examples",))
    assert learner.joint == (name in BASELINES)
    assert learner.sequential == (name == "reptile")
    assert learner.slope == (name not in ("lstm", "reptile"))
    assert learner.batch_norm == "inductive"
    if learner.learns:
        assert build(name, "transductive").batch_norm == "transductive"


def test_a_metric_learner_does_not_depend_on_the_labels_of_classes() -> None:
    learner, batch = build("protonet", "inductive"), testing.tasks(seed=1)
    logits = predict(learner, batch)
    new = torch.tensor([2, 0, 1])  # label 0 becomes 2, …
    torch.testing.assert_close(predict(learner, relabelled(batch, new))[..., new], logits)


class Faulty(Learner):
    """A learner with a choice of defects, one for each check."""

    def __init__(self, fault: str, batch_norm: str) -> None:
        super().__init__()
        self.inner, self.fault = build("protonet", "inductive"), fault
        self.batch_norm, self.adapts_alike = batch_norm, fault == "adapts to batch norm"
        self.register_buffer("seen", torch.zeros((), dtype=torch.float64))

    def outer_loss(self, task: Task) -> Judged:
        loss, scores = self.inner.outer_loss(task)
        return Judged(0 * loss if self.fault == "learns nothing" else loss, scores)

    def adapt(self, support: Examples) -> Model:
        return self.adapt_all([support])[0]

    def adapt_all(self, supports: Sequence[Examples]) -> list[Model]:
        if self.fault == "remembers":
            self.seen += 1
        models = self.inner.adapt_all(supports)
        if self.fault == "adapts to batch norm":
            shift = torch.arange(3) * (self.batch_norm == "transductive")
            models = [lambda x, model=model: model(x) + shift for model in models]
        pairs = zip(supports, models, strict=True)
        return [partial(self.outputs, *pair, models) for pair in pairs]

    def outputs(self, support: Examples, model: Model, models: list[Model], x: Inputs) -> Tensor:
        logits = model(x)
        if self.fault == "mixes tasks":
            logits = logits + torch.stack([other(x) for other in models]).mean(0)
        if self.fault == "looks at other queries":
            logits = logits - logits.mean(0)
        if self.fault == "looks at the order":
            logits = logits + support.x[0].sum() * torch.arange(3)
        return logits


FAULTS = (
    "remembers",
    "mixes tasks",
    "looks at other queries",
    "adapts to batch norm",
    "looks at the order",
    "learns nothing",
)


@pytest.mark.parametrize(("check", "fault"), list(zip(testing.CHECKS, FAULTS, strict=True)))
def test_each_check_finds_its_defect(check: Callable[[Make, str], None], fault: str) -> None:
    with pytest.raises(AssertionError):
        check(lambda batch_norm: Faulty(fault, batch_norm).eval(), "inductive")
    check(lambda batch_norm: Faulty("none", batch_norm).eval(), "inductive")
