"""A call from Python computes as a new process does, and leaves torch as it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from metarun.errors import Refused
from metarun.training.torch_state import default_torch_state


def state() -> dict[str, Any]:
    cudnn = torch.backends.cudnn
    return {
        "random": torch.get_rng_state().tolist(),
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "gradients": torch.is_grad_enabled(),
        "cudnn": (cudnn.enabled, cudnn.deterministic, cudnn.benchmark),
        "float32": torch.backends.fp32_precision,
        "cublas": torch.backends.cuda.matmul.fp32_precision,
        "onednn": torch.backends.mkldnn.matmul.fp32_precision,
        "convolutions": cudnn.conv.fp32_precision,
    }


DEFAULT = {"dtype": torch.float32, "device": torch.device("cpu"), "gradients": True}
DEFAULT |= {"cudnn": (True, False, False), "cublas": "ieee", "onednn": "ieee"}
pytestmark = pytest.mark.skipif(
    not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="names of torch 2.9"
)


@pytest.fixture(params=["old names", "new names"])
def own_settings(request: pytest.FixtureRequest) -> Iterator[None]:
    """Settings that a notebook may have, with both names for the precision of products."""
    cudnn = torch.backends.cudnn
    owners = [torch.backends, torch.backends.cuda.matmul, torch.backends.mkldnn.matmul]
    owners += [cudnn.conv, cudnn.rnn]
    before = [owner.fp32_precision for owner in owners]
    with torch.random.fork_rng([]), torch.device("meta"), torch.no_grad():
        torch.manual_seed(3)
        torch.set_default_dtype(torch.float64)
        cudnn.benchmark = True
        if request.param == "old names":
            torch.set_float32_matmul_precision("medium")
        else:
            cudnn.conv.fp32_precision = "ieee"
            torch.backends.fp32_precision = torch.backends.cuda.matmul.fp32_precision = "tf32"
        yield
    torch.set_default_dtype(torch.float32)
    cudnn.benchmark = False
    torch.set_float32_matmul_precision("highest")
    for owner, precision in zip(owners, before, strict=True):
        owner.fp32_precision = precision


def test_the_settings_of_the_caller_do_not_count_and_return(own_settings: None) -> None:
    before = state()
    with pytest.raises(ZeroDivisionError), default_torch_state():
        inside = state()
        torch.manual_seed(0)
        torch.set_num_threads(2)
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.allow_tf32 = False
        assert torch.nn.Linear(1, 1)(torch.ones(1)).requires_grad
        raise ZeroDivisionError
    assert state() == before
    assert {key: inside[key] for key in DEFAULT} == DEFAULT


def test_initialized_process_groups_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    with pytest.raises(Refused, match=r"^torch.distributed: is initialized"), default_torch_state():
        pass
