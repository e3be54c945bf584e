"""Time training steps of metarun and of its peers side by side.

    python scripts/benchmark.py [--omniglot DIR] [--threads N] [--repeats N] [--only WORD]
    python scripts/benchmark.py --costs [--threads N] [--repeats N]

The peers are learn2learn (MAML) and easyfsl (prototypes), with the same network; they draw their
tasks from pictures in files, as in their examples (`peers.py`). `DIR` has Omniglot's
`images_background` and `images_evaluation`, as zip files or folders; without it, the pictures are
random ones for the peers, and glyphs for metarun. The rows alternate. The script prints medians of
tasks and training, ratios to the best peer, and the largest difference of a meta-gradient from that
of learn2learn, relative to its largest entry. With `--costs` it prints the time of a step against
tasks, inner steps, ways and workers, and the memory after many steps. It installs nothing; run it
on an idle machine, or with `--cpu-time`.
"""

from __future__ import annotations

import argparse
import copy
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import peers
import torch
from torch import Tensor, nn

from metarun.config.compose import checked, compose
from metarun.training.gradient import accumulate
from metarun.training.parts import Parts, assemble
from metarun.training.workers import Workers, workers_of

LR = 0.4  # of the inner loop
ROWS = {  # name: algorithm, ways, shots, queries, inner steps, tasks
    "maml 1-shot": ("maml", 5, 1, 1, 1, 32),
    "maml 5-shot": ("maml", 5, 5, 5, 1, 32),
    "maml 1-shot, 5 inner steps": ("maml", 5, 1, 1, 5, 32),
    "maml 1-shot, 1 task": ("maml", 5, 1, 1, 1, 1),
    "maml 1-shot, 64 tasks": ("maml", 5, 1, 1, 1, 64),
    "anil 1-shot": ("anil", 5, 1, 1, 5, 32),
    "anil 5-shot": ("anil", 5, 5, 5, 5, 32),
    "protonet 20-way 5-shot": ("protonet", 20, 5, 5, 0, 1),
}
COSTS = {  # what varies: rows as above
    "tasks": [("maml", 5, 1, 1, 1, n) for n in (1, 2, 4, 8, 16, 32, 64)],
    "inner steps": [("maml", 5, 1, 1, n, 16) for n in (1, 2, 3, 5, 10)],
    "ways": [("maml", n, 1, 1, 1, 16) for n in (2, 5, 10, 20)],
}
EPISODES = 10  # of prototypes in a repetition; loaders need some to get going
STEPS = 1000  # after which memory is compared with that after a tenth of them
CORES = os.cpu_count() or 1
CLOCK = time.perf_counter
GRADIENTS: dict[str, Tensor] = {}  # of the rows of a table, after the last repetition

Row = tuple[str, int, int, int, int, int]
Timed = Callable[[int], tuple[float, float]]  # repetition → seconds for tasks, for training


def parts_of(row: Row, *words: str) -> Parts:
    """Return the parts of a run of metarun with these sizes."""
    algo, ways, shots, queries, inner_steps, tasks = row
    sizes = (f"ways={ways}", f"shots={shots}", f"train_queries={queries}", f"meta_batch={tasks}")
    inner = (f"algo.inner_steps={inner_steps}", f"algo.inner_lr={LR}", "backbone=conv4_strided")
    chosen = (f"algo={algo}", *sizes, *(inner if inner_steps else ()), "logger=none", *words)
    return assemble(checked(compose(chosen)))


