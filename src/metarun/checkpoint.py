"""Checkpoints: plain tensors and containers, whole or not there."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from metarun.errors import Refused
from metarun.files import write_whole

FORMAT = 1


def save(path: Path, state: dict[str, Any]) -> None:
    """Write `state` (tensors, numbers, strings, lists, dicts), replacing `path` as a whole."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, buffer.getvalue())


def load(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint; nothing in the file is run.

    Raises:
        Refused: it is missing, damaged, or of another format.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise Refused(f"{path}: no such checkpoint: the run stopped before it saved one") from None
    except Exception as error:  # torch raises whatever the damage leads to
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise Refused(f"{path}: damaged, or not a metarun checkpoint ({reason})") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        found = state.get("format") if isinstance(state, dict) else None
        raise Refused(f"{path}: checkpoint format {found}; this metarun reads format {FORMAT}")
    return state
