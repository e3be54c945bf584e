"""What `accumulate` leaves in `.grad`, against finite differences of the loss it reports."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from statistics import median

import torch
from torch import Tensor

from metarun.algorithms import Algorithm
from metarun.checks.finding import Finding
from metarun.tasks.sampler import Episodes, Sampler

TASKS = 2  # so that a sum over tasks is not taken for their mean
WAYS = 3  # of the small tasks at most, each with 1 shot and 1 query
DIRECTIONS = 3  # random ones
STEPS = (1e-5, 1e-6, 1e-7, 1e-8)
NEAR = 1e-3  # of the slope
FLAT = 1e-7  # below this, rounding decides about a difference


def meta_gradient(learner: Algorithm, sampler: Sampler) -> Finding:
    """The meta-gradient is the slope of the mean loss over tasks (traps 4 to 6 and 22).

    In double precision, on two small tasks, along the gradient itself and along random directions
    that move every tensor alike. A central difference is taken over several step sizes and the one
    that agrees best counts: across the kink of a ReLU or the switch of a maximum no difference is
    right, and small steps cross fewer of them. A wrong gradient agrees at none.

    A learner whose gradient is no slope by design says so: by `minimises = None`, or by
    `first_order` with inner steps. It is measured how far off that is, and not judged.
    """
    learner = copy.deepcopy(learner).to("cpu", torch.float64)
    learner.zero_grad()
    episodes = small(sampler, whole=learner.per_label_head)
    (scores, gradient), name = accumulated(learner, episodes), "meta-gradient"
    why = by_design(learner)
    minimised = learner.minimises or "loss"
    if minimised not in scores:
        known = ", ".join(scores)
        return Finding(name, "failed", f"accumulate gives no {minimised}: it gives {known}", {})
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
        _difference(learner, episodes, minimised, d, slope)
        for d, slope in zip(directions, slopes, strict=True)
    ]
    both = list(zip(slopes, differences, strict=True))
    typical = median(max(abs(s), abs(d)) for s, d in both[:DIRECTIONS])
    worst = max(abs(s - d) / max(abs(s), abs(d), typical, FLAT) for s, d in both)
    values = {"largest_relative_error": worst, "loss": minimised, "gradient_norm": float(length)}
    if why:
        text = f"not the slope of a loss by design ({why}); off by {worst:.2g} of it"
        return Finding(name, "measured", text, {**values, "by_design": why})
    if max(map(abs, (*slopes, *differences))) < FLAT:
        text = f"{minimised} is flat here, no slope is above {FLAT:g}: nothing to compare"
        return Finding(name, "measured", text, values)
    if worst > NEAR:
        text = (
            f"not the slope of {minimised}: off by {worst:.2g} of it; a learner whose gradient is "
            "none by design says minimises = None"
        )
        return Finding(name, "failed", text, values)
    text = f"the slope of {minimised}, to {worst:.1g} of it, along {len(directions)} directions"
    return Finding(name, "passed", text, values)


def by_design(learner: Algorithm) -> str | None:
    """What the learner says of itself that makes its gradient no slope of a loss."""
    if learner.minimises is None:
        return f"{type(learner).__name__}.minimises is None"
    if getattr(learner, "first_order", False) and getattr(learner, "inner_steps", 1) > 0:
        return "first_order=true"
    return None


def small(sampler: Sampler, whole: bool) -> Episodes:
    """Two small tasks of the sampler's in double precision, not augmented.

    Args:
        whole: with all its ways.
    """
    sampler = copy.copy(sampler)
    sampler.ways = sampler.ways if whole else min(sampler.ways, WAYS)
    sampler.shots = sampler.queries = 1
    sampler.device, sampler.dtype = torch.device("cpu"), torch.float64
    sampler.augment = None
    return sampler.batch(range(TASKS))


def accumulated(
    learner: Algorithm, episodes: Episodes, direction: Sequence[Tensor] = (), step: float = 0.0
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Scores and gradient (a tensor for each trained parameter) after a move by step·direction."""
    model = copy.deepcopy(learner)  # running averages of training stay as they are
    weights = [p for p in model.parameters() if p.requires_grad]
    if direction:
        for p, v in zip(weights, direction, strict=True):
            p.data.add_(v, alpha=step)
    torch.manual_seed(0)  # what the learner draws is part of the function
    scores = {key: value.detach() for key, value in model.accumulate(episodes).items()}
    return scores, [torch.zeros_like(p) if p.grad is None else p.grad for p in weights]


def _difference(
    learner: Algorithm,
    episodes: Episodes,
    minimised: str,
    direction: Sequence[Tensor],
    slope: float,
) -> float:
    """The central difference along `direction` that comes nearest to `slope`."""
    nearest = float("inf")
    for step in STEPS:
        up, down = (
            float(accumulated(learner, episodes, direction, sign * step)[0][minimised].mean())
            for sign in (1, -1)
        )
        nearest = min(nearest, (up - down) / (2 * step), key=lambda found: abs(found - slope))
        if abs(nearest - slope) < NEAR / 10 * abs(slope):
            break
    return nearest
