"""Checks whether task sizes, data and learner fit each other. Each check returns its mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metarun.config.explanation import show
from metarun.config.schema import RunConfig
from metarun.data import duplicates
from metarun.data.classes import Facts, Split
from metarun.tasks.any_size import ANY, shots_of
from metarun.tasks.task import Spec

RUN = {"train": "train_", "val": "", "test": ""}  # split → prefix of the keys of its task sizes

SPECIALISTS = {  # what a learner takes → why it takes nothing else
    ("functions",): "minimises functions, and tasks of {data} are none; use data=objectives",
    ("trials",): "learns from the action and the reward before, which items of {data} do not "
    "contain; use data=bandits",
}
KINDS = {  # tasks that other learners do not take
    "examples": "takes no supports made of examples, but those of {data} are",
    "functions": "adapts a network, but tasks of {data} are functions; algo=learned_optimizer and "
    "algo=hand_optimizer minimise them",
    "trials": "adapts to supports, and trials of {data} have none; algo=rl2 learns within a trial",
    "environments": "needs supports made of examples, but those of {data} are environments; "
    "algo=maml supports environments",
}


def check_capacity(
    config: RunConfig,
    facts: Mapping[str, Facts | None],
    used: Mapping[str, str],
) -> list[str]:
    """Check that each split has enough classes and items for the configured tasks.

    Args:
        facts: the number of classes and items of each split; `None` where it is unknown.
        used: split → prefix of the keys of its task sizes, as in `RUN`.
    """
    lines = []
    name = config.choices.data
    split_facts = {split: facts[split] for split in used if facts.get(split) is not None}
    if all(task_of(config, p) == task_of(config) for p in used.values()):  # report each only once
        used = dict.fromkeys(used, "")
    for prefix in dict.fromkeys(used[split] for split in split_facts):
        ways, shots, queries = task_of(config, prefix)
        if None in (ways, shots, queries):
            continue  # reported by `check_sizes`
        group = {split: fact for split, fact in split_facts.items() if used[split] == prefix}
        if ways != ANY and ways < 2:
            lines.append(f"{prefix}ways={ways}: should be greater than or equal to 2")
        split, fewest = min(group.items(), key=lambda item: item[1].classes)
        if (2 if ways == ANY else ways) > fewest.classes:
            lines.append(
                f"{prefix}ways={ways}: the {split} split of {name} has {fewest.classes} classes"
            )
        fewest = min(group.values(), key=lambda fact: fact.smallest)
        needed = shots_of(shots)[1] + (1 if queries == ANY else queries)
        if needed > fewest.smallest:
            small = [name for fact in group.values() for name in fact.smaller(needed)]
            names = f" ({duplicates.named(small)})" if small else ""
            lines.append(
                f"{prefix}shots={shots} {prefix}queries={queries}: a class of {name} has "
                f"{fewest.smallest} items{names}; shots + queries can be {fewest.smallest} at most"
            )
    return lines


def check_sizes(
    config: RunConfig, splits: Mapping[str, Any], used: Mapping[str, str] = RUN
) -> list[str]:
    """Check that task sizes are set, or left out if the tasks of the data determine them."""
    lines, data = [], config.choices.data
    for split, prefix in used.items():
        builds_tasks = hasattr(splits[split], "choose")
        for key, value, default in zip(
            ("ways", "shots", "queries"), task_of(config, prefix), task_of(config), strict=True
        ):
            if value is None and not builds_tasks:
                lines.append(f"{prefix}{key}=null: should be a number")
            elif builds_tasks and value is not None and not (prefix and value == default):
                lines.append(
                    f"{prefix}{key}={value}: tasks of {data} have sizes of their own; "
                    f"leave {prefix}{key} out"
                )
        if not builds_tasks and splits[split].facts is None:
            lines += _check_no_ways(config)
        sizes = task_of(config, prefix)
        varied = [v for v in sizes if isinstance(v, str) and not (prefix and v in task_of(config))]
        if varied and not builds_tasks and not isinstance(splits[split], Split):
            lines.append(f"{prefix}shots={varied[0]}: tasks of {data} are not made of classes")
        if varied and getattr(splits[split], "speakers", "any") != "any":
            lines.append(
                f"{prefix}ways={config.ways} data.speakers={splits[split].speakers}: episodes of "
                "any size have items of any speaker; use data.speakers=any"
            )
    return list(dict.fromkeys(lines))


def task_of(config: RunConfig, prefix: str = "") -> tuple[int | str | None, ...]:
    """The ways, shots and queries of evaluation or, with `prefix="train_"`, of training."""
    return tuple(getattr(config, prefix + key) for key in ("ways", "shots", "queries"))


def check_learner(config: RunConfig, learner: Any, spec: Spec) -> list[str]:
    """Check that the tasks have what the network and the learner need: items, examples, labels."""
    algo, data = config.choices.algo, config.choices.data
    tokens, expected = config.data.get("tokens"), config.backbone.get("tokens")
    if "tokens" in config.data and tokens != expected:
        return [
            f"data.tokens={show(tokens)}: backbone={config.choices.backbone} takes "
            f"{f'{expected} token ids' if expected else 'n-grams'}; leave data.tokens out, which "
            "follows the backbone"
        ]
    takes = tuple(getattr(learner, "takes", ("examples",)))
    if spec.kind not in takes:
        reason = SPECIALISTS.get(takes) or KINDS[spec.kind]
        return [f"algo={algo} data={data}: {algo} {reason.format(data=data)}"]
    if not spec.objective.labels and getattr(learner, "needs_labels", True):
        return [
            f"algo={algo} data={data}: {algo} predicts classes, but the targets of {data} are "
            "numbers; algo=maml predicts numbers"
        ]
    if not spec.examples and config.algo.get("batch_norm") == "inductive":
        return [
            f"algo.batch_norm=inductive: queries are normalised by support items, but supports of "
            f"{data} are environments; use algo.batch_norm=transductive"
        ]
    return []


def check_steps(config: RunConfig, learner: Any) -> list[str]:
    """Check that a learner with something to train has steps to do so."""
    if config.steps == 0 and getattr(learner, "learns", True):
        return [f"steps=0: {config.choices.algo} has weights to train; steps should be at least 1"]
    return []


def _check_no_ways(config: RunConfig) -> list[str]:
    """Check that ways are not set for data without classes."""
    data = config.choices.data
    return [
        f"{key}={value}: {data} has no classes; leave {key} out"
        for key, value in (("ways", config.ways), ("train_ways", config.train_ways))
        if value not in (1, None) and (key == "ways" or value != config.ways)
    ]


def check_heads(config: RunConfig, learner: Any) -> list[str]:
    """Check that a learner with a head for each label has the same ways in training and test."""
    ways, train_ways = config.ways, config.train_ways
    if getattr(learner, "per_label_head", False) and ANY in (ways, train_ways):
        return [
            f"ways=any: {config.choices.algo} has a head for each label, so all its tasks have "
            "one number of ways, e.g. ways=5"
        ]
    if getattr(learner, "per_label_head", False) and ways and train_ways and ways != train_ways:
        return [
            f"ways={ways} train_ways={train_ways}: {config.choices.algo} "
            "has a head for each label, so it is tested with as many ways as it is trained with"
        ]
    return []
