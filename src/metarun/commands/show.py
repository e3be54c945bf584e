"""`metarun show data=NAME …`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metarun.config.command_line import Request
from metarun.errors import Refused

if TYPE_CHECKING:
    from rich.table import Table

log = logging.getLogger(__name__)
EPISODES = 3
Inputs = tuple[int, ...] | Mapping[str, tuple[int, ...]]


def run(request: Request) -> int:
    """Print a table of the splits, and draw the first episodes that a run would see of one.

    Everything that can be typed for a run can be typed here: `split=train` shows the training
    episodes of that run, augmented if they are, `val` and `test` its frozen ones.
    """
    from metarun.config.compose import checked, compose
    from metarun.config.groups import user_folders

    request.accept("--config-dir")
    split = request.take("split") or "test"
    if split not in ("train", "val", "test"):
        raise Refused(f"split={split}: should be train, val or test")
    typed = _file(request.take("out"))
    cfg = compose(request.words, request.flags.config_dir)
    config, folders = checked(cfg), user_folders(cfg)

    from metarun.config.instantiate import blueprint
    from metarun.errors import Mistakes
    from metarun.plots import episodes
    from metarun.tasks.gathered import source_of
    from metarun.tasks.sampler import Sampler
    from metarun.training.compatibility import task_of
    from metarun.training.display import console
    from metarun.training.parts import load_splits

    name, mistakes = config.choices.data, Mistakes()
    used = {split: "train_" if split == "train" else ""}
    make = mistakes.catch(blueprint, "data", config.data, folders)
    change = mistakes.catch(blueprint, "augmentation", config.augmentation, folders)
    splits, screen = load_splits(config, make, used, mistakes), console()
    screen.print(table(splits))
    mistakes.settle()
    source = source_of(splits[split], task_of(config, used[split]))
    augment = mistakes.catch(change, source.spec.inputs) if split == "train" else None
    mistakes.settle()

    if split == "train":
        sampler = Sampler.training(source, config.seed, augment)
    else:
        sampler = Sampler.frozen(source, split, config.eval_seed)
    path = typed or _free(Path(f"{name.replace('/', '_')}_{split}.png"))
    try:
        drawn = episodes.draw_episodes(path, f"{name}, {split} split", sampler, range(EPISODES))
    except OSError as error:
        raise Refused(f"out={path}: cannot be written to ({error.strerror or error})") from error
    said = str(path) if drawn else f"items are {_items(source.spec.inputs)}: no picture"
    screen.print(said, soft_wrap=True, markup=False)
    return 0


def table(splits: Mapping[str, Any]) -> Table:
    """One line a split: what it holds, and the start of its sha256."""
    from rich import box
    from rich.table import Table

    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("split", "classes", "items", "items a class", "shape", "type", "sha256"):
        grid.add_column(title, justify="right" if title in ("classes", "items") else "left")
    for name, tasks in splits.items():
        counts = getattr(tasks, "counts", None)
        items = getattr(tasks, "items", None)
        held = ["–", "drawn", "–"]
        if tasks.facts is not None:
            held = [f"{tasks.facts.classes:,}", "–", f"{tasks.facts.smallest:,} at least"]
        if counts is not None and len(counts):
            few, many = int(counts.min()), int(counts.max())
            held[1:] = [
                f"{int(counts.sum()):,}",
                f"{few:,}" if few == many else f"{few:,}–{many:,}",
            ]
        kind = "–" if items is None else str(items.dtype)
        grid.add_row(name, *held, _by(_shape(tasks)), kind, tasks.sha256[:12])
    return grid


def _shape(tasks: Any) -> Inputs:
    return tasks.shape if hasattr(tasks, "shape") else tasks.spec.inputs


def _by(shape: Inputs) -> str:
    return ", ".join(shape) if isinstance(shape, Mapping) else "×".join(map(str, shape))


def _items(shape: Inputs) -> str:
    return _by(shape) if isinstance(shape, Mapping) else f"vectors of {_by(shape)} numbers"


def _file(typed: str | None) -> Path | None:
    """Where the picture is asked to go; nothing that is there is written over."""
    if typed is None:
        return None
    path = Path(typed).expanduser()
    if path.suffix.lower() != ".png":
        raise Refused(f"out={typed}: should be the name of a picture: out=FILE.png")
    if not path.parent.is_dir():
        raise Refused(f"out={typed}: no such folder: {path.parent}")
    if path.exists():
        raise Refused(f"out={typed}: is there already; choose another name")
    return path


def _free(path: Path) -> Path:
    """The path, or with the first number, from 2 on, under which there is nothing."""
    number, free = 1, path
    while free.exists() or free.is_symlink():
        number += 1
        free = path.with_stem(f"{path.stem}_{number}")
    return free
