"""The learner of a configuration, its device and its floating-point type."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metarun.algorithms import Learner
from metarun.backbones.bfloat16 import cpu_has_bfloat16, in_bfloat16
from metarun.config.instantiate import blueprint, target_of
from metarun.config.schema import RunConfig
from metarun.errors import Mistakes, Refused
from metarun.tasks.task import Spec
from metarun.training.pretraining import start_of, started

log = logging.getLogger(__name__)
THREADS = torch.get_num_threads()  # torch's default, before a run in this process changes it
BUILT_GROUPS = ("data", "backbone", "algo", "optimizer", "augmentation", "logger")


def plan(
    nodes: Mapping[str, Any], folders: Sequence[Path], mistakes: Mistakes
) -> dict[str, Callable[..., Any] | None]:
    """The blueprint of each group; `None` if its node has a mistake."""
    return {g: mistakes.catch(blueprint, g, nodes[g], folders) for g in BUILT_GROUPS}


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


def _backbone(config: RunConfig, blueprint: Callable[..., Any], spec: Spec) -> Any:
    built_in = target_of(blueprint).__module__.startswith("metarun.")
    takes_names = getattr(target_of(blueprint), "named_inputs", False)
    if built_in and isinstance(spec.inputs, Mapping) and not takes_names:
        raise Refused(
            f"backbone={config.choices.backbone}: takes items that are one tensor, but items of "
            f"{config.choices.data} have several: {', '.join(spec.inputs)}"
        )
    backbone = blueprint(spec.inputs)
    return in_bfloat16(backbone) if config.precision == "bfloat16" else backbone


def dtype_of(config: RunConfig) -> torch.dtype:
    """The type of the learner's weights and inputs."""
    return torch.float64 if config.precision == "float64" else torch.float32


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
