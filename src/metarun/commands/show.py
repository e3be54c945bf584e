"""`metarun show data=NAME …`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metarun.config.command_line import Request, new_file_mistakes
from metarun.errors import Refused, refusing_os_errors

if TYPE_CHECKING:
    from rich.table import Table

log = logging.getLogger(__name__)
EPISODES = 3
Inputs = tuple[int, ...] | Mapping[str, tuple[int, ...]]


def run(request: Request) -> int:
    """Print a table of the splits, and draw the first episodes of one split.

    The command takes the same overrides as `train`. `split=train` draws the training episodes of
    that run, with its augmentation; `val` and `test` draw its frozen episodes.
    """
    from metarun.config.compose import checked, compose
    from metarun.config.groups import user_folders

    request.accept("--config-dir")
    split = request.take("split") or "test"
    if split not in ("train", "val", "test"):
        raise Refused(f"split={split}: should be train, val or test")
    out = request.folder("out")
    if lines := new_file_mistakes(out, ".png"):
        raise Refused(*lines)
    cfg = compose(request.words, request.flags.config_dir)
    config, folders = checked(cfg), user_folders(cfg)

    from metarun.config.instantiate import blueprint
    from metarun.errors import Mistakes
    from metarun.plots import episodes
    from metarun.tasks.gathered import source_of
    from metarun.tasks.sampler import Sampler
    from metarun.training.compatibility import task_of
    from metarun.training.display import console
    from metarun.training.splits import load_splits

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
    path = out or _unused(Path(f"{name.replace('/', '_')}_{split}.png"))
    with refusing_os_errors(f"out={path}", "cannot be written to"):
        drawn = episodes.draw_episodes(
            path, f"{config.data_name}, {split} split", sampler, range(EPISODES)
        )
    line = str(path) if drawn else f"items are {_describe(source.spec.inputs)}: no picture"
    if out and not drawn:
        raise Refused(f"out={out}: {line}; leave it out")
    screen.print(line, soft_wrap=True, markup=False)
    return 0


def table(splits: Mapping[str, Any]) -> Table:
    """Return a table with a row for each split: its size and the start of its sha256."""
    from rich import box
    from rich.table import Table

    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("split", "classes", "items", "items a class", "shape", "type", "sha256"):
        grid.add_column(title, justify="right" if title in ("classes", "items") else "left")
    for name, tasks in splits.items():
        counts = getattr(tasks, "counts", None)
        items = getattr(tasks, "items", None)
        sizes = ["–", "drawn", "–"]
        if tasks.facts is not None:
            sizes = [f"{tasks.facts.classes:,}", "–", f"{tasks.facts.smallest:,} at least"]
        if counts is not None and len(counts):
            smallest, largest = int(counts.min()), int(counts.max())
            sizes[1:] = [
                f"{int(counts.sum()):,}",
                f"{smallest:,}" if smallest == largest else f"{smallest:,}–{largest:,}",
            ]
        dtype = str(getattr(items, "dtype", "–"))
        grid.add_row(name, *sizes, _shape_text(_shape(tasks)), dtype, tasks.sha256[:12])
    return grid


def _shape(tasks: Any) -> Inputs:
    """Return the shape of an item, or the shapes by name."""
    return tasks.shape if hasattr(tasks, "shape") else tasks.spec.inputs


def _shape_text(shape: Inputs) -> str:
    return ", ".join(shape) if isinstance(shape, Mapping) else "×".join(map(str, shape))


def _describe(shape: Inputs) -> str:
    """Describe items that are not images."""
    text = _shape_text(shape)
    return text if isinstance(shape, Mapping) else f"vectors of {text} numbers"


def _unused(path: Path) -> Path:
    """Return `path`, or, if it exists, the path with the first unused number, from 2."""
    number, unused = 1, path
    while unused.exists() or unused.is_symlink():
        number += 1
        unused = path.with_stem(f"{path.stem}_{number}")
    return unused
