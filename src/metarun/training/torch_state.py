"""The settings of torch in a process that does other things than run metarun."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

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
    precision = torch.get_float32_matmul_precision()
    gpus = range(torch.cuda.device_count() if torch.cuda.is_initialized() else 0)
    with ExitStack() as stack:
        stack.callback(torch.set_num_threads, threads)
        stack.callback(torch.set_default_dtype, dtype)
        stack.callback(torch.set_float32_matmul_precision, precision)
        stack.enter_context(torch.random.fork_rng(gpus))
        stack.enter_context(
            torch.backends.cudnn.flags(enabled=True)
        )  # and the others as by default
        stack.enter_context(torch.device("cpu"))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        torch.set_default_dtype(torch.float32)
        torch.set_float32_matmul_precision("highest")
        yield
