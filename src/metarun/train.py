"""Trains a run in its folder: a new one, or one that goes on where it stopped."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metarun.config.schema import RunConfig
from metarun.errors import Occupied, Refused
from metarun.files import make_folder
from metarun.loggers import check_logger
from metarun.runs import results
from metarun.runs.config_file import differences, keep_config
from metarun.runs.lock import alone_in
from metarun.training.execution import execute
from metarun.training.first_step import try_first_step
from metarun.training.loop import Session, Trial
from metarun.training.parts import Parts, assemble
from metarun.training.state import State
from metarun.training.steps import with_steps

RUN_FILES = ("config.yaml", "metrics.jsonl", "result.json", "checkpoints", "run.log")
RUN_FILES += ("test_episodes.csv", "test_classes.csv", "curves.png", "episodes.png")
RUN_FILES += ("evaluations",)


def train(
    config: RunConfig,
    out: Path,
    command: str,
    folders: Sequence[Path] = (),
    afresh: bool = False,
    trial: Trial | None = None,
    deadline: float = math.inf,
) -> dict[str, Any]:
    """Train a new run in the folder `out`, test it and return the content of `result.json`.

    Args:
        command: the command that the user typed, for `result.json`.
        folders: the user's config folders.
        afresh: accept files of an earlier attempt in `out`; for the jobs of a resumed sweep.
        trial: receives each validation, if the run belongs to a search.
        deadline: the value of `time.monotonic` at which training is interrupted.

    Raises:
        Refused: the request is wrong; nothing was written.
        RunFailed, Interrupted: the run ended early; `result.json` has its status.
    """
    _check_unused(out, afresh)
    begun = (out / "config.yaml").exists()
    config = with_steps(config)
    if trial is not None and config.train_on != "train":
        raise Refused(f"data.train_on={config.train_on}: leaves no validation for a search")
    parts = _assemble(config, folders)
    if config.audit == "full":
        from metarun.checks import insist

        insist(parts)
    try_first_step(parts)
    try:
        make_folder(out)
    except OSError as error:
        raise Refused(f"out={out}: cannot be written to ({error.strerror})") from error
    with alone_in(out):
        _check_unused(out, afresh)  # another process may have started a run meanwhile
        if afresh and (out / "config.yaml").exists() and not begun:
            raise Occupied(f"{out}: another process has begun the run in this folder")
        try:  # before all other files: a folder without config.yaml holds no run
            keep_config(parts.config, out)
        except OSError as error:
            with contextlib.suppress(OSError):
                (out / "config.yaml").unlink()
            raise Refused(f"out={out}: cannot be written to ({error.strerror})") from error
        state = State.begin(parts, command)
        return execute(Session(parts, out, state, trial, deadline=deadline), folders)


def _assemble(config: RunConfig, folders: Sequence[Path]) -> Parts:
    parts = assemble(config, folders)
    check_logger(parts.logger, config.tags)
    return parts


def _check_unused(out: Path, afresh: bool) -> None:
    existing = [name for name in RUN_FILES if (out / name).exists()]
    if existing and not afresh:
        raise Refused(
            f"out={out}: holds a run already ({existing[0]}); "
            f"choose another folder, or go on with that run: metarun resume={out}"
        )


def resume(
    config: RunConfig,
    out: Path,
    command: str,
    folders: Sequence[Path] = (),
    trial: Trial | None = None,
    deadline: float = math.inf,
) -> dict[str, Any]:
    """Resume the run in the folder `out`; weights and figures are those of an uninterrupted run.

    Args:
        config: the saved configuration with the user's overrides.
        command, folders, trial, deadline: see `train`.

    Raises:
        Refused: the checkpoints are damaged, the configuration or data do not match them, or the
            run is finished.
        RunFailed, Interrupted: see `train`.
    """
    with alone_in(out):
        state = State.restore(out / "checkpoints")
        if state is None:  # stopped before the first checkpoint: start from the beginning
            parts = _assemble(config, folders)
            record_of_run = (results.read_result(out) or {}).get("run")
            first = record_of_run.get("command") if isinstance(record_of_run, dict) else None
            state = State.begin(parts, first or command)
            if first:
                state.resumed_with.append(command)
            return execute(Session(parts, out, state, trial, deadline=deadline), folders)
        changed = differences(state.config, config.model_dump())
        if changed:
            raise Refused(*(f"{out / 'config.yaml'}: {line}" for line in changed))
        if config.steps < state.step:
            raise Refused(f"steps={config.steps}: {out} has already done {state.step} steps")
        finished = (results.read_result(out) or {}).get("status") == "completed"
        if finished and state.step == 0:
            raise Refused(f"resume={out}: finished; {config.choices.algo} has nothing to train")
        if finished and config.steps == state.step:
            raise Refused(
                f"resume={out}: finished after {state.step} steps; use a larger steps=N to continue"
            )
        parts = _assemble(config, folders)
        splits = [
            split
            for split in {**state.splits, **parts.splits}
            if split not in parts.splits or state.splits.get(split) != parts.splits[split].sha256
        ]
        if splits:
            raise Refused(
                f"resume={out}: the data of {' and '.join(splits)} has changed; start a new run"
            )
        if mistakes := state.mistakes(parts):
            raise Refused(*(f"{out / 'checkpoints'}: {line}; start a new run" for line in mistakes))
        if finished:
            results.keep_copy(out, state.step)
        state.resumed_with.append(command)
        state.config = parts.config.model_dump()
        return execute(Session(parts, out, state, trial, deadline=deadline), folders)
