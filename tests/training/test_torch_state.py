"""A call from Python computes as a new process does, and leaves torch as it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from metarun.errors import Refused
from metarun.training.torch_state import default_torch_state


def state() -> dict[str, Any]:
    return {
        "random": torch.get_rng_state().tolist(),
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "gradients": torch.is_grad_enabled(),
        "products": torch.get_float32_matmul_precision(),
        "convolutions": (
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.allow_tf32,
        ),
    }


@pytest.fixture
def own_settings() -> Iterator[None]:
    """Settings that a notebook may have."""
    convolutions = torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False)
    with torch.random.fork_rng([]), torch.device("meta"), torch.no_grad(), convolutions:
        torch.manual_seed(3)
        torch.set_default_dtype(torch.float64)
        torch.set_float32_matmul_precision("medium")
        yield
    torch.set_default_dtype(torch.float32)
    torch.set_float32_matmul_precision("highest")


def test_the_settings_of_the_caller_do_not_count_and_return(own_settings: None) -> None:
    before = state()
    with pytest.raises(ZeroDivisionError), default_torch_state():
        inside = state()
        torch.manual_seed(0)
        torch.set_num_threads(2)
        torch.backends.cudnn.deterministic = True
        assert torch.nn.Linear(1, 1)(torch.ones(1)).requires_grad
        raise ZeroDivisionError
    assert state() == before
    default = {"dtype": torch.float32, "device": torch.device("cpu"), "gradients": True}
    default |= {"products": "highest", "convolutions": (False, False, True)}
    assert {key: inside[key] for key in default} == default


def test_initialized_process_groups_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    with pytest.raises(Refused, match=r"^torch.distributed: is initialized"), default_torch_state():
        pass
