"""Checkpoints of tensors and plain containers, written atomically and protected by a checksum.

A checkpoint is the zip archive that `torch.save` writes; the comment of the archive is the SHA-256
of all bytes before it. `torch.load` reads the file as it is, and any changed bit is detected here.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import pickletools
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from metarun.errors import Refused
from metarun.files import make_folder, read_whole, write_whole
from metarun.runs.content import Best, Content, Last, check

FORMAT = 3
LAST, PREVIOUS, BEST = "last.pt", "previous.pt", "best.pt"
MARK = b"sha256:"
MAX_BYTES = 2**33  # of a file
SEAL = len(MARK) + 64  # bytes of the comment

log = logging.getLogger(__name__)


class Damaged(Refused):
    """The content of a file differs from what metarun has written."""


def save(path: Path, state: dict[str, Any], keep: str | None = None) -> None:
    """Write `state` (tensors, numbers, strings, lists, dicts) to `path` atomically.

    Args:
        keep: the new name of the previous checkpoint at `path`; `None` discards it.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    # The last two bytes of an archive are the length of its comment, 0 in torch's archives.
    body = buffer.getvalue()[:-2] + struct.pack("<H", SEAL)
    make_folder(path.parent)
    write_whole(path, body + _seal(body), path.with_name(keep) if keep else None)


def load_state(path: Path, content: type[Content] | None = None) -> dict[str, Any]:
    """Read a checkpoint without executing code from the file; tensors are on the CPU.

    Args:
        content: what the checkpoint should contain, `Last` or `Best`; by default, anything plain.

    Raises:
        Damaged: the file is not as it was written, or its content has other keys or types.
        Refused: the file is missing, cannot be read, or has another format.
    """
    try:
        data = read_whole(path, MAX_BYTES)
    except FileNotFoundError:
        raise Refused(f"{path}: no such checkpoint: the run stopped before it saved one") from None
    except OSError as error:
        raise Refused(f"{path}: cannot be read ({error.strerror})") from error
    sealed = data[-SEAL:] == _seal(data[:-SEAL])
    if not sealed and data[-SEAL:].startswith(MARK):  # no need to parse it
        raise Damaged(f"{path}: damaged: its checksum does not match its content")
    try:
        _check_size(data)
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # the type of torch's error depends on the damage
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise Damaged(f"{path}: damaged, or not a metarun checkpoint ({reason})") from error
    version = state.get("format") if isinstance(state, dict) else None
    if version != FORMAT:
        raise Refused(f"{path}: checkpoint format {version}; this metarun reads format {FORMAT}")
    if not sealed:
        raise Damaged(f"{path}: damaged: its checksum is missing")
    try:
        check(state, content)
    except ValueError as error:
        raise Damaged(f"{path}: not a checkpoint that metarun has written ({error})") from error
    return state


def _check_size(data: bytes) -> None:
    """Check that reading the archive takes no more memory than the archive.

    Raises:
        ValueError: it is compressed, or makes a buffer that it does not contain.
        zipfile.BadZipFile: it is not an archive.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > len(data):
            raise ValueError("its content is larger than the file")
        for entry in entries:
            if entry.filename.endswith("/data.pkl"):
                for _, argument, _ in pickletools.genops(archive.read(entry)):
                    if isinstance(argument, str) and "bytearray" in argument.split():
                        raise ValueError("it makes a bytearray")


def latest(folder: Path) -> dict[str, Any] | None:
    """The last intact checkpoint of a run; `None` if no checkpoint was saved.

    If `last.pt` is damaged, logs a warning and uses `previous.pt`. Writes nothing.

    Raises:
        Refused: all checkpoints are damaged, or a checkpoint has another format.
    """
    paths = [folder / name for name in (LAST, PREVIOUS) if (folder / name).exists()]
    problems = [] if not paths or paths[0].name == LAST else [f"{folder / LAST}: missing"]
    for path in paths:
        try:
            state = load_state(path, Last)
        except Damaged as damaged:
            problems += damaged.mistakes
            continue
        if problems:
            log.warning("%s; going on from %s, step %s", problems[0], path.name, state["step"])
        return state
    if problems:
        raise Refused(
            f"{'; '.join(problems)}; no checkpoint can be used: move {folder} away, and resume "
            "starts from the beginning"
        )
    return None


def best(folder: Path) -> dict[str, Any]:
    """The checkpoint of the best validation; if `best.pt` is damaged, its copy in `last.pt`.

    Raises:
        Refused: `best.pt` is missing, or it is damaged and `previous.pt` has no copy either.
    """
    try:
        return load_state(folder / BEST, Best)
    except Damaged as damaged:
        for name in (LAST, PREVIOUS):
            try:
                state = load_state(folder / name, Last)
            except Refused:
                continue
            if state["best_learner"] is not None:
                log.warning("%s; the copy in %s is used", damaged.mistakes[0], name)
                return best_of(state)
        raise


def best_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """The content of `best.pt`, taken from the state of the run."""
    shared_keys = ("id", "command", "task", "trained_on", "best", "config")
    return {
        **{key: state[key] for key in shared_keys},
        "step": state["best"]["best_step"],
        "learner": state["best_learner"],
    }


def set_aside(folder: Path) -> None:
    """Rename a damaged `last.pt`, so that the next save does not make it `previous.pt`."""
    path = folder / LAST
    try:
        if path.exists():
            load_state(path, Last)
    except Damaged:
        os.replace(path, folder / "last.damaged.pt")


def _seal(body: bytes) -> bytes:
    return MARK + hashlib.sha256(body).hexdigest().encode()
