"""The meta-gradient of a learner, against finite differences of its outer loss."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from statistics import median

import torch
from torch import Tensor

from metarun.algorithms import Learner
from metarun.checks.finding import Finding
from metarun.tasks.sampler import Sampler
from metarun.tasks.task import Task
from metarun.training.gradient import accumulate, seed_draws

TASKS = 2  # so that a sum over tasks is not taken for their mean
WAYS = 3  # of the small tasks at most, each with 1 shot and 1 query
DIRECTIONS = 3  # random ones
STEPS = (1e-5, 1e-6, 1e-7, 1e-8)
NEAR = 1e-3  # of the slope
FLAT = 1e-7  # below this, rounding decides about a difference


def meta_gradient(learner: Learner, sampler: Sampler) -> Finding:
    """The meta-gradient is the slope of the mean outer loss over tasks.

    In double precision, on two small tasks, along the gradient itself and along random directions
    that move every tensor alike. A central difference is taken over several step sizes and the one
    that agrees best counts: across the kink of a ReLU or the switch of a maximum no difference is
    right, and small steps cross fewer of them. A wrong gradient agrees at none.

    A learner whose gradient is no slope by design says so: by `slope = False`, or by `first_order`
    with inner steps; so does the objective of the tasks. It is measured how far off that is, and
    not judged.
    """
    learner, name = copy.deepcopy(learner).to("cpu", torch.float64).train(), "meta-gradient"
    learner.zero_grad()
    tasks = small(sampler, whole=learner.per_label_head)
    gradient = gradient_of(learner, tasks)
    why = by_design(learner)
    if not sampler.source.spec.objective.differentiable:
        why = f"{sampler.source.spec.objective.name} is sampled"
    length = torch.cat([g.flatten() for g in gradient]).norm()
    if not torch.isfinite(length):
        return Finding(name, "failed", "it is not finite", {})
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
    both = list(zip(slopes, differences, strict=True))
    typical = median(max(abs(s), abs(d)) for s, d in both[:DIRECTIONS])
    worst = max(abs(s - d) / max(abs(s), abs(d), typical, FLAT) for s, d in both)
    values = {"largest_relative_error": worst, "gradient_norm": float(length)}
    if why:
        text = f"not the slope of a loss by design ({why}); off by {worst:.2g} of it"
        return Finding(name, "measured", text, {**values, "by_design": why})
    if max(map(abs, (*slopes, *differences))) < FLAT:
        text = f"the outer loss is flat here, no slope is above {FLAT:g}: nothing to compare"
        return Finding(name, "measured", text, values)
    if worst > NEAR:
        text = (
            f"not the slope of the outer loss: off by {worst:.2g} of it; a learner whose gradient "
            "is none by design says slope = False"
        )
        return Finding(name, "failed", text, values)
    text = f"the slope of the loss, to {worst:.1g} of it, along {len(directions)} directions"
    return Finding(name, "passed", text, values)


def by_design(learner: Learner) -> str | None:
    """What the learner says of itself that makes its gradient no slope of a loss."""
    if not learner.slope:
        return f"{type(learner).__name__}.slope is False"
    if getattr(learner, "first_order", False) and getattr(learner, "inner_steps", 1) > 0:
        return "first_order=true"
    return None


def small(sampler: Sampler, whole: bool) -> list[Task]:
    """Two small tasks of the sampler's in double precision, not augmented.

    Args:
        whole: with all its ways.
    """
    source = sampler.source.to("cpu", torch.float64)
    if dataclasses.is_dataclass(source) and {"ways", "shots", "queries"} <= vars(source).keys():
        ways = source.ways if whole else min(source.ways, WAYS)
        source = dataclasses.replace(source, ways=ways, shots=1, queries=1)
    return Sampler(source, sampler.key).tasks(range(TASKS))


def moved(learner: Learner, direction: Sequence[Tensor], step: float) -> Learner:
    """A copy of the learner whose trained parameters are moved by step·direction."""
    model = copy.deepcopy(learner)  # running averages of training stay as they are
    weights = [p for p in model.parameters() if p.requires_grad]
    for p, v in zip(weights, direction, strict=True):
        p.data.add_(v, alpha=step)
    return model


def gradient_of(learner: Learner, tasks: Sequence[Task]) -> list[Tensor]:
    """The meta-gradient: a tensor for each trained parameter."""
    model = copy.deepcopy(learner)
    accumulate(model, tasks, 0)
    weights = [p for p in model.parameters() if p.requires_grad]
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in weights]


def mean_loss(learner: Learner, tasks: Sequence[Task]) -> float:
    """The mean outer loss, with the draws that the meta-gradient was taken with."""
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
    """The central difference along `direction` that comes nearest to `slope`."""
    nearest = float("inf")
    for step in STEPS:
        up, down = (mean_loss(moved(learner, direction, s * step), tasks) for s in (1, -1))
        nearest = min(nearest, (up - down) / (2 * step), key=lambda found: abs(found - slope))
        if abs(nearest - slope) < NEAR / 10 * abs(slope):
            break
    return nearest
