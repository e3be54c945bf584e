"""The objects of a run, built from its configuration after it is checked as a whole."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from metarun.algorithms import Learner
from metarun.config.instantiate import target_of
from metarun.config.schema import RunConfig
from metarun.errors import Mistakes, Refused
from metarun.tasks.augmentation import Augmentation, ImageAugmentation
from metarun.tasks.gathered import source_of
from metarun.tasks.sampler import Sampler, TaskSource
from metarun.tasks.task import Spec
from metarun.training.allocator import keep_freed_memory
from metarun.training.compatibility import (
    RUN,
    check_heads,
    check_learner,
    check_steps,
    task_of,
)
from metarun.training.engines import set_engine
from metarun.training.learner import THREADS, build_learner, device_of, dtype_of, plan
from metarun.training.memory import check_memory
from metarun.training.optimizer import check_optimizer
from metarun.training.pretraining import (
    Record,
    keep_features,
    read_weights,
    seen_by,
    start_of,
    warnings,
)
from metarun.training.processes import set_workers
from metarun.training.splits import load_splits

log = logging.getLogger(__name__)


@dataclass
class Parts:
    """The objects that a run uses. Building them writes nothing to the run folder.

    Attributes:
        config: the checked configuration, with the engine, workers and threads in use.
        splits: the splits `train`, `val` and `test`; without `val` if its classes are in `train`.
        spec: the specification of the tasks that the learner was built for.
        learner: the learner with its initial weights, on `device`.
        optimizer, logger: factories, called when training starts.
        device, dtype: of the learner and its inputs.
        augment: the augmentation of training episodes; `None` for none.
        pretraining: what the initial weights of the backbone were trained on; `None` for nothing.
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
    pretraining: Record | None

    def training(self) -> Sampler:
        """The sampler of training episodes."""
        return Sampler.training(self.source("train"), self.config.seed, self.augment)

    def frozen(self, split: str) -> Sampler:
        """The sampler of the fixed evaluation episodes of `split`."""
        return Sampler.frozen(self.source(split, ""), split, self.config.eval_seed)

    def source(self, split: str, prefix: str = "train_") -> TaskSource:
        """The tasks of a split, of the training size or, with `prefix=""`, the evaluation size."""
        sizes = task_of(self.config, prefix)
        return source_of(self.splits[split], sizes, self.device, self.dtype)


def saved_spec(spec: Spec) -> dict[str, Any]:
    """The values of a spec that the learner's weights depend on, for the checkpoint."""
    shapes = spec.inputs if isinstance(spec.inputs, Mapping) else {"": spec.inputs}
    inputs = {name: tuple(map(int, shape)) for name, shape in shapes.items()}
    return {
        "outputs": spec.outputs,
        "shots": spec.shots,
        "classes": spec.classes,
        "inputs": inputs.get("", inputs),
    }


def assemble(
    config: RunConfig,
    folders: Sequence[Path] = (),
    used: Mapping[str, str] = RUN,
    trained_spec: Mapping[str, Any] | None = None,
) -> Parts:
    """Check every node and their compatibility, load the data and build the learner.

    Args:
        folders: the user's config folders, which may define further targets.
        used: the splits that this command draws episodes from; each maps to the prefix of the keys
            that set its ways, shots and queries.
        trained_spec: `saved_spec` of the data that the learner was trained on. Default: the values
            for the data of `config`.

    Raises:
        Refused: the configuration is invalid; one line for each mistake.
    """
    mistakes = Mistakes()
    plans = plan(dict(config), folders, mistakes)
    device = mistakes.catch(device_of, config.device, config.precision)
    if plans["algo"] is not None:
        learner_type = target_of(plans["algo"])
        mistakes.lines += check_heads(config, learner_type)
        if not config.backbone.get("frozen"):  # else it depends on the learner
            mistakes.lines += check_steps(config, learner_type)
        if not getattr(learner_type, "learns", True):  # so that all algorithms fit into one sweep
            config = config.model_copy(update={"steps": 0})
    trained_spec = trained_spec or {}
    splits = load_splits(config, plans["data"], used, mistakes, trained_spec.get("inputs"))
    mistakes.settle()
    dtype = dtype_of(config)
    source = source_of(splits["train"], task_of(config, "train_"), device, dtype)
    spec = source.spec
    lines = check_learner(config, target_of(plans["algo"]), spec)
    mistakes.lines += lines or check_optimizer(target_of(plans["optimizer"]), config, spec)
    augment = None
    if "train_" in used.values():  # only for training: evaluation data may have another shape
        augment = mistakes.catch(plans["augmentation"], spec.inputs)
        if isinstance(augment, ImageAugmentation) and hasattr(splits["train"], "normalisation"):
            mistakes.lines.append(
                f"augmentation={config.choices.augmentation}: changes pictures, and the items of "
                f"{config.choices.data} are none; use augmentation=none"
            )
    mistakes.settle()
    keep_freed_memory()
    torch.set_num_threads(config.threads or THREADS)
    if spec.kind == "functions" and trained_spec and trained_spec["shots"] < spec.shots:
        log.warning(
            "data.horizon=%d: %s was trained on paths of %d steps",
            *(spec.shots, config.choices.algo, trained_spec["shots"]),
        )
    spec = replace(spec, **trained_spec)

    start = start_of(config, target_of(plans["backbone"]))
    weights = pretraining = None
    if not trained_spec:  # else a checkpoint has them
        weights, pretraining = read_weights(start, config, splits, folders)

    def build() -> Learner:
        return build_learner(config, plans, spec, weights)

    if "train_" in used.values() and spec.examples:
        check_memory(config, build, Sampler.training(source, config.seed).tasks([0])[0], device)
    torch.manual_seed(config.seed)  # initial weights depend on the seed and the shapes only
    learner = build().to(device)
    keep_features(learner, config, spec.inputs)
    if learner.learns and not any(p.requires_grad for p in learner.parameters()):
        algo, net = config.choices.algo, config.choices.backbone
        raise Refused(
            f"algo={algo} backbone={net}: together they have no trainable parameters; "
            "algo=simpleshot, algo=linear_probe and the nearest_* algorithms need none"
        )
    if not learner.learns:
        config = config.model_copy(update={"steps": 0})
    elif mistakes_in_steps := check_steps(config, type(learner)):
        raise Refused(*mistakes_in_steps)
    pretraining = pretraining or seen_by(learner, config)
    for line in warnings(pretraining, config):
        log.warning("%s: %s", config.choices.backbone, line)
    config = set_engine(learner, config, spec, device.type)
    config = set_workers(learner, config, THREADS)
    torch.set_num_threads(config.threads)
    optimizer, logger = plans["optimizer"], plans["logger"]
    return Parts(
        config, splits, spec, learner, optimizer, logger, device, dtype, augment, pretraining
    )
