"""Checks that labels are independent of classes, and measures how far a learner depends on them."""

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
from metarun.tasks.any_size import AnySize
from metarun.tasks.gathered import Gathered
from metarun.tasks.sampler import Sampler
from metarun.tasks.task import Examples, Task
from metarun.training.gradient import adapt

ALPHA = 1e-9  # significance level of the tests
RELABELLINGS = 5


def label_permutation(sampler: Sampler, split: str) -> Finding:
    """Check that each episode assigns labels to its classes at random.

    Two tests over up to 20,000 episodes: every class has each label equally often (chi-squared test
    on counts by class and label), and labels do not follow the order of the classes (Kendall's
    test on the number of inversions). Each item must also be of the class that its label denotes.
    """
    name = f"label permutation, {split}"
    if isinstance(sampler.source, AnySize):
        return Finding(name, "measured", "not checked where tasks differ in size")
    if not isinstance(sampler.source, Gathered) or not hasattr(sampler.choose(0), "classes"):
        return Finding(name, "passed", "the tasks are not made of classes")
    split = sampler.source.split
    class_count, ways, shots = len(split.names), sampler.source.ways, sampler.source.shots
    episodes = int(np.clip(10 * class_count // ways, 500, 20_000))
    picks = [sampler.choose(i) for i in range(episodes)]
    classes = np.stack([pick.classes for pick in picks])  # (episodes, N)

    mistaken = sum(not _of_their_classes(split, pick) for pick in picks)
    y = sampler.tasks([0])[0].support.y.cpu().numpy()
    if mistaken or not np.array_equal(y, np.arange(ways).repeat(shots)):
        text = (
            f"{max(mistaken, 1)} of {episodes} episodes have items with the label of another class"
        )
        return Finding(name, "failed", text, {"episodes": episodes, "mistaken": mistaken})

    counts = np.zeros((class_count, ways))
    np.add.at(counts, (classes, np.arange(ways)), 1)
    p_class, p_order = _p_of_classes(counts), _p_of_order(classes)
    values = {"episodes": episodes, "p_class": p_class, "p_order": p_order}
    if min(p_class, p_order) >= ALPHA:
        text = f"every class has each label equally often, {episodes} episodes"
        return Finding(name, "passed", text, values)
    seen = counts.sum(1)
    c, label = np.unravel_index(np.argmax(counts - seen[:, None] / ways), counts.shape)
    text = (
        f"labels depend on classes: {split.names[c]} has label {label} of {ways} in "
        f"{int(counts[c, label])} of its {int(seen[c])} episodes"
    )
    return Finding(name, "failed", text, values)


def relabelling(learner: Learner, sampler: Sampler, episodes: int) -> Finding:
    """Measure how much the accuracy of an episode depends on the assignment of labels to classes.

    Each of the first `episodes` episodes is predicted under several permutations of its labels.
    The result is not judged: the accuracy of a learner with separate weights for each label is
    expected to vary.
    """
    name = "relabelling"
    objective = sampler.source.spec.objective
    if not objective.labels:
        return Finding(name, "measured", "the tasks have no labels")
    learner, accuracies = copy.deepcopy(learner).eval(), []
    rng = np.random.default_rng(0)
    for number in range(episodes):
        (task,) = sampler.tasks([number])
        renamed = [
            relabelled(task, torch.from_numpy(rng.permutation(task.support.labels)))
            for _ in range(RELABELLINGS)
        ]
        models = zip(renamed, adapt(learner, renamed), strict=True)
        with torch.no_grad():
            accuracies.append(
                [float(t.query.judge(m).scores[objective.headline.score]) for t, m in models]
            )
    by_relabelling = np.array(accuracies).T  # (relabellings, episodes)
    deviation = interval(by_relabelling.std(0, ddof=1))
    spread = interval(np.ptp(by_relabelling, 0))
    text = (
        f"the accuracy of an episode varies over {RELABELLINGS} relabellings by "
        f"{100 * deviation['mean']:.2f} points (standard deviation), {100 * spread['mean']:.2f} "
        f"points (range); {episodes} test episodes"
    )
    values = {"deviation": deviation, "range": spread, "relabellings": RELABELLINGS}
    return Finding(name, "measured", text, {**values, "episodes": episodes})


def relabelled(task: Task, new: torch.Tensor) -> Task:
    """The task with permuted labels; support and query are again grouped by label.

    Args:
        new: (N) the new label of each old label.
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
    """Whether each row of `pick.items` is in the class that its label denotes."""
    if not all(hasattr(tasks, key) for key in ("first", "counts")) or not hasattr(pick, "items"):
        return True
    first, last = (a[pick.classes][:, None] for a in (tasks.first, tasks.first + tasks.counts))
    return bool(np.all((first <= pick.items) & (pick.items < last)))


def _p_of_classes(counts: np.ndarray) -> float:
    """The p-value of counts (classes, N) if each label is equally likely."""
    seen, ways = counts.sum(1), counts.shape[1]
    counts, seen = counts[seen > 1], seen[seen > 1]
    if not len(seen):
        return 1.0
    expected = (seen / ways)[:, None]
    statistic = ((counts - expected) ** 2 / expected).sum()
    # A scaled chi-squared distribution with the mean and variance of the statistic. They are exact
    # for each class; labels within an episode are dependent, which multiplies the variance of the
    # sum by N/(N−1) at most.
    mean = len(seen) * (ways - 1)
    variance = (2 * (ways - 1) * (1 - 1 / seen)).sum() * ways / (ways - 1)
    scale = variance / (2 * mean)
    return float(chdtrc(mean / scale, statistic / scale))


def _p_of_order(classes: np.ndarray) -> float:
    """The two-sided p-value of the inversions in classes (episodes, N) if the order is random."""
    episodes, ways = classes.shape
    low, high = np.triu_indices(ways, 1)
    inversions = (classes[:, low] > classes[:, high]).sum()
    mean = episodes * ways * (ways - 1) / 4
    variance = episodes * ways * (ways - 1) * (2 * ways + 5) / 72
    return float(2 * ndtr(-abs(inversions - mean) / np.sqrt(variance)))
