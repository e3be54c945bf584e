"""Checks a run's configuration as a whole and builds data, learner and optimizer from it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metarun.algorithms import Learner
from metarun.backbones.bfloat16 import cpu_has_bfloat16, in_bfloat16
from metarun.config.instantiate import blueprint, target_of
from metarun.config.schema import RunConfig
from metarun.data import duplicates
from metarun.data.classes import Split, joined
from metarun.data.scaled import Shape, as_trained
from metarun.errors import Mistakes, Refused
from metarun.tasks.augmentation import Augmentation
from metarun.tasks.gathered import source_of
from metarun.tasks.sampler import Sampler, TaskSource
from metarun.tasks.task import Spec
from metarun.training.allocator import keep_freed_memory
from metarun.training.compatibility import (
    RUN,
    check_capacity,
    check_heads,
    check_learner,
    check_sizes,
    check_steps,
    task_of,
)
from metarun.training.engines import set_engine
from metarun.training.memory import check_memory
from metarun.training.pretraining import (
    Record,
    keep_features,
    read_weights,
    seen_by,
    start_of,
    started,
    warnings,
)
from metarun.training.processes import set_workers

log = logging.getLogger(__name__)
THREADS = torch.get_num_threads()  # torch's default, before a run in this process changes it
BUILT_GROUPS = ("data", "backbone", "algo", "optimizer", "augmentation", "logger")


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
    mistakes.lines += check_learner(config, target_of(plans["algo"]), spec)
    augment = None
    if "train_" in used.values():  # only for training: evaluation data may have another shape
        augment = mistakes.catch(plans["augmentation"], spec.inputs)
    mistakes.settle()
    keep_freed_memory()
    torch.set_num_threads(config.threads or THREADS)
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


def build_learner(
    config: RunConfig,
    plans: Mapping[str, Callable[..., Any]],
    spec: Spec,
    weights: Mapping[str, Tensor] | None = None,
) -> Learner:
    """Build the learner with its initial weights, for tasks of this specification.

    Args:
        weights: initial weights of the backbone, if they are not random.
    """
    start = start_of(config, target_of(plans["backbone"]))
    backbone = started(_backbone(config, plans["backbone"], spec), start, weights)
    return plans["algo"](backbone, spec).to(dtype_of(config))


def dtype_of(config: RunConfig) -> torch.dtype:
    """The type of the learner's weights and inputs."""
    return torch.float64 if config.precision == "float64" else torch.float32


def _backbone(config: RunConfig, blueprint: Callable[..., Any], spec: Spec) -> Any:
    built_in = target_of(blueprint).__module__.startswith("metarun.")
    if built_in and isinstance(spec.inputs, Mapping):
        raise Refused(
            f"backbone={config.choices.backbone}: takes items that are one tensor, but items of "
            f"{config.choices.data} have several: {', '.join(spec.inputs)}"
        )
    backbone = blueprint(spec.inputs)
    return in_bfloat16(backbone) if config.precision == "bfloat16" else backbone


def load_splits(
    config: RunConfig,
    blueprint: Callable[..., Any] | None,
    used: Mapping[str, str],
    mistakes: Mistakes,
    inputs: Shape | None = None,
) -> dict[str, Any]:
    """Load the splits and add to `mistakes` where they do not fit the configured tasks.

    Args:
        inputs: the shape of items that a learner was trained on; other pictures are scaled to it.

    Raises:
        Refused: `mistakes` is not empty before the data is read, or items cannot have that shape.
    """
    data = mistakes.catch(blueprint) if blueprint is not None else None
    if data is not None:
        mistakes.lines += check_capacity(config, mistakes.catch(data.facts) or {}, used)
    mistakes.settle()
    splits = data.load()
    if inputs is not None:
        name = config.choices.data
        splits = {key: as_trained(split, inputs, name) for key, split in splits.items()}
    if config.train_on != "train":
        splits, used = _with_val_in_train(config, splits, used)
    mistakes.lines += check_sizes(config, splits, used)
    facts = {split: splits[split].facts for split in used}
    mistakes.lines += check_capacity(config, facts, used)
    mistakes.lines += duplicates.shared_classes(splits)
    if not mistakes.lines:
        for line in duplicates.warnings(splits):
            log.warning("data=%s: %s", config.choices.data, line)
    return splits


def _with_val_in_train(
    config: RunConfig, splits: Mapping[str, Any], used: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The splits `train`, with the classes of `val`, and `test`; and those of `used` among them."""
    word, (train, val) = f"data.train_on={config.train_on}", (splits["train"], splits["val"])
    if config.train_on != "trainval":
        raise Refused(f"{word}: should be train or trainval")
    if set(used) == {"val"}:
        raise Refused(f"split=val: {word} trains on its classes, too; use test")
    if not isinstance(train, Split) or not isinstance(val, Split):
        raise Refused(f"{word}: the splits of {config.choices.data} cannot be joined")
    if lines := duplicates.shared_classes(splits):
        raise Refused(*lines)
    try:
        splits = {"train": joined(train, val), "test": splits["test"]}
    except ValueError as error:
        raise Refused(f"{word}: {error} in train and val") from error
    return splits, {split: prefix for split, prefix in used.items() if split in splits}


def plan(
    nodes: Mapping[str, Any], folders: Sequence[Path], mistakes: Mistakes
) -> dict[str, Callable[..., Any] | None]:
    """The blueprint of each group; `None` if its node has a mistake."""
    return {g: mistakes.catch(blueprint, g, nodes[g], folders) for g in BUILT_GROUPS}


def device_of(name: str, precision: str) -> torch.device:
    """The device that the key `device` names, set up for this precision.

    Raises:
        Refused: it is not available.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise Refused(f"device={name}: not available here; device=cpu always is") from error
    if name.startswith("cuda"):  # float32 is float32, and a run can be repeated
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.deterministic = True
    if name == "cpu" and precision == "bfloat16" and not cpu_has_bfloat16():
        log.warning("precision=bfloat16: this CPU has no instructions for it; it will be slow")
    return torch.device(name)
