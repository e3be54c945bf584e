"""Labels say nothing but which items belong together: are they drawn so, are they learned so?"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from scipy.special import chdtrc, ndtr

from metarun.algorithms import Algorithm
from metarun.checks.finding import Finding
from metarun.tasks.objectives import score
from metarun.tasks.sampler import Episodes, Sampler
from metarun.training.evaluation import TASKS_AT_ONCE, interval

CHANCE = 1e-9  # below this, what was drawn is no accident
RELABELLINGS = 5


def label_permutation(sampler: Sampler, split: str) -> Finding:
    """Labels are permuted afresh in each episode (trap 12).

    Two tests over some thousand episodes: no class is with one label more often than with another
    (chi-squared over classes × labels), and labels do not follow the order of the classes
    (Kendall's number of inversions). And each item is of the class that its label stands for.
    """
    name = f"label permutation, {split}"
    if not hasattr(sampler.pick(0), "classes"):
        return Finding(name, "passed", "its tasks are not made of classes")
    known, ways = len(sampler.tasks.names), sampler.ways
    episodes = int(np.clip(10 * known // ways, 500, 20_000))
    picks = [sampler.pick(i) for i in range(episodes)]
    classes = np.stack([pick.classes for pick in picks])  # (episodes, N)

    mistaken = sum(not _of_their_classes(sampler.tasks, pick) for pick in picks)
    y = sampler.batch([0]).support_y[0].cpu().numpy()
    if mistaken or not np.array_equal(y, np.arange(ways).repeat(sampler.shots)):
        text = f"{max(mistaken, 1)} of {episodes} episodes have items under the label of another"
        return Finding(name, "failed", text, {"episodes": episodes, "mistaken": mistaken})

    counts = np.zeros((known, ways))
    np.add.at(counts, (classes, np.arange(ways)), 1)
    p_class, p_order = _p_of_classes(counts), _p_of_order(classes)
    values = {"episodes": episodes, "p_class": p_class, "p_order": p_order}
    if min(p_class, p_order) >= CHANCE:
        text = f"any class has any label equally often, {episodes} episodes"
        return Finding(name, "passed", text, values)
    seen = counts.sum(1)
    c, label = np.unravel_index(np.argmax(counts - seen[:, None] / ways), counts.shape)
    text = (
        f"labels go with classes: {sampler.tasks.names[c]} has label {label} in "
        f"{int(counts[c, label])} of its {int(seen[c])} episodes, of {ways} labels"
    )
    return Finding(name, "failed", text, values)


def relabelling(learner: Algorithm, sampler: Sampler, episodes: int) -> Finding:
    """How much an episode's accuracy depends on which class got which label (trap 23).

    Each of the first `episodes` episodes is predicted under several permutations of its labels.
    A learner with weights of its own for each label moves, and should: it is measured, not judged.
    """
    name = "relabelling"
    learner, found = copy.deepcopy(learner), []
    rng = np.random.default_rng(0)
    for start in range(0, episodes, TASKS_AT_ONCE):
        batch = sampler.batch(range(start, min(start + TASKS_AT_ONCE, episodes)))
        if batch.support_y.is_floating_point():
            return Finding(name, "measured", "its tasks have no labels")
        rows = []
        for _ in range(RELABELLINGS):
            torch.manual_seed(0)
            new = np.stack([rng.permutation(sampler.ways) for _ in range(len(batch))])
            e = relabelled(batch, torch.from_numpy(new).to(batch.support_y.device))
            outputs = learner.predict(e.support_x, e.support_y, e.query_x)
            rows.append(score(outputs, e.query_y)["accuracy"].double().cpu().numpy())
        found.append(np.stack(rows))
    each = np.concatenate(found, 1)  # (relabellings, episodes)
    moved = interval(each.std(0, ddof=1))
    apart = interval(np.ptp(each, 0))
    text = (
        f"an episode's accuracy varies by {100 * moved['mean']:.2f} points (standard deviation) "
        f"over {RELABELLINGS} relabellings, best and worst are {100 * apart['mean']:.2f} apart; "
        f"{episodes} test episodes"
    )
    values = {"deviation": moved, "range": apart, "relabellings": RELABELLINGS}
    return Finding(name, "measured", text, {**values, "episodes": episodes})


def relabelled(e: Episodes, new: torch.Tensor) -> Episodes:
    """The same tasks with other labels; support and queries are grouped by label again.

    Args:
        new: (T, N) the new label of each old one.
    """

    def regroup(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = new.gather(1, y)
        order = y.argsort(stable=True, dim=1)
        rows = order.view(*order.shape, *(1 for _ in x.shape[2:])).expand_as(x)
        return x.gather(1, rows), y.gather(1, order)

    old = new.argsort(1)
    classes = None if e.classes is None else e.classes.gather(1, old)
    return Episodes(*regroup(e.support_x, e.support_y), *regroup(e.query_x, e.query_y), classes)


def _of_their_classes(tasks: Any, pick: Any) -> bool:
    """Does each row of `pick.items` lie in the class that its label stands for?"""
    if not all(hasattr(tasks, key) for key in ("first", "counts")) or not hasattr(pick, "items"):
        return True
    first, last = (a[pick.classes][:, None] for a in (tasks.first, tasks.first + tasks.counts))
    return bool(np.all((first <= pick.items) & (pick.items < last)))


def _p_of_classes(counts: np.ndarray) -> float:
    """The chance of counts (classes, N) at least as uneven, if each label is equally likely."""
    seen, ways = counts.sum(1), counts.shape[1]
    counts, seen = counts[seen > 1], seen[seen > 1]
    if not len(seen):
        return 1.0
    expected = (seen / ways)[:, None]
    statistic = ((counts - expected) ** 2 / expected).sum()
    # Mean and variance are exact for each class; the labels of an episode exclude each other,
    # which widens their sum by N/(N−1) at most. A scaled chi-squared has both.
    mean = len(seen) * (ways - 1)
    variance = (2 * (ways - 1) * (1 - 1 / seen)).sum() * ways / (ways - 1)
    scale = variance / (2 * mean)
    return float(chdtrc(mean / scale, statistic / scale))


def _p_of_order(classes: np.ndarray) -> float:
    """The chance of so many or so few inversions in (episodes, N), if the order is random."""
    episodes, ways = classes.shape
    low, high = np.triu_indices(ways, 1)
    inversions = (classes[:, low] > classes[:, high]).sum()
    mean = episodes * ways * (ways - 1) / 4
    variance = episodes * ways * (ways - 1) * (2 * ways + 5) / 72
    return float(2 * ndtr(-abs(inversions - mean) / np.sqrt(variance)))
