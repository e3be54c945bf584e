"""Labels say nothing but which items belong together: are they drawn so, are they learned so?"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.special import chdtrc, ndtr

from metarun.algorithms import Learner
from metarun.checks.finding import Finding
from metarun.stats import interval
from metarun.tasks.gathered import Gathered
from metarun.tasks.sampler import Sampler
from metarun.tasks.task import Examples, Task
from metarun.training.gradient import adapt

CHANCE = 1e-9  # below this, what was drawn is no accident
RELABELLINGS = 5


def label_permutation(sampler: Sampler, split: str) -> Finding:
    """Labels are permuted afresh in each episode.

    Two tests over some thousand episodes: no class is with one label more often than with another
    (chi-squared over classes × labels), and labels do not follow the order of the classes
    (Kendall's number of inversions). And each item is of the class that its label stands for.
    """
    name = f"label permutation, {split}"
    if not isinstance(sampler.source, Gathered) or not hasattr(sampler.choose(0), "classes"):
        return Finding(name, "passed", "its tasks are not made of classes")
    split = sampler.source.split
    known, ways, shots = len(split.names), sampler.source.ways, sampler.source.shots
    episodes = int(np.clip(10 * known // ways, 500, 20_000))
    picks = [sampler.choose(i) for i in range(episodes)]
    classes = np.stack([pick.classes for pick in picks])  # (episodes, N)

    mistaken = sum(not _of_their_classes(split, pick) for pick in picks)
    y = sampler.tasks([0])[0].support.y.cpu().numpy()
    if mistaken or not np.array_equal(y, np.arange(ways).repeat(shots)):
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
        f"labels go with classes: {split.names[c]} has label {label} in "
        f"{int(counts[c, label])} of its {int(seen[c])} episodes, of {ways} labels"
    )
    return Finding(name, "failed", text, values)


def relabelling(learner: Learner, sampler: Sampler, episodes: int) -> Finding:
    """How much an episode's accuracy depends on which class got which label.

    Each of the first `episodes` episodes is predicted under several permutations of its labels.
    A learner with weights of its own for each label moves, and should: it is measured, not judged.
    """
    name = "relabelling"
    objective = sampler.source.spec.objective
    if not objective.labels:
        return Finding(name, "measured", "its tasks have no labels")
    learner, found = copy.deepcopy(learner).eval(), []
    rng = np.random.default_rng(0)
    for number in range(episodes):
        (task,) = sampler.tasks([number])
        renamed = [
            relabelled(task, torch.from_numpy(rng.permutation(task.support.labels)))
            for _ in range(RELABELLINGS)
        ]
        models = zip(renamed, adapt(learner, renamed), strict=True)
        with torch.no_grad():
            found.append(
                [float(t.query.judge(m).scores[objective.headline.score]) for t, m in models]
            )
    each = np.array(found).T  # (relabellings, episodes)
    moved = interval(each.std(0, ddof=1))
    apart = interval(np.ptp(each, 0))
    text = (
        f"an episode's accuracy varies by {100 * moved['mean']:.2f} points (standard deviation) "
        f"over {RELABELLINGS} relabellings, best and worst are {100 * apart['mean']:.2f} apart; "
        f"{episodes} test episodes"
    )
    values = {"deviation": moved, "range": apart, "relabellings": RELABELLINGS}
    return Finding(name, "measured", text, {**values, "episodes": episodes})


def relabelled(task: Task, new: torch.Tensor) -> Task:
    """The same task with other labels; support and query are grouped by label again.

    Args:
        new: (N) the new label of each old one.
    """
    new = new.to(task.support.y.device)

    def regrouped(examples: Examples) -> Examples:
        renamed = replace(examples, y=new[examples.y])
        return renamed[renamed.y.argsort(stable=True)]

    classes = None if task.classes is None else task.classes[new.argsort()]
    return replace(
        task, support=regrouped(task.support), query=regrouped(task.query), classes=classes
    )


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
