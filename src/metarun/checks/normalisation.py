"""Checks that evaluation does not change a learner, and how it normalises queries."""

from __future__ import annotations

import copy
from typing import Any

import torch

from metarun.algorithms import Learner
from metarun.backbones.norm import BatchNorm
from metarun.checks.finding import Finding
from metarun.stats import interval
from metarun.tasks.sampler import Sampler
from metarun.tasks.task import each
from metarun.training.evaluation import TASKS_AT_ONCE, evaluate, evaluate_kinds
from metarun.training.gradient import adapt

TOLERANCE = 1e-6  # relative to the largest output, in double precision


def drift(learner: Learner, sampler: Sampler, episodes: int) -> Finding:
    """Check that evaluation leaves parameters, buffers and gradients bitwise unchanged.

    The losses on the first episodes must be unchanged too, which detects any other state.
    """
    learner, name = copy.deepcopy(learner).eval(), "batch-norm drift"
    before = {key: value.clone() for key, value in _tensors(learner).items()}
    first = range(min(TASKS_AT_ONCE, episodes))

    def losses() -> torch.Tensor:
        tasks = sampler.tasks(first)
        with torch.no_grad():
            models = zip(tasks, adapt(learner, tasks), strict=True)
            return torch.stack([task.query.loss(model) for task, model in models])

    losses_before = losses()
    evaluate(learner, sampler, episodes)
    losses_after, after = losses(), _tensors(learner)
    changed = [k for k, v in after.items() if k not in before or not _same(before[k], v)]
    values = {"episodes": episodes, "tensors": len(before), "changed": changed}
    values["largest_change_of_a_loss"] = float((losses_after - losses_before).abs().max())
    if changed:
        text = f"evaluation changed {', '.join(changed[:3])}" + " and more" * (len(changed) > 3)
        return Finding(name, "failed", text, values)
    if not _same(losses_before, losses_after):
        text = "evaluation of other episodes changed the predictions for the first ones"
        return Finding(name, "failed", text, values)
    text = f"{len(before)} parameters and buffers are unchanged after {episodes} test episodes"
    return Finding(name, "passed", text, values)


def transductive_gap(
    learner: Learner, sampler: Sampler, episodes: int, supports_both: bool = True
) -> Finding:
    """Measure the paired difference in score between transductive and inductive batch norm.

    Fails if the learner is not inductive in inductive mode: the prediction for a query must not
    depend on the other queries.

    Args:
        supports_both: the learner uses its `batch_norm` setting.
    """
    learner, name = copy.deepcopy(learner).eval(), "transductive gap"
    protocol = learner.batch_norm
    supports_both = supports_both and sampler.source.spec.examples
    supports_both = supports_both and any(isinstance(m, BatchNorm) for m in learner.modules())
    if (supports_both or protocol == "inductive") and sampler.source.spec.examples:
        change = _dependence_on_other_queries(learner, sampler)
        if change > TOLERANCE:
            text = "declared inductive, but a prediction depends on other queries"
            text += f" (relative change {change:.2g})"
            return Finding(name, "failed", text, {"dependence": change})
    if not supports_both:
        text = f"the learner has one way to normalise queries: {protocol}"
        return Finding(name, "measured", text, {"batch_norm": protocol})
    scores = evaluate_kinds(learner, sampler, episodes, ("inductive", "transductive"))
    headline = sampler.source.spec.objective.headline
    score, factor, unit = headline.score, headline.factor, headline.unit
    inductive, transductive = (scores[kind][score] for kind in ("inductive", "transductive"))
    gap = interval(transductive - inductive)
    text = (
        f"{score} {factor * inductive.mean():.4g} inductive, {factor * transductive.mean():.4g} "
        f"transductive: {factor * gap['mean']:+.4g} ± {factor * gap['ci95']:.2g}{unit}; "
        f"the protocol is {protocol}; {episodes} test episodes"
    )
    values: dict[str, Any] = {kind: interval(scores[kind][score]) for kind in scores}
    return Finding(
        name, "measured", text, {**values, "gap": gap, "score": score, "episodes": episodes}
    )


def _dependence_on_other_queries(learner: Learner, sampler: Sampler) -> float:
    """The change in the outputs of a query without the others, relative to the largest output."""
    learner = copy.deepcopy(learner).to("cpu", torch.float64).eval()
    learner.batch_norm = "inductive"
    source = sampler.source.to("cpu", torch.float64)
    tasks = Sampler(source, sampler.key).tasks(range(2))
    change = 0.0
    with torch.no_grad():
        for task, model in zip(tasks, adapt(learner, tasks), strict=True):
            together = model(task.query.x)
            alone = model(each(lambda x: x[-1:], task.query.x))
            largest = together.abs().max().clamp_min(1e-300)
            change = max(change, float((alone - together[-1:]).abs().max() / largest))
    return change


def _tensors(learner: Learner) -> dict[str, torch.Tensor]:
    """Parameters, buffers (including non-persistent ones) and gradients, by name."""
    parameters = dict(learner.named_parameters())
    gradients = {f"{k}.grad": p.grad for k, p in parameters.items() if p.grad is not None}
    tensors = {**parameters, **dict(learner.named_buffers()), **gradients}
    return {key: value.detach() for key, value in tensors.items()}


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether all elements are equal; nan equals nan."""
    return a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())
