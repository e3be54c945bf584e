"""The keys of every run, with their types and ranges. Imports nothing heavy."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Node = dict[str, Any]  # of a group: `_target_`, what the choice is, and its keys
GROUPS = ("algo", "data", "backbone", "optimizer", "augmentation", "logger", "experiment", "debug")


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise ValueError("should be auto, cpu, cuda, cuda:N or mps")
    return name


class Choices(BaseModel):
    """The name of what was chosen in each group, for the record."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    algo: str
    data: str
    backbone: str
    optimizer: str
    augmentation: str


class Preset(BaseModel):
    """What is published for the ways and shots of a preset; see `conf/experiment`.

    Attributes:
        experiment: the preset, ALGO/DATA.
        cell: its ways and shots.
        published: `mean` and, where it is known, `ci95` of the score: accuracy in %, other scores
            as they are. `None` where the paper does not report the cell.
        score: the name of the score.
        source: paper and table.
        protocol: how the figure was measured, as far as it is known.
        notes: how the authors' procedure differs besides.
        typed: overrides of the command that change the published setting.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    experiment: str
    cell: str
    published: dict[str, float] | None
    score: str
    source: str
    protocol: dict[str, Any]
    notes: list[str]
    typed: list[str]


class RunConfig(BaseModel):
    """The checked configuration of a run: what `config.yaml` holds, in its order.

    The keys of the groups `backbone` to `data` are checked against what they build, so these stay
    dicts as they were composed. Nothing changes a configuration: `model_copy` makes another one.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)

    # ways is 1 where tasks are not made of classes, else 2 at least; all are null where tasks have
    # sizes of their own. `training/parts.py` checks it.
    ways: Count | None
    shots: Count | None
    queries: Count | None
    train_ways: Count | None
    train_shots: Count | None
    train_queries: Count | None
    steps: Count
    meta_batch: Count
    eval_every: Count
    log_every: Count
    val_episodes: Count
    test_episodes: Annotated[int, Field(ge=2)]
    seed: Seed
    eval_seed: Seed
    device: Annotated[str, AfterValidator(_device)]
    precision: Literal["float32", "float64"]
    threads: Count | None
    audit: Literal["quick", "full"]
    tags: list[str]
    quick: bool = False
    preset: Preset | None = None
    out: Annotated[str, Field(min_length=1)]
    data_home: Annotated[str, Field(min_length=1)]
    choices: Choices
    backbone: Node
    optimizer: Node
    augmentation: Node
    logger: Node
    algo: Node
    data: Node


def explain(error: ValidationError, prefix: str = "") -> list[str]:
    """One line for each mistake pydantic found: key, what would be right, value."""
    lines = []
    wrong = {".".join(map(str, d["loc"])): d["input"] for d in error.errors()}
    for detail in error.errors():
        followed = str(detail["loc"][0]).removeprefix("train_")
        if followed != detail["loc"][0] and wrong.get(followed, ...) == detail["input"]:
            continue  # train_shots follows shots: one mistake, one line
        # Positions below the key (a branch of a union, an item of a list) say nothing to a user,
        # but the numbers of items do.
        where = [str(part) for part in detail["loc"] if str(part).isidentifier()][:1]
        key = ".".join(([prefix] if prefix else []) + where)
        message = detail["msg"].removeprefix("Value error, ")
        message = message.removeprefix("Input ").partition(" or instance of ")[0]
        message = message[0].lower() + message[1:]
        if detail["type"] == "missing":
            lines.append(f"{key}: missing")
        else:
            lines.append(f"{key}={show(detail['input'])}: {message}")
    return list(dict.fromkeys(lines))


def show(value: Any) -> str:
    """A value as one would type it, shortened."""
    text = {None: "null", True: "true", False: "false"}.get(value) if _plain(value) else None
    text = text if text is not None else str(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, bool)
