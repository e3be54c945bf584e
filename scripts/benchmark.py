"""Time a training step of metarun's engines and of learn2learn's own pipeline, side by side.

    python scripts/benchmark.py [--repeats N] [--threads N] [--device cpu] [--only WORD]

All compute the same mathematics with the same network on random pictures of the size of Omniglot's.
learn2learn's pipeline draws its tasks with its `TaskDataset` from files, which it opens, resizes
and converts for each task, as in its examples; metarun prepares pictures once. On a CPU with more
than one core, a last row is a step of `workers=N threads=1` on glyphs, tasks included. The rows
alternate; the script prints medians, ratios to the peer, and the largest difference of the
meta-gradient from that of learn2learn, relative to its largest entry. It installs nothing; run it
on an idle machine.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from metarun.algorithms.anil import ANIL
from metarun.algorithms.gradient_learner import GradientLearner
from metarun.algorithms.maml import MAML
from metarun.backbones.conv4 import Conv4
from metarun.config.compose import checked, compose
from metarun.tasks.objectives import CLASSIFICATION
from metarun.tasks.task import Examples, Spec, Task
from metarun.training.allocator import keep_freed_memory
from metarun.training.gradient import accumulate
from metarun.training.parts import Parts, assemble
from metarun.training.workers import workers_of

CLASSES, ITEMS, WAYS = 200, 20, 5
SEVERAL = f"workers={os.cpu_count()}"
ROWS = {  # name: learner, shots, queries, inner steps, tasks
    "maml 1-shot": (MAML, 1, 1, 1, 32),
    "maml 5-shot": (MAML, 5, 5, 1, 32),
    "maml 1-shot, 5 inner steps": (MAML, 1, 1, 5, 32),
    "maml 1-shot, 1 task": (MAML, 1, 1, 1, 1),
    "maml 1-shot, 64 tasks": (MAML, 1, 1, 1, 64),
    "anil 1-shot": (ANIL, 1, 1, 5, 32),
    "anil 5-shot": (ANIL, 5, 5, 5, 32),
}


def network() -> nn.Module:
    torch.manual_seed(0)
    return Conv4((1, 28, 28), downsample="stride", readout="mean")


def plain(net: nn.Module) -> nn.Module:
    """Return the network with PyTorch's own batch normalisation, for learn2learn."""
    for layer in net.blocks:
        if hasattr(layer, "statistics"):
            layer.__class__ = nn.BatchNorm2d
            layer.track_running_stats, layer.running_mean, layer.running_var = False, None, None
    return net


class Pictures(torch.utils.data.Dataset):
    """Random black-and-white pictures of 105×105, as files; `x` holds them prepared."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(0)
        self.labels = np.repeat(np.arange(CLASSES), ITEMS).tolist()
        self.files = [folder / f"{i}.png" for i in range(len(self.labels))]
        for file in self.files:
            pixels = rng.integers(0, 2, (15, 15), np.uint8).repeat(7, 0).repeat(7, 1)
            Image.fromarray(255 * pixels).convert("1").save(file)
        self.x = torch.stack([self[i][0] for i in range(len(self))])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        with Image.open(self.files[i]) as picture:
            small = picture.convert("L").resize((28, 28), Image.Resampling.LANCZOS)
        return 1 - torch.from_numpy(np.array(small, np.float32))[None] / 255, self.labels[i]


def drawn(data: Pictures, shots: int, queries: int, count: int, device: str) -> list[Task]:
    """Draw tasks by indexing, as metarun's sampler does."""
    rng, tasks = np.random.default_rng(0), []
    y = torch.arange(WAYS, device=device)
    for number in range(count):
        classes = rng.choice(CLASSES, WAYS, replace=False)
        items = np.stack([rng.choice(ITEMS, shots + queries, replace=False) for _ in classes])
        x = data.x[classes[:, None] * ITEMS + items].to(device)
        halves = (
            Examples(part.flatten(0, 1), y.repeat_interleave(n), CLASSIFICATION, WAYS)
            for part, n in ((x[:, :shots], shots), (x[:, shots:], queries))
        )
        tasks.append(Task(*halves, number))
    return tasks


def learn2learn_step(net: nn.Module, tasks: list[Task], inner_steps: int) -> None:
    """One outer step as in learn2learn's example for MAML."""
    from metarun.algorithms.clone_adapt import l2l

    maml = l2l.algorithms.MAML(net, lr=0.4, first_order=False)
    for task in tasks:
        clone = maml.clone()
        for _ in range(inner_steps):
            clone.adapt(F.cross_entropy(clone(task.support.x), task.support.y))
        (F.cross_entropy(clone(task.query.x), task.query.y) / len(tasks)).backward()


