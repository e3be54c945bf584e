"""What checkpoints contain, with types: anybody can write a file with a valid checksum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    NonNegativeInt,
    ValidationError,
    model_validator,
)
from torch import Tensor

MAX_NODES, MAX_DEPTH = 10**6, 30
Weights = dict[str, Tensor]
Shape = tuple[Annotated[int, Field(ge=1, le=10**6)], ...]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, arbitrary_types_allowed=True)


class Task(_Strict):
    """See `metarun.training.parts.saved_spec`."""

    outputs: Annotated[int, Field(ge=1, le=10**5)]
    shots: NonNegativeInt
    classes: Annotated[int, Field(ge=0, le=10**6)]
    inputs: Shape | dict[str, Shape] | None = None  # `None`: of an older version


class TrainedOn(_Strict):
    """See `metarun.training.protocol.trained_on`."""

    train_data: str
    train_split_sha256: str
    pretraining: dict[str, JsonValue] | None = None


class Figure(_Strict):
    """A mean over episodes and the half-width of its 95 % interval."""

    mean: float
    ci95: float


class Scores(_Strict):
    """The figure of each score at the best validation, and its step."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Figure]

    best_step: NonNegativeInt


class Lines(_Strict):
    """See `metarun.runs.metrics.Record`."""

    lines: NonNegativeInt
    sha256: str


class StepScores(_Strict):
    """The scores of an outer step."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, float]

    loss: float


class Optimizer(_Strict):
    """The state dict of a torch optimizer."""

    state: dict[int, dict[str, Any]]
    param_groups: list[dict[str, Any]]


class Content(_Strict):
    """What `best.pt` and `last.pt` contain; see `metarun.training.state.State`."""

    step: NonNegativeInt
    id: Annotated[str, Field(pattern=r"^[\w-]{1,64}$")]
    command: str
    task: Task
    trained_on: TrainedOn
    config: dict[str, JsonValue]
    best: Scores | None
    learner: Weights


class Best(Content):
    """The content of `best.pt`."""

    best: Scores


class Last(Content):
    """The content of `last.pt`; see `metarun.training.state.State`."""

    validated: NonNegativeInt
    best_learner: Weights | None
    recent: list[StepScores]
    metrics: Lines
    wall_seconds: float
    step_seconds: float
    resumed_with: list[str]
    splits: dict[str, str]
    optimizer: Optimizer
    trial: int | None = None

    @model_validator(mode="after")
    def _entries_fit_each_other(self) -> Last:
        if (self.best is None) != (self.best_learner is None):
            raise ValueError("best and best_learner belong together")
        if self.validated > self.step or (self.validated > 0 and self.best is None):
            raise ValueError("the validations do not fit the step")
        if len({frozenset(scores.model_dump()) for scores in self.recent}) > 1:
            raise ValueError("the scores of the recent steps have different names")
        return self


def check(state: Any, content: type[Content] | None) -> None:
    """Check what was read from a checkpoint.

    Args:
        content: what the checkpoint should contain; `None` accepts any plain containers.

    Raises:
        ValueError: a value is missing or of another type, a tensor has no values of its own, or
            there are more than `MAX_NODES` values, e.g. because containers contain themselves.
    """
    _check_plain(state)
    if content is None:
        return
    try:
        content.model_validate(state)
    except ValidationError as error:
        first = error.errors(include_input=False, include_context=False, include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise ValueError(f"{key or 'content'}: {first['msg']}") from None


def _check_plain(state: Any) -> None:
    pending, count = [(state, 0)], 1
    while pending:
        value, depth = pending.pop()
        if isinstance(value, Tensor):
            values = value.element_size() * value.numel()
            if value.layout != torch.strided or value.device.type == "meta":
                raise ValueError(f"a tensor is {value.layout} on {value.device}")
            if values > value.untyped_storage().nbytes():
                raise ValueError(f"a tensor of shape {tuple(value.shape)} lacks values")
        elif isinstance(value, Mapping | list | tuple):
            inner = [*value, *value.values()] if isinstance(value, Mapping) else value
            count += len(inner)
            if count > MAX_NODES or depth > MAX_DEPTH:
                raise ValueError(f"more than {MAX_NODES} values, or {MAX_DEPTH} levels")
            pending += [(item, depth + 1) for item in inner]
        elif value is not None and type(value) not in (bool, int, float, str):
            raise ValueError(f"contains a {type(value).__name__}")


def misfit(weights: Mapping[str, Tensor], expected: Mapping[str, Any]) -> str | None:
    """Why weights do not fit the state dict of a learner; `None` if they do."""
    for name in sorted(weights.keys() ^ expected.keys()):
        return f"{name} is {'missing' if name in expected else 'not one of its weights'}"
    for name, tensor in weights.items():
        found = (tuple(tensor.shape), tensor.dtype)
        if found != (right := (tuple(expected[name].shape), expected[name].dtype)):
            return f"{name} is {found[1]} {found[0]}, not {right[1]} {right[0]}"
    return None
