"""Trains a run in its folder, tests its best checkpoint and writes the results."""

from __future__ import annotations

import contextlib
import logging
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metarun.config.schema import RunConfig
from metarun.errors import Interrupted, Occupied, Pruned, Refused, RunFailed
from metarun.files import make_folder
from metarun.loggers import Guarded, Run, check_logger
from metarun.runs import results
from metarun.runs.config_file import differences, keep_config
from metarun.runs.episodes import figures_of, write_scores
from metarun.runs.folder import logged, prepare
from metarun.runs.lock import alone_in
from metarun.training.evaluation import evaluate
from metarun.training.first_step import try_first_step
from metarun.training.interruption import Stop
from metarun.training.loop import NotFinite, Session, Trial, meta_train
from metarun.training.parts import Parts, assemble
from metarun.training.processes import WorkerEnded
from metarun.training.progress import Display
from metarun.training.protocol import protocol, record
from metarun.training.remaining import Remaining
from metarun.training.state import State, outer_of
from metarun.training.steps import with_steps
from metarun.training.workers import workers_of

log = logging.getLogger(__name__)
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
        return _execute(Session(parts, out, state, trial, deadline=deadline), folders)


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
            return _execute(Session(parts, out, state, trial, deadline=deadline), folders)
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
        return _execute(Session(parts, out, state, trial, deadline=deadline), folders)


def resume_command(out: Path, folders: Sequence[Path]) -> str:
    """The command that resumes the run in `out`."""
    flag = ["--config-dir", str(folders[0])] if folders else []
    return shlex.join(["metarun", f"resume={out}", *flag])


def _execute(session: Session, folders: Sequence[Path]) -> dict[str, Any]:
    """Execute the run with a log file; if it ends early, write its status to `result.json`."""
    config, out, state = session.parts.config, session.out, session.state
    try:
        with logged(out):
            log.info("%s", [state.command, *state.resumed_with][-1])
            try:
                prepare(out, config, state, state.best_checkpoint())
                with workers_of(session.parts, folders) as session.workers:
                    return run(session)
            except Exception:
                log.exception("failed after step %d", state.step)
                raise
    except KeyboardInterrupt as stop:
        if (results.read_result(out) or {}).get("status") == "completed":
            raise  # all is written: the signal only interrupted the end of the logger
        if isinstance(stop, Pruned):
            pruned = {"step": stop.step, "trial": stop.trial}
            _write_early_end(session, "interrupted", pruned=pruned)
            raise
        _write_early_end(session, "interrupted")
        saved = f"step {state.step} of {config.steps} is saved"
        if not isinstance(stop, Interrupted):
            saved = "stopped at once, the last checkpoint is kept"
        raise Interrupted(f"{saved}; go on with: {resume_command(out, folders)}") from None
    except Exception as error:
        line = f"{type(error).__name__}: {error}"
        if isinstance(error, RunFailed | Refused):
            line = str(error)
        elif isinstance(error, OSError) and str(error.filename).startswith(str(out)):
            line = f"{error.filename}: {error.strerror}"
        _write_early_end(session, "failed", error=line)
        if isinstance(error, NotFinite):
            line += (
                f"; to reproduce it from the last checkpoint: {resume_command(out, folders)}; "
                "a smaller learning rate or optimizer.clip may help"
            )
        elif isinstance(error, WorkerEnded):
            line += f"; step {state.step} is saved, go on with: {resume_command(out, folders)}"
        elif isinstance(error, OSError):
            line += f"; the last checkpoint is kept, go on with: {resume_command(out, folders)}"
        raise RunFailed(f"{line} (traceback in {out / 'run.log'})") from error


def run(session: Session) -> dict[str, Any]:
    """Train to the last step and test the best checkpoint; returns the content of `result.json`."""
    parts, out, state = session.parts, session.out, session.state
    config, learner = parts.config, parts.learner
    outer = outer_of(parts)
    resumed = state.load_into(learner, outer.optimizer)
    _write_result(session, "running")
    logged_run = Run(out, state.id, out.name, state.config, config.tags, resumed)
    logger = Guarded(parts.logger, logged_run)
    summary: dict[str, float] = {}
    pictures: dict[str, Path] = {}
    failed = True
    try:
        headline = parts.spec.objective.headline
        work = Remaining.of(config, state.step, state.validated)
        work.val_episodes *= "val" in parts.splits
        best_step = state.best and state.best["best_step"]
        with Stop() as stop, Display(work, headline, best_step) as display:
            if session.workers is not None and session.workers.note and config.steps:
                display.say(
                    f"workers={session.workers.size}: the evaluation of {config.choices.algo} is "
                    f"divided, its training is not: {session.workers.note}"
                )
            meta_train(session, outer, logger, stop, display)
            learner.load_state_dict(state.best_learner)
            proceed = display.progress("test", config.test_episodes, stop)
            frozen = parts.frozen("test")
            scores = evaluate(learner, frozen, config.test_episodes, proceed, session.workers)

        from metarun.plots.curves import draw_curves  # Matplotlib would delay the first step
        from metarun.plots.figure import drawn
        from metarun.plots.tested import draw_tested

        classes = frozen.classes(config.test_episodes)
        write_scores(out, scores, classes, headline.score)
        test = figures_of(scores, classes)
        session.clock.lap()
        pictures = {
            **drawn("episodes", lambda: draw_tested(out, learner, frozen)),
            **drawn("curves", lambda: draw_curves(out, config, state.best, test)),
        }
        result = _write_result(session, "completed", test=test)
        summary = {f"test/{name}": test[name]["mean"] for name in scores}
        failed = False
        return result
    except Pruned:
        failed = False  # a pruned trial is no failure
        raise
    finally:
        logger.finish(summary, pictures, failed)


def _write_early_end(session: Session, status: str, **more: Any) -> None:
    try:
        _write_result(session, status, **more)
    except OSError as error:  # e.g. the full disk that ended the run
        log.info("result.json could not be written: %s", error)


def _write_result(session: Session, status: str, **more: Any) -> dict[str, Any]:
    parts, state = session.parts, session.state
    seconds, done = state.step_seconds, state.step * parts.config.meta_batch
    result = {
        "status": status,
        **more,
        "val": state.best,
        "protocol": protocol(
            parts, "test", parts.config.test_episodes, state.trained_on, bool(more.get("test"))
        ),
        "run": record(
            parts,
            state.command,
            state.wall_seconds,
            resumed_with=state.resumed_with,
            steps_done=state.step,
            **({"trial": state.trial} if state.trial is not None else {}),
            episodes_per_second=round(done / seconds, 2) if seconds else None,
        ),
    }
    results.write(session.out, result)
    return result