def learn2learn_pipeline(data: Pictures, shots: int, queries: int) -> Callable[[int], list[Task]]:
    """Return a function that draws tasks with learn2learn's `TaskDataset` and splits them."""
    from metarun.algorithms.clone_adapt import l2l

    n = shots + queries
    dataset = l2l.data.MetaDataset(data)
    transforms = [
        l2l.data.transforms.NWays(dataset, WAYS),
        l2l.data.transforms.KShots(dataset, n),
        l2l.data.transforms.LoadData(dataset),
        l2l.data.transforms.RemapLabels(dataset),
        l2l.data.transforms.ConsecutiveLabels(dataset),
    ]
    tasks = l2l.data.TaskDataset(dataset, transforms, num_tasks=20000)

    def draw(count: int) -> list[Task]:
        result = []
        for number in range(count):
            x, y = tasks.sample()
            support = torch.arange(len(y)) % n < shots
            result.append(
                Task(
                    Examples(x[support], y[support], CLASSIFICATION, WAYS),
                    Examples(x[~support], y[~support], CLASSIFICATION, WAYS),
                    number,
                )
            )
        return result

    return draw


def built(kind: type[GradientLearner], steps: int, engine: str, device: str) -> GradientLearner:
    spec = Spec((1, 28, 28), WAYS, CLASSIFICATION)
    learner = kind(network(), spec, inner_lr=0.4, inner_steps=steps).to(device)
    learner.engine, learner.tasks_at_once = engine, 32 if engine == "vmap" else 1
    return learner


def parts_of(
    kind: type[GradientLearner], shots: int, queries: int, inner_steps: int, count: int
) -> Parts:
    """The parts of a run with the same sizes and as many processes as there are cores."""
    name = {MAML: "maml", ANIL: "anil"}[kind]
    sizes = (f"shots={shots}", f"train_queries={queries}", f"meta_batch={count}", "threads=1")
    inner = (f"algo.inner_steps={inner_steps}", "backbone=conv4_strided", "logger=none")
    words = (f"algo={name}", "data=glyphs", *sizes, *inner, f"workers={os.cpu_count()}")
    return assemble(checked(compose(words)))


def flat(net: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in net.parameters()])


def compared(name: str, data: Pictures, repeats: int, device: str) -> None:
    """Time one row of the table and print it."""
    kind, shots, queries, inner_steps, count = ROWS[name]
    times: dict[str, list[float]] = {}
    gradients: dict[str, Tensor] = {}
    fixed = drawn(data, shots, queries, count, device)

    def timed(label: str, action: Callable[[], object]) -> None:
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        action()
        if device == "cuda":
            torch.cuda.synchronize()
        times.setdefault(label, []).append(time.perf_counter() - start)

    learners = {engine: built(kind, inner_steps, engine, device) for engine in ("loop", "vmap")}
    has_peer = find_spec("learn2learn") is not None and kind is MAML
    threads = torch.get_num_threads()
    several = contextlib.nullcontext()
    if device == "cpu" and (os.cpu_count() or 1) > 1 and count > 1:
        several = workers_of(parts_of(kind, shots, queries, inner_steps, count))
        torch.set_num_threads(threads)
    if has_peer:
        learner = built(MAML, inner_steps, "loop", device)
        peer = nn.Sequential(plain(learner.net[0]), learner.net[1])
        draw = learn2learn_pipeline(data, shots, queries) if device == "cpu" else None
    with several as workers:
        for repeat in range(repeats + 1):  # the first repetition is not counted
            for engine, learner in learners.items():
                learner.zero_grad()
                timed(f"{engine} data", lambda: drawn(data, shots, queries, count, device))
                timed(engine, lambda learner=learner: accumulate(learner, fixed, 0))
                gradients[engine] = flat(learner)
            if has_peer:
                peer.zero_grad()
                if draw is not None:
                    timed("learn2learn data", lambda: draw(count))
                timed("learn2learn", lambda: learn2learn_step(peer, fixed, inner_steps))
                gradients["learn2learn"] = flat(peer)
            if workers is not None:
                torch.set_num_threads(1)
                numbers = range(repeat * count, (repeat + 1) * count)
                timed(SEVERAL, lambda numbers=numbers: workers.accumulate(numbers))
                torch.set_num_threads(threads)
    medians = {label: statistics.median(values[1:]) for label, values in times.items()}
    reference = gradients.get("learn2learn", gradients["loop"])
    whole = {engine: medians[engine] + medians.get(f"{engine} data", 0.0) for engine in gradients}
    if SEVERAL in medians:
        whole[SEVERAL] = medians[SEVERAL]
    best = min(whole, key=whole.get)
    print(f"\n{name}: {count} tasks, {inner_steps} inner steps ({device})")
    for label, total in whole.items():
        error = ""
        if label in gradients:
            largest = (gradients[label] - reference).abs().max() / reference.abs().max()
            error = f"   gradient {largest:.0e}"
        ratio = whole.get("learn2learn", whole["loop"]) / total
        print(
            f"  {label:12} data {1e3 * medians.get(f'{label} data', 0):7.1f} ms   training "
            f"{1e3 * medians[label]:8.1f} ms   {ratio:5.2f}×"
            + error
            + ("   fastest" if label == best else "")
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.backends.cudnn.allow_tf32 = False  # as in a run of metarun
    torch.backends.cudnn.deterministic = True
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if find_spec("learn2learn") is None:
        print("learn2learn is not installed: engines are compared with the loop")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as folder:
        data = Pictures(Path(folder))
        for name in ROWS:
            if arguments.only in name:
                compared(name, data, arguments.repeats, arguments.device)


if __name__ == "__main__":
    main()
