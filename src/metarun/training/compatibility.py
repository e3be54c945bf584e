"""Whether the choices of a run fit each other: sizes of tasks, data, learner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metarun.config.schema import RunConfig
from metarun.data import duplicates
from metarun.data.classes import Facts
from metarun.tasks.task import Spec

RUN = {"train": "train_", "val": "", "test": ""}  # each split with the prefix of its sizes' keys


def misfits(
    config: RunConfig,
    facts: Mapping[str, Facts | None],
    used: Mapping[str, str],
    splits: Mapping[str, Any] | None = None,
) -> list[str]:
    """Where the episodes asked for do not fit the classes and items there are.

    Args:
        splits: lets the classes that are too small be named.
    """
    lines = []
    name = config.choices.data
    known = {split: facts[split] for split in used if facts.get(split) is not None}
    if all(task_of(config, p) == task_of(config, "") for p in used.values()):  # one line for all
        used = dict.fromkeys(used, "")
    for prefix in dict.fromkeys(used[split] for split in known):
        ways, shots, queries = task_of(config, prefix)
        if None in (ways, shots, queries):
            continue  # see `missizes`
        mine = {split: fact for split, fact in known.items() if used[split] == prefix}
        if ways < 2:
            lines.append(f"{prefix}ways={ways}: should be greater than or equal to 2")
        split, fewest = min(mine.items(), key=lambda item: item[1].classes)
        if ways > fewest.classes:
            lines.append(
                f"{prefix}ways={ways}: the {split} split of {name} has {fewest.classes} classes"
            )
        split, fewest = min(mine.items(), key=lambda item: item[1].smallest)
        if shots + queries > fewest.smallest:
            short = duplicates.small_classes(splits[split], shots + queries) if splits else []
            which = f" ({duplicates.named(short)})" if short else ""
            lines.append(
                f"{prefix}shots={shots} {prefix}queries={queries}: a class of {name} has "
                f"{fewest.smallest} items{which}; shots + queries can be {fewest.smallest} at most"
            )
    return lines


def missizes(
    config: RunConfig, splits: Mapping[str, Any], used: Mapping[str, str] = RUN
) -> list[str]:
    """The sizes that are given where tasks have their own, and those that are missing elsewhere."""
    lines, data = [], config.choices.data
    for split, prefix in used.items():
        own = hasattr(splits[split], "choose")
        for key, value, same in zip(
            ("ways", "shots", "queries"), task_of(config, prefix), task_of(config), strict=True
        ):
            if value is None and not own:
                lines.append(f"{prefix}{key}=null: should be a number")
            elif own and value is not None and not (prefix and value == same):
                lines.append(
                    f"{prefix}{key}={value}: tasks of {data} have sizes of their own; "
                    f"leave {prefix}{key} out"
                )
        if not own and splits[split].facts is None:
            lines += wayless(config)
    return list(dict.fromkeys(lines))


def task_of(config: RunConfig, prefix: str = "") -> tuple[int | None, ...]:
    """Ways, shots and queries of evaluation, or of training with the prefix `train_`."""
    return tuple(getattr(config, prefix + key) for key in ("ways", "shots", "queries"))


def misplaced(config: RunConfig, learner: Any, spec: Spec) -> list[str]:
    """What a learner needs of its tasks and these tasks do not have."""
    algo, data = config.choices.algo, config.choices.data
    if not spec.examples and getattr(learner, "needs_examples", True):
        return [
            f"algo={algo} data={data}: {algo} takes supports apart into examples, and those of "
            f"{data} are environments; algo=maml acts in them"
        ]
    if not spec.objective.labels and getattr(learner, "needs_labels", True):
        return [
            f"algo={algo} data={data}: {algo} tells classes apart, and {data} has numbers to be "
            "predicted; algo=maml predicts them"
        ]
    if not spec.examples and config.algo.get("batch_norm") == "inductive":
        return [
            f"algo.batch_norm=inductive: a query is normalised by the items of its support, and "
            f"those of {data} are environments; algo.batch_norm=transductive"
        ]
    return []


def wayless(config: RunConfig) -> list[str]:
    """The keys that speak of classes where the data has none."""
    data = config.choices.data
    return [
        f"{key}={value}: {data} has no classes; leave {key} out"
        for key, value in (("ways", config.ways), ("train_ways", config.train_ways))
        if value not in (1, None) and (key == "ways" or value != config.ways)
    ]


def heads(config: RunConfig, learner: Any) -> list[str]:
    ways, train_ways = config.ways, config.train_ways
    if getattr(learner, "per_label_head", False) and ways and train_ways and ways != train_ways:
        return [
            f"ways={ways} train_ways={train_ways}: {config.choices.algo} "
            "has a head for each label, so it is tested with as many ways as it is trained with"
        ]
    return []
