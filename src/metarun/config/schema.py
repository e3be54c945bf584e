"""The top-level keys of every run, with their types and ranges. Imports only pydantic."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

Count = Annotated[int, Field(ge=1)]
RANGE = re.compile(r"([1-9]\d{0,5})-([1-9]\d{0,5})")  # 1-10
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Node = dict[str, Any]  # a group: `_target_` and the keys of the choice
Place = Annotated[str, "path"]  # the type of an argument that is a path
# All keys of that type.
PLACES = ("data.root", "data.file", "data.cache", "data.split_file", "backbone.weights")
OF_ALL_DATA = ("data.train_on",)  # keys of every data set, beside those of its class
GROUPS = ("algo", "data", "backbone", "optimizer", "augmentation", "logger", "experiment", "debug")


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise ValueError("should be auto, cpu, cuda, cuda:N or mps")
    return name


def _workers(number: Any) -> Any:
    if number != "auto" and (type(number) is not int or not 1 <= number <= 1024):
        raise ValueError("should be a number of processes, 1 to 1024, or auto")
    return number


def _any(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    return value if value == "any" else check(value)


def _any_or_range(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    if isinstance(value, str) and (limits := RANGE.fullmatch(value)):
        if int(limits[1]) >= int(limits[2]):
            raise ValueError("should be the fewest and the most, e.g. 1-10")
        return value
    return _any(value, check)


_AS_IT_IS = PlainSerializer(lambda value: value)
Size = Annotated[Count | None, WrapValidator(_any), _AS_IT_IS]  # a number, or `any`
Shots = Annotated[Count | None, WrapValidator(_any_or_range), _AS_IT_IS]  # also `1-10`


class Choices(BaseModel):
    """The name of the choice in each group."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    algo: str
    data: str
    backbone: str
    optimizer: str
    augmentation: str


class Start(BaseModel):
    """Keys of every backbone, beside those of its class.

    Attributes:
        weights: a run folder or a file with the initial weights.
        frozen: the weights are not trained.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    weights: Place | None = None
    frozen: bool = False


class Preset(BaseModel):
    """The published figure for the ways and shots of a preset; see `conf/experiment`.

    Attributes:
        experiment: the preset, ALGO/DATA.
        cell: the ways and shots, as in `5way_1shot`.
        published: `mean` and, if known, `ci95` of the score (accuracy in %). `None` if the
            paper does not report this cell.
        reruns: figures that others have reached independently: `mean`, `ci95` if known, `source`.
        score: the name of the score.
        source: paper and table.
        protocol: the settings with which the figure was measured, as far as known.
        notes: other differences between the authors' procedure and the preset.
        changes: overrides on the command line, and quick settings, that change the published
            setting.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    experiment: str
    cell: str
    published: dict[str, float] | None
    reruns: list[dict[str, Any]] = []
    score: str
    source: str
    protocol: dict[str, Any]
    notes: list[str]
    changes: list[str]


class RunConfig(BaseModel):
    """The checked configuration of a run: the keys of its `config.yaml`, in the same order.

    The groups `backbone` to `data` stay dicts here; `blueprint` checks their keys against the
    class that each names. The configuration is immutable; `model_copy` creates a changed copy.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)

    # `ways` is 1 if tasks have no classes, else at least 2. All six are null if the data set
    # defines the sizes of tasks; `tasks/any_size.py` has those that differ between tasks.
    # `training/compatibility.py` checks this.
    ways: Size
    shots: Shots
    queries: Size
    train_ways: Size
    train_shots: Shots
    train_queries: Size
    steps: Annotated[int, Field(ge=0)]  # 0 only if the learner has nothing to train
    meta_batch: Count
    eval_every: Count
    log_every: Count
    val_episodes: Count
    test_episodes: Annotated[int, Field(ge=2)]
    seed: Seed
    eval_seed: Seed
    device: Annotated[str, AfterValidator(_device)]
    precision: Literal["float32", "float64", "bfloat16"]
    threads: Annotated[int, Field(ge=1, le=1024)] | None  # far more end the process
    workers: Annotated[Any, AfterValidator(_workers)] = 1  # "auto" until the parts are assembled
    engine: Literal["auto", "loop", "layerwise", "vmap", "learn2learn"] = "auto"
    tasks_at_once: Count | None = None
    steps_from: Annotated[str, Field(min_length=1)] | None = None
    audit: Literal["quick", "full"]
    tags: list[str]
    quick: bool = False
    preset: Preset | None = None
    out: Annotated[str, Field(min_length=1)]
    data_home: Annotated[str, Field(min_length=1)]
    choices: Choices
    backbone: Node
    data: Node
    optimizer: Node
    augmentation: Node
    logger: Node
    algo: Node

    @property
    def train_on(self) -> str:
        """The classes of the training: `train` or `trainval`; `training/splits.py` checks it."""
        return self.data.get("train_on", "train")

    @property
    def data_name(self) -> str:
        """The name of the data set in tables and titles: its key `name`, or the choice of `data`.

        If `name` is null, as by default for data of the user, it is the name of their folder or
        file.
        """
        name, place = self.data.get("name"), self.data.get("root") or self.data.get("file")
        if "name" in self.data and name is None and isinstance(place, str):
            path = Path(place).expanduser().resolve()
            name = path.name if "root" in self.data else path.stem
        return name or self.choices.data
