"""The pipelines of learn2learn and easyfsl, from pictures in files to gradients.

As in their examples, both open, resize and convert the pictures of each task. The pictures are
those of Omniglot's background set, or random ones of the same size in the same folders.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from metarun.tasks.objectives import CLASSIFICATION
from metarun.tasks.task import Examples, Task

ALPHABETS, CHARACTERS, DRAWINGS = 10, 20, 20  # of the random pictures
NAME = "images_background"


def missing(peer: str) -> list[str]:
    """Return the packages that the pipeline of a peer needs and that are not installed."""
    return [name for name in (peer, "torchvision") if find_spec(name) is None]


def unpack(omniglot: Path | None, folder: Path) -> None:
    """Put Omniglot's pictures, or random ones, where torchvision's `Omniglot` reads them."""
    folder /= "omniglot-py"
    if omniglot is not None and (omniglot / f"{NAME}.zip").exists():
        with zipfile.ZipFile(omniglot / f"{NAME}.zip") as archive:
            archive.extractall(folder)
    elif omniglot is not None:
        folder.mkdir(parents=True)
        (folder / NAME).symlink_to((omniglot / NAME).resolve(strict=True))
    else:
        rng = np.random.default_rng(0)
        for i in range(ALPHABETS * CHARACTERS):
            character = folder / NAME / f"alphabet{i // CHARACTERS}" / f"character{i % CHARACTERS}"
            character.mkdir(parents=True)
            for j in range(DRAWINGS):
                pixels = rng.integers(0, 2, (15, 15), np.uint8).repeat(7, 0).repeat(7, 1)
                Image.fromarray(255 * pixels).convert("1").save(character / f"{j}.png")


def pictures(folder: Path) -> torch.utils.data.Dataset:
    """Return torchvision's data set of the unpacked pictures, with learn2learn's transforms."""
    from torchvision import transforms
    from torchvision.datasets import Omniglot

    smaller = transforms.Resize(28, interpolation=transforms.InterpolationMode.LANCZOS)
    prepare = transforms.Compose([smaller, transforms.ToTensor(), lambda x: 1.0 - x])
    with mock.patch.object(Omniglot, "_check_integrity", lambda self: True):  # of its download
        return Omniglot(folder, background=True, transform=prepare)


def plain(net: nn.Module) -> nn.Module:
    """Return the network with PyTorch's own batch normalisation by batch statistics."""
    for layer in net.modules():
        if hasattr(layer, "statistics"):
            layer.__class__ = nn.BatchNorm2d
            layer.track_running_stats, layer.running_mean, layer.running_var = False, None, None
    return net


def learn2learn_tasks(folder: Path, ways: int, shots: int, queries: int) -> Callable[[], Task]:
    """Return a function that draws a task as learn2learn's benchmark of Omniglot does."""
    from metarun.algorithms.clone_adapt import l2l

    n, dataset = shots + queries, l2l.data.MetaDataset(pictures(folder))
    change = l2l.data.transforms
    rotation = l2l.vision.transforms.RandomClassRotation(dataset, [0.0, 90.0, 180.0, 270.0])
    steps = [
        change.FusedNWaysKShots(dataset, n=ways, k=n),
        change.LoadData(dataset),
        change.RemapLabels(dataset),
        change.ConsecutiveLabels(dataset),
        rotation,
    ]
    tasks = l2l.data.TaskDataset(dataset, steps, num_tasks=20000)

    def draw() -> Task:
        x, y = tasks.sample()
        support = torch.arange(len(y)) % n < shots
        halves = (Examples(x[s], y[s], CLASSIFICATION, ways) for s in (support, ~support))
        return Task(*halves)

    return draw


def learn2learn_step(net: nn.Module, tasks: list[Task], inner_steps: int, lr: float) -> None:
    """Set the meta-gradient of a step, as in learn2learn's example for MAML."""
    from metarun.algorithms.clone_adapt import l2l

    maml = l2l.algorithms.MAML(net, lr=lr, first_order=False)
    for task in tasks:
        clone = maml.clone()
        for _ in range(inner_steps):
            clone.adapt(F.cross_entropy(clone(task.support.x), task.support.y))
        (F.cross_entropy(clone(task.query.x), task.query.y) / len(tasks)).backward()


def easyfsl_tasks(
    folder: Path, ways: int, shots: int, queries: int, count: int, loaders: int
) -> Iterator[list[Tensor]]:
    """Return an iterator over tasks of easyfsl's sampler, loaded by `loaders` processes.

    Its `TaskSampler` passes an argument to torch's `Sampler`, which takes none in current PyTorch;
    hence a subclass with a constructor of its own.
    """
    from easyfsl.samplers import TaskSampler

    dataset = pictures(folder)

    class Sampler(TaskSampler):
        def __init__(self) -> None:
            self.n_way, self.n_shot, self.n_query, self.n_tasks = ways, shots, queries, count
            self.items_per_label = {}
            for item, (_, label) in enumerate(dataset._flat_character_images):
                self.items_per_label.setdefault(label, []).append(item)

    sampler = Sampler()
    collate = sampler.episodic_collate_fn
    return iter(
        torch.utils.data.DataLoader(
            dataset, batch_sampler=sampler, num_workers=loaders, collate_fn=collate
        )
    )


def easyfsl_step(net: nn.Module, task: list[Tensor]) -> None:
    """Set the gradient for one task, as in easyfsl's example of episodic training.

    It differs from metarun's prototypes in the distance, which is not squared, and in support and
    queries, which are normalised separately.
    """
    from easyfsl.methods import PrototypicalNetworks

    support, y, query, query_y, _ = task
    learner = PrototypicalNetworks(net)
    learner.process_support_set(support, y)
    F.cross_entropy(learner(query), query_y).backward()
