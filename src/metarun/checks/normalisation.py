"""Evaluation leaves a learner as it was, and normalises queries as the learner says it does."""

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
from metarun.training.evaluation import TASKS_AT_ONCE, evaluate
from metarun.training.gradient import adapt

NEAR = 1e-6  # of the largest output, in double precision


def drift(learner: Learner, sampler: Sampler, episodes: int) -> Finding:
    """Parameters, buffers and gradients are the same after evaluation, to the bit.

    And so is what the learner says of the first episodes, whatever else it may have kept.
    """
    learner, name = copy.deepcopy(learner).eval(), "batch-norm drift"
    before = {key: value.clone() for key, value in _held(learner).items()}
    first = range(min(TASKS_AT_ONCE, episodes))

    def losses() -> torch.Tensor:
        tasks = sampler.tasks(first)
        with torch.no_grad():
            models = zip(tasks, adapt(learner, tasks), strict=True)
            return torch.stack([task.query.loss(model) for task, model in models])

    said = losses()
    evaluate(learner, sampler, episodes)
    again, after = losses(), _held(learner)
    changed = [k for k, v in after.items() if k not in before or not _same(before[k], v)]
    values = {"episodes": episodes, "tensors": len(before), "changed": changed}
    values["largest_change_of_a_loss"] = float((again - said).abs().max())
    if changed:
        text = f"evaluation changed {', '.join(changed[:3])}" + " and more" * (len(changed) > 3)
        return Finding(name, "failed", text, values)
    if not _same(said, again):
        text = "the first episodes are predicted otherwise after the others were"
        return Finding(name, "failed", text, values)
    text = f"{len(before)} parameters and buffers are as they were after {episodes} test episodes"
    return Finding(name, "passed", text, values)


def transductive_gap(
    learner: Learner, sampler: Sampler, episodes: int, both: bool = True
) -> Finding:
    """Scores by the two kinds of batch norm on the same episodes, paired.

    What is called inductive must be: a query's prediction may not depend on the other queries.

    Args:
        both: the learner heeds its `batch_norm`.
    """
    learner, name = copy.deepcopy(learner).eval(), "transductive gap"
    own = learner.batch_norm
    both = both and sampler.source.spec.examples
    both = both and any(isinstance(module, BatchNorm) for module in learner.modules())
    if (both or own == "inductive") and sampler.source.spec.examples:
        apart = _dependence_on_other_queries(learner, sampler)
        if apart > NEAR:
            text = f"called inductive, but a prediction depends on other queries, by {apart:.2g}"
            return Finding(name, "failed", text, {"dependence": apart})
    if not both:
        text = f"there is but one way to normalise a query: {own}"
        return Finding(name, "measured", text, {"batch_norm": own})
    found = {}
    for kind in ("inductive", "transductive"):
        learner.batch_norm = kind
        found[kind] = evaluate(learner, sampler, episodes)
    headline = sampler.source.spec.objective.headline
    score, factor, unit = headline.score, headline.factor, headline.unit
    inductive, transductive = (found[kind][score] for kind in ("inductive", "transductive"))
    gap = interval(transductive - inductive)
    text = (
        f"{score} {factor * inductive.mean():.4g} inductive, {factor * transductive.mean():.4g} "
        f"transductive: {factor * gap['mean']:+.4g} ± {factor * gap['ci95']:.2g}{unit}; "
        f"the protocol is {own}; {episodes} test episodes"
    )
    values: dict[str, Any] = {kind: interval(found[kind][score]) for kind in found}
    return Finding(
        name, "measured", text, {**values, "gap": gap, "score": score, "episodes": episodes}
    )


def _dependence_on_other_queries(learner: Learner, sampler: Sampler) -> float:
    """How far a query's outputs move without the others, as a share of the largest output."""
    learner = copy.deepcopy(learner).to("cpu", torch.float64).eval()
    learner.batch_norm = "inductive"
    source = sampler.source.to("cpu", torch.float64)
    tasks = Sampler(source, sampler.key).tasks(range(2))
    apart = 0.0
    with torch.no_grad():
        for task, model in zip(tasks, adapt(learner, tasks), strict=True):
            together = model(task.query.x)
            alone = model(each(lambda x: x[-1:], task.query.x))
            largest = together.abs().max().clamp_min(1e-300)
            apart = max(apart, float((alone - together[-1:]).abs().max() / largest))
    return apart


def _held(learner: Learner) -> dict[str, torch.Tensor]:
    """Parameters, buffers (those that are not saved as well) and gradients, by name."""
    parameters = dict(learner.named_parameters())
    gradients = {f"{k}.grad": p.grad for k, p in parameters.items() if p.grad is not None}
    held = {**parameters, **dict(learner.named_buffers()), **gradients}
    return {key: value.detach() for key, value in held.items()}


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal to the bit, what is not a number included."""
    return a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())
