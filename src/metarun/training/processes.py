"""Processes that compute a run together: started for it on this machine, or by torchrun."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from metarun.algorithms import Learner
from metarun.config.schema import RunConfig
from metarun.errors import Refused, RunFailed
from metarun.training.blocks import blocks

HOST = "127.0.0.1"
SERVE = "from metarun.training.worker import serve; serve()"
FOREVER = timedelta(days=365)  # the others wait while rank 0 computes alone
PATIENCE = 5.0  # seconds until the system reports that a process has ended


class WorkerEnded(RunFailed):
    """A process that computed a part of the run has ended."""


def set_workers(learner: Learner, config: RunConfig, cores: int) -> RunConfig:
    """Return the configuration with the numbers of processes to start, and of threads in each.

    The processes of torchrun are no part of it: a run goes on with and without torchrun.

    Args:
        cores: the number of threads that make use of the whole machine, or, under torchrun, of the
            share of this process.

    Raises:
        Refused: torchrun has started another number of processes.
    """
    if dist.is_initialized():
        started = dist.get_world_size()
        if config.workers not in (1, "auto", started):
            raise Refused(
                f"workers={config.workers}: torchrun has started {started} processes; "
                f"write workers={started} or leave it out"
            )
        workers, threads = 1, cores
    else:
        workers = config.workers
        if workers == "auto":
            most = len(blocks(learner, config.meta_batch)) if learner.learns else 1
            workers = max(1, min(cores // (config.threads or 1), most))
        threads = max(1, cores // workers)
    return config.model_copy(update={"workers": workers, "threads": config.threads or threads})


def size_of(config: RunConfig) -> int:
    """The number of processes of a run with this configuration, where it is computed."""
    return dist.get_world_size() if dist.is_initialized() else config.workers


def own_gpus(size: int) -> bool:
    """Whether each process on this machine has a GPU, which nccl needs."""
    local = int(os.environ.get("LOCAL_WORLD_SIZE", size))
    return torch.cuda.is_available() and torch.cuda.device_count() >= local


@contextmanager
def started(size: int) -> Iterator[list[subprocess.Popen]]:
    """A context in which `size` − 1 further processes serve this one; yields these.

    Yields none if torchrun has started them.

    Raises:
        WorkerEnded: a process has ended before it was ready.
    """
    if dist.is_initialized():
        yield []
        return
    store = _store()
    children: list[subprocess.Popen] = []
    with tempfile.TemporaryFile() as errors:
        try:
            for rank in range(1, size):
                place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size}
                place |= {"LOCAL_WORLD_SIZE": size, "METARUN_STORE": store.port}
                child = subprocess.Popen(
                    [sys.executable, "-c", SERVE],
                    env={**os.environ, **{name: str(value) for name, value in place.items()}},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    start_new_session=True,  # Ctrl-C is for rank 0, which ends the others
                )
                children.append(child)
            ready = [f"ready{rank}" for rank in range(1, size)]
            while not store.check(ready):
                if any(child.poll() is not None for child in children):
                    errors.seek(0)
                    lines = errors.read().decode(errors="replace").strip().splitlines()
                    raise WorkerEnded(": ".join([end_of(children), *lines[-1:]]))
                time.sleep(0.05)
            _open(store, 0, size)
            yield children
        finally:
            for child in children:  # they hold nothing that has to be kept
                child.kill()
                child.wait()
            if dist.is_initialized():
                dist.destroy_process_group()


def join() -> None:
    """Join the processes of this one's run, as the environment says."""
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    port = os.environ.get("METARUN_STORE")
    store = dist.TCPStore(HOST, int(port), is_master=False) if port else None
    if store is not None:
        store.set(f"ready{rank}", "")
    _open(store, rank, size)


def _store() -> dist.TCPStore:
    """A store that only this machine can reach; by default, TCPStore listens on all interfaces."""
    listener = socket.create_server((HOST, 0))
    port, own = listener.getsockname()[1], {"is_master": True, "wait_for_workers": False}
    return dist.TCPStore(HOST, port, **own, master_listen_fd=listener.detach())


def _open(store: dist.Store | None, rank: int, size: int) -> None:
    if store is not None and sys.platform == "linux":  # all are on this machine
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    backend = "cpu:gloo,cuda:nccl" if own_gpus(size) else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=FOREVER)


def end_of(children: Sequence[subprocess.Popen]) -> str:
    """Which of the processes has ended, and how."""
    deadline = time.monotonic() + PATIENCE
    while children and time.monotonic() < deadline:
        for number, child in enumerate(children, 2):
            if (code := child.poll()) is not None:
                how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
                return f"worker {number} of {len(children) + 1} ended ({how})"
        time.sleep(0.05)
    return "a worker ended, or its connection was lost"
