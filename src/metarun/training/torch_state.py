"""The settings of torch in a process that does other things than run metarun."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import torch

from metarun.errors import Refused


@contextmanager
def default_torch_state() -> Iterator[None]:
    """A context in which torch has the settings of a new process; afterwards those of before.

    So a call from Python gives the figures of the command line, and the caller goes on with their
    random numbers, default type and device, gradients, number of threads, and precision of float32
    products.

    Raises:
        Refused: the caller has initialized `torch.distributed`.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        raise Refused(
            "torch.distributed: is initialized in this process; destroy the process group, or "
            "divide the run by workers=N or torchrun … -m metarun"
        )
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    gpus = range(torch.cuda.device_count() if torch.cuda.is_initialized() else 0)
    with ExitStack() as stack:
        stack.callback(torch.set_num_threads, threads)
        stack.callback(torch.set_default_dtype, dtype)
        stack.enter_context(torch.random.fork_rng(gpus))
        stack.enter_context(torch.device("cpu"))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        torch.set_default_dtype(torch.float32)
        _reset_backends(stack)
        yield


def _reset_backends(stack: ExitStack) -> None:
    """Set cuDNN and products of float32 to their defaults, until `stack` is closed.

    Whether cuDNN uses TF32 is only restored: a run on a GPU sets it.
    """
    cudnn, cublas, onednn = torch.backends.cudnn, torch.backends.cuda, torch.backends.mkldnn
    defaults = [(cudnn, "enabled", True), (cudnn, "benchmark", False)]
    defaults.append((cudnn, "deterministic", False))
    if hasattr(cublas.matmul, "fp32_precision"):
        defaults.append((torch.backends, "fp32_precision", "none"))
        defaults += [(owner.matmul, "fp32_precision", "ieee") for owner in (cublas, onednn)]
        for owner in (cudnn.conv, cudnn.rnn):
            stack.callback(setattr, owner, "fp32_precision", owner.fp32_precision)
    else:  # before torch 2.9
        defaults.append((cublas.matmul, "allow_tf32", False))
    with suppress(RuntimeError):  # the old name cannot be read if the caller has used the new ones
        stack.callback(setattr, cudnn, "allow_tf32", cudnn.allow_tf32)
    for owner, name, default in defaults:
        stack.callback(setattr, owner, name, getattr(owner, name))
        setattr(owner, name, default)
