"""Compares the meta-gradient of a learner with finite differences of its outer loss."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from statistics import median

import torch
from torch import Tensor

from metarun.algorithms import Learner
from metarun.checks.finding import Finding
from metarun.tasks.any_size import ANY
from metarun.tasks.sampler import Sampler
from metarun.tasks.task import Task
from metarun.training.gradient import accumulate, seed_draws

TASKS = 2  # more than one, to detect a sum over tasks instead of a mean
MAX_WAYS = 3  # of the small tasks, which have 1 shot and 1 query
DIRECTIONS = 3  # random ones
STEPS = (1e-5, 1e-6, 1e-7, 1e-8)
TOLERANCE = 1e-3  # relative
FLAT = 1e-7  # smaller finite differences are dominated by rounding


def meta_gradient(learner: Learner, sampler: Sampler) -> Finding:
    """Check that the meta-gradient is the gradient of the mean outer loss over tasks.

    Directional derivatives are compared with central differences in double precision, on two small
    tasks, along the gradient and along random directions that give every tensor equal weight. Of
    several step sizes, the difference nearest to the derivative counts: a step across the kink of a
    ReLU or of a maximum gives a wrong difference, and small steps cross fewer kinks. A wrong
    gradient agrees with none of them.

    The error is measured but not judged if the gradient is not exact by design: if the learner has
    `slope = False`, or `first_order` with inner steps, or if the objective is not differentiable.
    """
    name = "meta-gradient"
    if not learner.learns:
        return Finding(name, "measured", "the learner has nothing to train, so it has no gradient")
    learner = copy.deepcopy(learner).to("cpu", torch.float64).train()
    learner.zero_grad()
    tasks = small(sampler, all_ways=learner.per_label_head)
    gradient = gradient_of(learner, tasks)
    reason = by_design(learner)
    if not sampler.source.spec.objective.differentiable:
        reason = f"{sampler.source.spec.objective.name} is sampled"
    length = torch.cat([g.flatten() for g in gradient]).norm()
    if not torch.isfinite(length):
        return Finding(name, "failed", "the meta-gradient is not finite", {})
    torch.manual_seed(0)
    directions = [
        [torch.randn_like(g) / g.numel() ** 0.5 for g in gradient] for _ in range(DIRECTIONS)
    ]
    if length > 0:
        directions.append([g / length for g in gradient])
    slopes = [
        float(sum((g * v).sum() for g, v in zip(gradient, d, strict=True))) for d in directions
    ]
    differences = [
        _difference(learner, tasks, d, slope) for d, slope in zip(directions, slopes, strict=True)
    ]
    pairs = list(zip(slopes, differences, strict=True))
    typical = median(max(abs(s), abs(d)) for s, d in pairs[:DIRECTIONS])
    error = max(abs(s - d) / max(abs(s), abs(d), typical, FLAT) for s, d in pairs)
    values = {"largest_relative_error": error, "gradient_norm": float(length)}
    if reason:
        text = f"not the gradient of a loss by design ({reason}); relative error {error:.2g}"
        return Finding(name, "measured", text, {**values, "by_design": reason})
    if max(map(abs, (*slopes, *differences))) < FLAT:
        text = f"the outer loss is flat: no directional derivative reaches {FLAT:g}"
        return Finding(name, "measured", text, values)
    if error > TOLERANCE:
        text = (
            f"not the gradient of the outer loss: relative error {error:.2g}; if this is by "
            "design, set slope = False on the learner"
        )
        return Finding(name, "failed", text, values)
    text = f"the gradient of the outer loss along {len(directions)} directions"
    return Finding(name, "passed", f"{text}; relative error {error:.1g}", values)


def by_design(learner: Learner) -> str | None:
    """The setting by which a learner's gradient is not that of a loss, or `None`."""
    if not learner.slope:
        return f"{type(learner).__name__}.slope is False"
    if getattr(learner, "first_order", False) and getattr(learner, "inner_steps", 1) > 0:
        return "first_order=true"
    return None


def small(sampler: Sampler, all_ways: bool) -> list[Task]:
    """Two small tasks of the sampler in double precision, without augmentation.

    Args:
        all_ways: keep the number of ways of the sampler.
    """
    source = sampler.source.to("cpu", torch.float64)
    if dataclasses.is_dataclass(source) and {"ways", "shots", "queries"} <= vars(source).keys():
        ways = source.spec.outputs if source.ways == ANY else source.ways
        ways = ways if all_ways else min(ways, MAX_WAYS)
        source = dataclasses.replace(source, ways=ways, shots=1, queries=1)
    return Sampler(source, sampler.key).tasks(range(TASKS))


def moved(learner: Learner, direction: Sequence[Tensor], step: float) -> Learner:
    """A copy of the learner with its trained parameters moved by step·direction."""
    model = copy.deepcopy(learner)  # the running averages of the learner must not change
    weights = [p for p in model.parameters() if p.requires_grad]
    for p, v in zip(weights, direction, strict=True):
        p.data.add_(v, alpha=step)
    return model


def gradient_of(learner: Learner, tasks: Sequence[Task]) -> list[Tensor]:
    """The meta-gradient: one tensor for each trained parameter."""
    model = copy.deepcopy(learner)
    accumulate(model, tasks, 0)
    weights = [p for p in model.parameters() if p.requires_grad]
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in weights]


def mean_loss(learner: Learner, tasks: Sequence[Task]) -> float:
    """The mean outer loss, with the same random draws as in `gradient_of`."""
    model, losses = copy.deepcopy(learner), []
    if model.joint:
        seed_draws(0, tasks[0].number)
        losses = [loss for loss, _ in model.outer_losses(tasks)]
    else:
        for task in tasks:
            seed_draws(0, task.number)
            losses.append(model.outer_loss(task).loss)
    return float(torch.stack([loss.detach() for loss in losses]).mean())


def _difference(
    learner: Learner, tasks: Sequence[Task], direction: Sequence[Tensor], slope: float
) -> float:
    """The central difference along `direction`, of all step sizes, that is nearest to `slope`."""
    nearest = float("inf")
    for step in STEPS:
        up, down = (mean_loss(moved(learner, direction, s * step), tasks) for s in (1, -1))
        nearest = min(nearest, (up - down) / (2 * step), key=lambda value: abs(value - slope))
        if abs(nearest - slope) < TOLERANCE / 10 * abs(slope):
            break
    return nearest
