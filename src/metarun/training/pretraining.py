"""Weights that a backbone starts from: those of another run, or of a file."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from metarun.backbones.frozen import Frozen
from metarun.config.schema import RunConfig, Start
from metarun.data.duplicates import named
from metarun.errors import Refused
from metarun.files import read_or_refuse
from metarun.runs import checkpoint
from metarun.runs.content import misfit
from metarun.training.seen import Training

MAX_BYTES = 2**32  # of a file of weights
NESTS = ("state_dict", "model", "learner")  # where files keep the weights, if not at the top
SEES_IMAGENET = ("mini_imagenet", "tiered_imagenet")  # data whose classes are ImageNet's

Record = dict[str, Any]  # what the weights were trained on, for the protocol


def start_of(config: RunConfig, target: Any) -> Start:
    """The general keys of the backbone, without those that its class reads itself."""
    own = getattr(target.__init__, "__kwdefaults__", None) or {}
    return Start(
        **{k: v for k, v in config.backbone.items() if k in Start.model_fields and k not in own}
    )


def started(backbone: nn.Module, start: Start, weights: Mapping[str, Tensor] | None) -> nn.Module:
    """The backbone with these weights, if any, frozen if the configuration says so."""
    if weights is not None and not any(p.is_meta for p in backbone.parameters()):
        backbone.load_state_dict(_fitting(weights, backbone, f"backbone.weights={start.weights}"))
    return Frozen(backbone) if start.frozen else backbone


def read_weights(
    start: Start, config: RunConfig, splits: Mapping[str, Any] | None, folders: Sequence[Path]
) -> tuple[Mapping[str, Tensor] | None, Record | None]:
    """The weights that `backbone.weights` names, and what they were trained on.

    Args:
        splits: the data of this run; `None`: nothing is trained or tested.
        folders: the user's config folders.

    Raises:
        Refused: the weights cannot be read, or were trained on a class that this run validates or
            tests on.
    """
    if start.weights is None:
        return None, None
    path, key = Path(start.weights), f"backbone.weights={start.weights}"
    if path.is_dir():
        state = checkpoint.best(path / "checkpoints")
        seen = {} if splits is None else _seen(key, state, config, splits, folders)
        return state["learner"], {"run": path.name, **state["trained_on"], **seen}
    if not path.is_file():
        raise Refused(f"{key}: no such file, and no folder of a run")
    content = read_or_refuse(path, MAX_BYTES)
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types
        raise Refused(f"{key}: cannot be read as weights ({type(error).__name__})") from error
    for nest in NESTS:
        state = state.get(nest, state) if isinstance(state, Mapping) else state
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise Refused(f"{key}: holds no weights by name (a state dict)")
    return state, {
        "file": path.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "seen": "unknown",
    }


def seen_by(learner: nn.Module, config: RunConfig) -> Record | None:
    """What the learner's network was trained on, if its weights are its own."""
    for module in learner.modules():
        if seen := getattr(module, "pretraining", None):
            return {"network": config.choices.backbone, "seen": seen}
    return None


def keep_features(learner: nn.Module, config: RunConfig, inputs: Any) -> None:
    """Let a frozen network of metarun keep its features of pictures in the cache of the data.

    Other features take less time to compute than to look up. The features of random weights are of
    no use to another run, and those of a network of the user depend on code that may change.

    Args:
        inputs: the shape of one item.
    """
    cache = config.data.get("cache")
    trained = config.backbone.get("weights") or seen_by(learner, config)
    if not isinstance(cache, str) or not trained or len(inputs) != 3:
        return
    for module in learner.modules():
        if isinstance(module, Frozen) and type(module.net).__module__.startswith("metarun."):
            module.folder = Path(cache).expanduser() / "features"


def warnings(record: Record | None, config: RunConfig) -> list[str]:
    """What a user should know about the weights' training data."""
    record, data = record or {}, config.choices.data
    seen, lines = record.get("seen", ""), []
    if "ImageNet" in seen and data in SEES_IMAGENET:
        lines.append(f"its backbone was trained on the test classes of {data} ({seen})")
    for split, shared in record.get("seen_in_training", {}).items():
        where = f"the {split} split of {data} were in the training of its weights ({record['run']}"
        if shared["classes"] == "unknown":
            lines.append(f"whether classes of {where}, on {record['train_data']}) is unknown")
        if shared["items"] not in ("unknown", 0):
            lines.append(f"{shared['items']} items of {where})")
    return lines


def _fitting(weights: Mapping[str, Tensor], net: nn.Module, key: str) -> Mapping[str, Tensor]:
    """The weights of `net` among those of a learner, whose names have a prefix, or of a network."""
    expected = net.state_dict()
    if not expected:
        raise Refused(f"{key}: the backbone has no weights; leave it out")
    first = next(iter(expected))
    prefixes = [name.removesuffix(first) for name in weights if name.endswith(first)]
    reasons = []
    for prefix in prefixes:
        found = {n.removeprefix(prefix): w for n, w in weights.items() if n.startswith(prefix)}
        found = {name: w.to(expected[name].dtype) for name, w in found.items() if name in expected}
        reason = misfit(found, expected)
        if reason is None:
            return found
        reasons.append(reason)
    reason = reasons[0] if reasons else f"{first} is missing"
    raise Refused(f"{key}: the weights do not fit the backbone: {reason}")


def _seen(
    key: str,
    state: Mapping[str, Any],
    config: RunConfig,
    splits: Mapping[str, Any],
    folders: Sequence[Path],
) -> Record:
    """What the training of a run on other data has seen of validation and test, for the protocol.

    Raises:
        Refused: a class of these splits is known to be one of its training classes.
    """
    if state["trained_on"]["train_split_sha256"] == splits["train"].sha256:
        return {}
    training, record = Training(state, config, folders), {}
    for split in [name for name in splits if name != "train"]:
        seen = training.in_(splits[split])
        if seen.classes:
            raise Refused(
                f"{key}: was trained on {len(seen.classes)} classes of the {split} split of this "
                f"run ({named(seen.classes)})"
            )
        record[split] = seen.record()
    return {"seen_in_training": record}
