"""Checkpoints: plain tensors and containers, sealed with a checksum, whole or not there.

A checkpoint is what `torch.save` writes, a zip archive, and its comment is the SHA-256 of all bytes
before it. So `torch.load` reads it as it is, and a bit that has changed anywhere is noticed here.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from metarun.errors import Refused
from metarun.files import make_folder, read_whole, write_whole

FORMAT = 3
LAST, PREVIOUS, BEST = "last.pt", "previous.pt", "best.pt"
MARK = b"sha256:"
SEAL = len(MARK) + 64  # bytes of the comment

log = logging.getLogger(__name__)


class Damaged(Refused):
    """A file that is not what metarun wrote there."""


def save(path: Path, state: dict[str, Any], keep: str | None = None) -> None:
    """Write `state` (tensors, numbers, strings, lists, dicts), replacing `path` as a whole.

    Args:
        keep: the name that the checkpoint before gets; without one it is gone.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    # An archive ends with the length of its comment, which torch leaves empty.
    body = buffer.getvalue()[:-2] + struct.pack("<H", SEAL)
    make_folder(path.parent)
    write_whole(path, body + _seal(body), path.with_name(keep) if keep else None)


def load_state(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint; nothing in the file is run.

    Raises:
        Damaged: it is not what was written.
        Refused: it is missing, cannot be read, or is of another format.
    """
    try:
        data = read_whole(path)
    except FileNotFoundError:
        raise Refused(f"{path}: no such checkpoint: the run stopped before it saved one") from None
    except OSError as error:
        raise Refused(f"{path}: cannot be read ({error.strerror})") from error
    sealed = data[-SEAL:] == _seal(data[:-SEAL])
    if not sealed and data[-SEAL:].startswith(MARK):  # torch need not see it
        raise Damaged(f"{path}: damaged: its checksum does not fit its content")
    try:
        state = torch.load(io.BytesIO(data), map_location=device, weights_only=True)
    except Exception as error:  # torch raises whatever the damage leads to
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise Damaged(f"{path}: damaged, or not a metarun checkpoint ({reason})") from error
    found = state.get("format") if isinstance(state, dict) else None
    if found != FORMAT:
        raise Refused(f"{path}: checkpoint format {found}; this metarun reads format {FORMAT}")
    if not sealed:
        raise Damaged(f"{path}: damaged: its checksum is not there")
    return state


def latest(folder: Path) -> dict[str, Any] | None:
    """The last whole checkpoint of a run, or `None` if it has saved none.

    A damaged `last.pt` is named, and the one before it is used; nothing is written.

    Raises:
        Refused: all that there are are damaged, or of another format.
    """
    paths = [folder / name for name in (LAST, PREVIOUS) if (folder / name).exists()]
    trouble = [] if not paths or paths[0].name == LAST else [f"{folder / LAST}: is not there"]
    for path in paths:
        try:
            state = load_state(path)
        except Damaged as damaged:
            trouble += damaged.mistakes
            continue
        if trouble:
            log.warning("%s; going on from %s, step %s", trouble[0], path.name, state.get("step"))
        return state
    if trouble:
        raise Refused(
            f"{'; '.join(trouble)}; there is none to go on from: with {folder} out of the way, "
            "resume starts from the beginning"
        )
    return None


def best(folder: Path) -> dict[str, Any]:
    """The checkpoint that validated best; if its file is damaged, from the copy in the last one.

    Raises:
        Refused: there is none.
    """
    try:
        return load_state(folder / BEST)
    except Damaged as damaged:
        for name in (LAST, PREVIOUS):
            try:
                state = load_state(folder / name)
            except Refused:
                continue
            if state.get("best_learner") is not None:
                log.warning("%s; the copy in %s is used", damaged.mistakes[0], name)
                return best_of(state)
        raise


def best_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """What `best.pt` holds, made from the state of the run, which has it all."""
    shared = ("id", "command", "task", "trained_on", "best", "config")
    return {
        **{key: state[key] for key in shared},
        "step": state["best"]["best_step"],
        "learner": state["best_learner"],
    }


def set_aside(folder: Path) -> None:
    """Keep a damaged `last.pt` under another name, so that it does not become the previous one."""
    path = folder / LAST
    try:
        if path.exists():
            load_state(path)
    except Damaged:
        os.replace(path, folder / "last.damaged.pt")


def _seal(body: bytes) -> bytes:
    return MARK + hashlib.sha256(body).hexdigest().encode()