def seconds(action: Callable[..., object], *arguments: object) -> tuple[float, Any]:
    """Return how long a call takes, and its value."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = CLOCK()
    value = action(*arguments)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return CLOCK() - start, value


def inner_loops(row: Row, words: list[str], files: Path, stack: ExitStack) -> dict[str, Timed]:
    """Return the engines, several workers, and learn2learn for MAML, which train the same tasks."""
    algo, ways, shots, queries, inner_steps, count = row
    first = parts_of(row, "engine=loop", *words)
    fixed = first.training().tasks(range(count))

    def engine(name: str, *more: str) -> Timed:
        parts = first if name == "engine=loop" else parts_of(row, *(more or (name,)), *words)
        sampler, learner = parts.training(), parts.learner

        def timed(n: int) -> tuple[float, float]:
            data, _ = seconds(sampler.tasks, range(n * count, (n + 1) * count))
            training, _ = seconds(accumulate, learner, fixed, 0)
            GRADIENTS[name] = flat(learner)
            return data, training

        return timed

    names = ["loop", *(["vmap"] if count > 1 else [])]
    names += ["layerwise"] if count > 1 and algo == "maml" else []
    rows = {f"engine={name}": engine(f"engine={name}") for name in names}
    rows["loop, bfloat16"] = engine("loop, bfloat16", "engine=loop", "precision=bfloat16")
    if count > 1 and CORES > 1 and first.device.type == "cpu":
        threads = torch.get_num_threads()
        chosen = f"workers={CORES}"
        workers = stack.enter_context(workers_of(parts_of(row, *words, chosen, "threads=1")))
        torch.set_num_threads(threads)

        def together(n: int) -> tuple[float, float]:
            torch.set_num_threads(1)
            whole, _ = seconds(workers.accumulate, range(n * count, (n + 1) * count))
            torch.set_num_threads(threads)
            return 0.0, whole  # drawn by each of them

        rows[chosen] = together
    if algo == "maml" and not peers.missing("learn2learn"):
        net = peers.plain(copy.deepcopy(first.learner.net))
        draw = peers.learn2learn_tasks(files, ways, shots, queries)

        def peer(_: int) -> tuple[float, float]:
            net.zero_grad()
            data, _ = seconds(lambda: [draw() for _ in fixed])
            training, _ = seconds(peers.learn2learn_step, net, fixed, inner_steps, LR)
            GRADIENTS["learn2learn"] = flat(net)
            return data, training

        rows["learn2learn"] = peer
    return rows


def prototypes(row: Row, words: list[str], files: Path, _: ExitStack) -> dict[str, Timed]:
    """Return both precisions, and easyfsl with 0, 1 and 2 processes that load its tasks."""
    _, ways, shots, queries, _, _ = row

    def own(precision: str) -> Timed:
        parts = parts_of(row, f"precision={precision}", *words)
        sampler = parts.training()

        def timed(n: int) -> tuple[float, float]:
            numbers = range(n * EPISODES, (n + 1) * EPISODES)
            pairs = []
            for number in numbers:
                data, tasks = seconds(sampler.tasks, [number])
                pairs.append((data, seconds(accumulate, parts.learner, tasks, 0)[0]))
            return mean(pairs)

        return timed

    def peer(loaders: int) -> Timed:
        net = parts_of(row, *words).learner.backbone

        def timed(_: int) -> tuple[float, float]:
            tasks = peers.easyfsl_tasks(files, ways, shots, queries, 2 * EPISODES, loaders)
            pairs = []
            for _ in range(2 * EPISODES):
                data, task = seconds(next, tasks)
                pairs.append((data, seconds(peers.easyfsl_step, net, task)[0]))
            return mean(pairs[EPISODES:])  # the loaders have got going

        return timed

    rows = {precision: own(precision) for precision in ("float32", "bfloat16")}
    if not peers.missing("easyfsl"):
        rows |= {f"easyfsl, {loaders} loaders": peer(loaders) for loaders in range(3)}
    return rows


def mean(pairs: Sequence[tuple[float, float]]) -> tuple[float, ...]:
    return tuple(statistics.mean(column) for column in zip(*pairs, strict=True))


def flat(net: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in net.parameters()])


def compared(row: Row, words: list[str], files: Path, repeats: int) -> None:
    """Time the rows of a table in turn, and print them."""
    GRADIENTS.clear()
    kind = inner_loops if row[4] else prototypes
    with ExitStack() as stack:
        rows = kind(row, words, files, stack)
        times = [{k: timed(n) for k, timed in rows.items()} for n in range(repeats + 1)]
    medians = {  # without the first repetition
        name: [statistics.median(c) for c in zip(*(t[name] for t in times[1:]), strict=True)]
        for name in rows
    }
    reference = GRADIENTS.get("learn2learn", GRADIENTS.get("engine=loop"))
    of_peers = [sum(m) for name, m in medians.items() if name.startswith(("learn", "easy"))]
    base = min(of_peers, default=sum(next(iter(medians.values()))))
    for name, (data, training) in medians.items():
        line = f"  {name:18} tasks {1e3 * data:7.1f} ms   training {1e3 * training:8.1f} ms   "
        line += f"{base / (data + training):5.2f}×"
        if name in GRADIENTS:
            error = (GRADIENTS[name] - reference).abs().max() / reference.abs().max()
            line += f"   gradient {error:.0e}"
        print(line, flush=True)


def whole_step(parts: Parts, workers: Workers | None, numbers: range) -> None:
    if workers is None:
        accumulate(parts.learner, parts.training().tasks(numbers), 0)
    else:
        workers.accumulate(numbers)


def costs(words: list[str], repeats: int) -> None:
    """Print the time of a step against each size, and the memory after many steps."""
    for title, rows in COSTS.items():
        print(f"\n{title}")
        for row in rows:
            parts = parts_of(row, *words)
            count, times = row[5], []
            for n in range(repeats + 1):
                numbers = range(n * count, (n + 1) * count)
                times.append(1e3 * seconds(whole_step, parts, None, numbers)[0])
            step = statistics.median(times[1:])
            value = {"tasks": count, "inner steps": row[4], "ways": row[1]}[title]
            engine = parts.config.engine
            print(f"  {value:3}   {step:8.1f} ms   {step / count:7.2f} ms a task   {engine}")
    print("\nworkers, with one thread each")
    for size in range(1, CORES + 1):
        row, chosen = ROWS["maml 1-shot"], ("threads=1", f"workers={size}")
        parts = parts_of(row, *words, *chosen)
        with workers_of(parts) as workers:
            times = []
            for n in range(repeats + 1):
                numbers = range(n * row[5], (n + 1) * row[5])
                times.append(1e3 * seconds(whole_step, parts, workers, numbers)[0])
        print(f"  {size:3}   {statistics.median(times[1:]):8.1f} ms")
    parts = parts_of(COSTS["tasks"][2], *words)
    print("\npeak memory of this process in training")
    for n in range(STEPS + 1):
        whole_step(parts, None, range(4 * n, 4 * n + 4))
        if n in (STEPS // 10, STEPS):
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in KiB on Linux
            print(f"  {peak / 1024:.0f} MiB after {n} steps")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--omniglot", type=Path, help="folder of Omniglot's pictures")
    parser.add_argument("--costs", action="store_true", help="time against sizes, and memory")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="for a busy machine: CPU time of this process, for rows that have no other",
    )
    parser.add_argument("--only", default="", help="rows whose name contains this")
    arguments = parser.parse_args()
    if arguments.cpu_time:
        global CLOCK
        CLOCK = time.process_time
    words = [f"device={arguments.device}", f"threads={arguments.threads}", "data=glyphs"]
    if arguments.omniglot is not None:
        words[-1:] = ["data=omniglot", f"data.root={arguments.omniglot.resolve()}"]
    print(f"torch {torch.__version__}, {arguments.threads} threads, load {os.getloadavg()[0]:.1f}")
    if arguments.costs:
        return costs(words, arguments.repeats)
    for peer in ("learn2learn", "easyfsl"):
        if packages := peers.missing(peer):
            print(f"without {peer}: {' and '.join(packages)} not installed")
    with tempfile.TemporaryDirectory() as folder:
        peers.unpack(arguments.omniglot, Path(folder))
        for name, row in ROWS.items():
            if arguments.only in name:
                print(f"\n{name}")
                compared(row, words, Path(folder), arguments.repeats)
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
