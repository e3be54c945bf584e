"""The parts of a run: checked together, then built."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from metarun.algorithms import Learner
from metarun.config.instantiate import blueprint, target_of
from metarun.config.schema import RunConfig
from metarun.data import duplicates
from metarun.errors import Mistakes, Refused
from metarun.tasks.augmentation import Augmentation
from metarun.tasks.gathered import source_of
from metarun.tasks.sampler import Sampler, TaskSource
from metarun.tasks.task import Spec
from metarun.training.allocator import keep_freed_memory
from metarun.training.compatibility import (
    RUN,
    heads,
    misfits,
    misplaced,
    missizes,
    task_of,
)

log = logging.getLogger(__name__)
THREADS = torch.get_num_threads()  # torch's own, before a run of this process set it
BUILT = ("data", "backbone", "algo", "optimizer", "augmentation", "logger")


@dataclass
class Parts:
    """All that `train.py` puts together. Nothing in it has written to the run folder.

    Attributes:
        config: the checked configuration, with the number of threads that are used.
        splits: `train`, `val`, `test`.
        spec: what the learner was built from.
        learner: with its initial weights, on `device`.
        optimizer, logger: blueprints, to be called by the loop.
        augment: what training episodes go through, if anything.
    """

    config: RunConfig
    splits: dict[str, Any]
    spec: Spec
    learner: Learner
    optimizer: Callable[..., Any]
    logger: Callable[..., Any]
    device: torch.device
    dtype: torch.dtype
    augment: Augmentation | None

    def training(self) -> Sampler:
        return Sampler.training(self.source("train"), self.config.seed, self.augment)

    def frozen(self, split: str) -> Sampler:
        return Sampler.frozen(self.source(split, ""), split, self.config.eval_seed)

    def source(self, split: str, prefix: str = "train_") -> TaskSource:
        """The tasks of a split, of the size of training or, without a prefix, of evaluation."""
        sizes = task_of(self.config, prefix)
        return source_of(self.splits[split], sizes, self.device, self.dtype)


def saved_spec(spec: Spec) -> dict[str, int]:
    """What of a spec a checkpoint keeps: what the learner's weights depend on."""
    return {"outputs": spec.outputs, "shots": spec.shots, "classes": spec.classes}


def assemble(
    config: RunConfig,
    folders: Sequence[Path] = (),
    used: Mapping[str, str] = RUN,
    trained_spec: Mapping[str, Any] | None = None,
) -> Parts:
    """Check every node and how the choices fit, load the data and build the learner.

    Args:
        folders: a user's own config folders, which may name targets of their own.
        used: the splits that this command draws episodes from, each with the prefix of the keys
            that say how many ways, shots and queries.
        trained_spec: `saved_spec` of the data that the learner was trained on; by default, of this
            data.

    Raises:
        Refused: with a line for every mistake.
    """
    mistakes = Mistakes()
    plans = plan(dict(config), folders, mistakes)
    device = mistakes.catch(_device, config.device)
    if plans["algo"] is not None:
        mistakes.lines += heads(config, target_of(plans["algo"]))
    splits = load_splits(config, plans["data"], used, mistakes)
    mistakes.settle()
    dtype = getattr(torch, config.precision)
    spec = source_of(splits["train"], task_of(config, "train_"), device, dtype).spec
    mistakes.lines += misplaced(config, target_of(plans["algo"]), spec)
    augment = None
    if "train_" in used.values():  # evaluation needs none, and its data may be of another shape
        augment = mistakes.catch(plans["augmentation"], spec.inputs)
    mistakes.settle()
    keep_freed_memory()
    config = config.model_copy(update={"threads": config.threads or THREADS})
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)  # initial weights depend on the seed and the shapes alone
    spec = replace(spec, **(trained_spec or {}))
    backbone = _backbone(config, plans["backbone"], spec)
    learner = plans["algo"](backbone, spec).to(device=device, dtype=dtype)
    if not any(p.requires_grad for p in learner.parameters()):
        algo, net = config.choices.algo, config.choices.backbone
        raise Refused(f"algo={algo} backbone={net}: together they have nothing to learn")
    blueprints = plans["optimizer"], plans["logger"]
    return Parts(config, splits, spec, learner, *blueprints, device, dtype, augment)


def _backbone(config: RunConfig, blueprint: Callable[..., Any], spec: Spec) -> Any:
    ours = target_of(blueprint).__module__.startswith("metarun.")
    if ours and isinstance(spec.inputs, Mapping):
        raise Refused(
            f"backbone={config.choices.backbone}: takes items of one shape, and those of "
            f"{config.choices.data} have {', '.join(spec.inputs)}"
        )
    return blueprint(spec.inputs)


def load_splits(
    config: RunConfig,
    blueprint: Callable[..., Any] | None,
    used: Mapping[str, str],
    mistakes: Mistakes,
) -> dict[str, Any]:
    """The splits of the data; what does not fit the tasks asked for is added to the mistakes.

    Raises:
        Refused: with the mistakes so far, before anything is read.
    """
    data = mistakes.catch(blueprint) if blueprint is not None else None
    if data is not None:
        mistakes.lines += misfits(config, mistakes.catch(data.facts) or {}, used)
    mistakes.settle()
    splits = data.load()
    mistakes.lines += missizes(config, splits, used)
    facts = {split: splits[split].facts for split in used}
    mistakes.lines += misfits(config, facts, used, splits)
    mistakes.lines += duplicates.shared_classes(splits)
    if not mistakes.lines:
        for line in duplicates.warnings(splits):
            log.warning("data=%s: %s", config.choices.data, line)
    return splits


def plan(
    nodes: Mapping[str, Any], folders: Sequence[Path], mistakes: Mistakes
) -> dict[str, Callable[..., Any] | None]:
    """The blueprint of each group, or `None` where its node has a mistake."""
    return {g: mistakes.catch(blueprint, g, nodes[g], folders) for g in BUILT}


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise Refused(f"device={name}: not on this machine; device=cpu always is") from error
    return torch.device(name)
