"""Executes a run: trains to the last step, tests the best checkpoint and writes the results."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metarun.errors import Interrupted, Pruned, Refused, RunFailed
from metarun.loggers import Guarded, Run
from metarun.runs import results
from metarun.runs.episodes import figures_of, write_scores
from metarun.runs.folder import logged, prepare
from metarun.training.evaluation import evaluate
from metarun.training.interruption import Stop
from metarun.training.loop import NotFinite, Session, meta_train
from metarun.training.processes import WorkerEnded
from metarun.training.progress import Display
from metarun.training.protocol import protocol, record
from metarun.training.remaining import Remaining
from metarun.training.state import outer_of
from metarun.training.workers import workers_of

log = logging.getLogger(__name__)


def execute(session: Session, folders: Sequence[Path]) -> dict[str, Any]:
    """Execute the run with a log file, and return the content of its `result.json`.

    If the run ends early, its status is written to `result.json`.

    Args:
        folders: the user's config folders.

    Raises:
        RunFailed, Interrupted: the run ended early.
    """
    config, out, state = session.parts.config, session.out, session.state
    try:
        with logged(out):
            log.info("%s", [state.command, *state.resumed_with][-1])
            try:
                prepare(out, config, state, state.best_checkpoint())
                with workers_of(session.parts, folders) as session.workers:
                    return _run(session)
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
        raise Interrupted(f"{saved}; go on with: {_resume_command(out, folders)}") from None
    except Exception as error:
        line = f"{type(error).__name__}: {error}"
        if isinstance(error, RunFailed | Refused):
            line = str(error)
        elif isinstance(error, OSError) and str(error.filename).startswith(str(out)):
            line = f"{error.filename}: {error.strerror}"
        _write_early_end(session, "failed", error=line)
        if isinstance(error, NotFinite):
            line += (
                f"; to reproduce it from the last checkpoint: {_resume_command(out, folders)}; "
                "a smaller learning rate or optimizer.clip may help"
            )
        elif isinstance(error, WorkerEnded):
            line += f"; step {state.step} is saved, go on with: {_resume_command(out, folders)}"
        elif isinstance(error, OSError):
            line += f"; the last checkpoint is kept, go on with: {_resume_command(out, folders)}"
        raise RunFailed(f"{line} (traceback in {out / 'run.log'})") from error


def _run(session: Session) -> dict[str, Any]:
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


def _resume_command(out: Path, folders: Sequence[Path]) -> str:
    """The command that resumes the run in `out`."""
    flag = ["--config-dir", str(folders[0])] if folders else []
    return shlex.join(["metarun", f"resume={out}", *flag])
