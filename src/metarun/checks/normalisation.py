"""Evaluation leaves a learner as it was, and normalises queries as the learner says it does."""

from __future__ import annotations

import copy
from typing import Any

import torch

from metarun.algorithms import Algorithm
from metarun.backbones.norm import BatchNorm
from metarun.checks.finding import Finding
from metarun.tasks.sampler import Sampler
from metarun.training.evaluation import TASKS_AT_ONCE, evaluate, interval

NEAR = 1e-6  # of the largest output, in double precision


def drift(learner: Algorithm, sampler: Sampler, episodes: int) -> Finding:
    """Parameters, buffers and gradients are the same after evaluation, to the bit (trap 8).

    And so is what the learner says of the first episodes, whatever else it may have kept.
    """
    learner, name = copy.deepcopy(learner), "batch-norm drift"
    before = {key: value.clone() for key, value in _held(learner).items()}
    first = sampler.batch(range(min(TASKS_AT_ONCE, episodes)))

    def outputs() -> torch.Tensor:
        torch.manual_seed(0)
        return learner.predict(first.support_x, first.support_y, first.query_x)

    said = outputs()
    evaluate(learner, sampler, episodes)
    again, after = outputs(), _held(learner)
    changed = [k for k, v in after.items() if k not in before or not _same(before[k], v)]
    values = {"episodes": episodes, "tensors": len(before), "changed": changed}
    values["largest_change_of_outputs"] = float((again - said).abs().max())
    if changed:
        text = f"evaluation changed {', '.join(changed[:3])}" + " and more" * (len(changed) > 3)
        return Finding(name, "failed", text, values)
    if not _same(said, again):
        text = "the first episodes are predicted otherwise after the others were"
        return Finding(name, "failed", text, values)
    text = f"{len(before)} parameters and buffers are as they were after {episodes} test episodes"
    return Finding(name, "passed", text, values)


def transductive_gap(
    learner: Algorithm, sampler: Sampler, episodes: int, both: bool = True
) -> Finding:
    """Scores by the two kinds of batch norm on the same episodes (trap 7), paired.

    What is called inductive must be: a query's prediction may not depend on the other queries.

    Args:
        both: the learner heeds its `batch_norm`.
    """
    learner, name = copy.deepcopy(learner), "transductive gap"
    own = learner.batch_norm
    both = both and any(isinstance(module, BatchNorm) for module in learner.modules())
    if both or own == "inductive":
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
    score = "accuracy" if "accuracy" in found[own] else "mse"
    inductive, transductive = (found[kind][score] for kind in ("inductive", "transductive"))
    gap = interval(transductive - inductive)
    factor, unit = (100, " points") if score == "accuracy" else (1, "")
    text = (
        f"{score} {factor * inductive.mean():.4g} inductive, {factor * transductive.mean():.4g} "
        f"transductive: {factor * gap['mean']:+.4g} ± {factor * gap['ci95']:.2g}{unit}; "
        f"the protocol is {own}; {episodes} test episodes"
    )
    values: dict[str, Any] = {kind: interval(found[kind][score]) for kind in found}
    return Finding(
        name, "measured", text, {**values, "gap": gap, "score": score, "episodes": episodes}
    )


def _dependence_on_other_queries(learner: Algorithm, sampler: Sampler) -> float:
    """How far a query's outputs move without the others, as a share of the largest output."""
    learner = copy.deepcopy(learner).to("cpu", torch.float64)
    learner.batch_norm = "inductive"
    sampler = copy.copy(sampler)
    sampler.device, sampler.dtype = torch.device("cpu"), torch.float64
    e = sampler.batch(range(2))
    torch.manual_seed(0)
    together = learner.predict(e.support_x, e.support_y, e.query_x)
    torch.manual_seed(0)
    alone = learner.predict(e.support_x, e.support_y, e.query_x[:, -1:])
    apart = (alone - together[:, -1:]).abs().max() / together.abs().max().clamp_min(1e-300)
    return float(apart)


def _held(learner: Algorithm) -> dict[str, torch.Tensor]:
    """Parameters, buffers (those that are not saved as well) and gradients, by name."""
    parameters = dict(learner.named_parameters())
    gradients = {f"{k}.grad": p.grad for k, p in parameters.items() if p.grad is not None}
    held = {**parameters, **dict(learner.named_buffers()), **gradients}
    return {key: value.detach() for key, value in held.items()}


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal to the bit, what is not a number included."""
    return a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())
