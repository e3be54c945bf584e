"""The entry point: parts → loop → result."""

from __future__ import annotations

import contextlib
import logging
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metarun.config.schema import RunConfig
from metarun.errors import Interrupted, Occupied, Pruned, Refused, RunFailed
from metarun.files import make_folder, new_folder, read_whole, write_whole
from metarun.loggers import Guarded, Run
from metarun.plots.curves import draw_curves
from metarun.plots.figure import drawn
from metarun.plots.tested import draw_tested
from metarun.runs import results
from metarun.runs.config_file import differences, keep_config
from metarun.runs.folder import logged, prepare
from metarun.runs.lock import alone_in
from metarun.stats import interval
from metarun.training.display import Display
from metarun.training.evaluation import evaluate
from metarun.training.interruption import Stop
from metarun.training.loop import NotFinite, Session, Trial, meta_train
from metarun.training.parts import assemble
from metarun.training.protocol import protocol, record
from metarun.training.state import State

log = logging.getLogger(__name__)
OWN = (
    *("config.yaml", "metrics.jsonl", "result.json", "checkpoints", "run.log"),
    *("test_episodes.csv", "curves.png", "episodes.png", "evaluations"),
)


def train(
    config: RunConfig,
    out: Path,
    command: str,
    folders: Sequence[Path] = (),
    afresh: bool = False,
    trial: Trial | None = None,
) -> dict[str, Any]:
    """Train from the beginning in the folder `out`, test the best checkpoint, return the result.

    Args:
        command: what the user typed, for the record.
        folders: the user's own config folders.
        afresh: a job of a sweep that stopped before its first checkpoint starts again.
        trial: whom to tell of each validation, if the run is one of a search.

    Raises:
        Refused: the request was wrong, and nothing was written.
        RunFailed, Interrupted: `result.json` says so.
    """
    _untaken(out, afresh)
    begun = (out / "config.yaml").exists()
    parts = assemble(config, folders)
    if config.audit == "full":
        from metarun.checks import insist

        insist(parts)
    try:
        make_folder(out)
    except OSError as error:
        raise Refused(f"out={out}: cannot be written to ({error.strerror})") from error
    with alone_in(out):
        _untaken(out, afresh)  # another process may have been quicker
        if afresh and (out / "config.yaml").exists() and not begun:
            raise Occupied(f"{out}: another process has begun the run in this folder")
        try:  # first of all: with it a run can go on, without it the folder is free
            keep_config(parts.config, out)
        except OSError as error:
            with contextlib.suppress(OSError):
                (out / "config.yaml").unlink()
            raise Refused(f"out={out}: cannot be written to ({error.strerror})") from error
        return _guarded(Session(parts, out, State.begin(parts, command), trial), folders)


def _untaken(out: Path, afresh: bool) -> None:
    taken = [name for name in OWN if (out / name).exists()]
    if taken and not afresh:
        raise Refused(
            f"out={out}: holds a run already ({taken[0]}); "
            f"choose another folder, or go on with that run: metarun resume={out}"
        )


def resume(
    config: RunConfig,
    out: Path,
    command: str,
    folders: Sequence[Path] = (),
    trial: Trial | None = None,
) -> dict[str, Any]:
    """Go on in the folder `out` from its last checkpoint, as if never stopped.

    Args:
        config: the saved configuration with what was typed.

    Raises:
        Refused: there is nothing to go on from, or nothing left to do.
    """
    with alone_in(out):
        state = State.restore(out / "checkpoints")
        if state is None:  # stopped before its first checkpoint: nothing is lost by starting again
            parts = assemble(config, folders)
            made = (results.read_result(out) or {}).get("run")
            first = made.get("command") if isinstance(made, dict) else None
            state = State.begin(parts, first or command)
            if first:
                state.resumed_with.append(command)
            return _guarded(Session(parts, out, state, trial), folders)
        changed = differences(state.config, config.model_dump())
        if changed:
            raise Refused(*(f"{out / 'config.yaml'}: {line}" for line in changed))
        if config.steps < state.step:
            raise Refused(f"steps={config.steps}: {out} has done {state.step} already")
        finished = (results.read_result(out) or {}).get("status") == "completed"
        if finished and config.steps == state.step:
            raise Refused(
                f"resume={out}: finished after {state.step} steps; steps=N with a larger N goes on"
            )
        parts = assemble(config, folders)
        other = [s for s, known in state.splits.items() if parts.splits[s].sha256 != known]
        if other:
            raise Refused(
                f"resume={out}: the data of {' and '.join(other)} has changed since; "
                "a new run can use it"
            )
        if finished:  # its figures stay, whatever becomes of the longer run
            kept = new_folder(out / "evaluations", None, f"after_{state.step}_steps")
            for name in ("test_episodes.csv", "result.json"):
                write_whole(kept / name, read_whole(out / name))
        state.resumed_with.append(command)
        state.config = parts.config.model_dump()
        return _guarded(Session(parts, out, state, trial), folders)


def again(out: Path, folders: Sequence[Path]) -> str:
    """The command that goes on with the run in `out`."""
    own = ["--config-dir", str(folders[0])] if folders else []
    return shlex.join(["metarun", f"resume={out}", *own])


def _guarded(session: Session, folders: Sequence[Path]) -> dict[str, Any]:
    """`run`, with whatever ends it early written down where that is possible."""
    config, out, state = session.parts.config, session.out, session.state
    try:
        with logged(out):
            log.info("%s", [state.command, *state.resumed_with][-1])
            try:
                prepare(out, config, state, state.best_checkpoint())
                return run(session)
            except Exception:
                log.exception("failed after step %d", state.step)
                raise
    except KeyboardInterrupt as stop:
        if (results.read_result(out) or {}).get("status") == "completed":
            raise  # it came too late to interrupt anything but the good-bye of a logger
        if isinstance(stop, Pruned):
            pruned = {"step": stop.step, "trial": stop.trial}
            _write_what_ended_it(session, "interrupted", pruned=pruned)
            raise
        _write_what_ended_it(session, "interrupted")
        saved = f"step {state.step} of {config.steps} is saved"
        if not isinstance(stop, Interrupted):
            saved = "at once: the last checkpoint is kept"
        raise Interrupted(f"{saved}; go on with: {again(out, folders)}") from None
    except Exception as error:
        line = f"{type(error).__name__}: {error}"
        if isinstance(error, RunFailed):
            line = str(error)
        elif isinstance(error, OSError) and str(error.filename).startswith(str(out)):
            line = f"{error.filename}: {error.strerror}"
        _write_what_ended_it(session, "failed", error=line)
        if isinstance(error, NotFinite):
            line += (
                f"; this gets there again from the last checkpoint: {again(out, folders)}; "
                "a smaller learning rate or optimizer.clip may help"
            )
        elif isinstance(error, OSError):
            line += f"; the last checkpoint is kept, go on with: {again(out, folders)}"
        raise RunFailed(f"{line} (traceback in {out / 'run.log'})") from error


def run(session: Session) -> dict[str, Any]:
    """Train, keep what validates best, test it."""
    parts, out, state = session.parts, session.out, session.state
    config, learner = parts.config, parts.learner
    outer = parts.optimizer(learner.parameters(), config.steps)
    resumed = state.load_into(learner, outer.optimizer)
    _write_result(session, "running")
    about = Run(out, state.id, out.name, state.config, config.tags, resumed)
    logger = Guarded(parts.logger, about)
    final: dict[str, float] = {}
    pictures: dict[str, Path] = {}
    failed = True
    try:
        headline = parts.spec.objective.headline
        with Stop() as stop, Display(config.steps, state.step, headline) as display:
            meta_train(session, outer, logger, stop, display)
            learner.load_state_dict(state.best_learner)
            proceed = display.progress("test", config.test_episodes, stop)
            frozen = parts.frozen("test")
            scores = evaluate(learner, frozen, config.test_episodes, proceed)
        results.write_episodes(out, scores)
        test = {name: interval(values) for name, values in scores.items()}
        session.clock.lap()
        pictures = {
            **drawn("episodes", lambda: draw_tested(out, learner, frozen)),
            **drawn("curves", lambda: draw_curves(out, config)),
        }
        told = {**test, "episodes": config.test_episodes}
        result = _write_result(session, "completed", test=told)
        final = {f"test/{name}": stat["mean"] for name, stat in test.items()}
        failed = False
        return result
    except Pruned:
        failed = False  # as good as it had to be known
        raise
    finally:
        logger.finish(final, pictures, failed)


def _write_what_ended_it(session: Session, status: str, **found: Any) -> None:
    try:
        _write_result(session, status, **found)
    except OSError as error:  # the disk that ended it is still full
        log.info("result.json could not be written: %s", error)


def _write_result(session: Session, status: str, **found: Any) -> dict[str, Any]:
    parts, state = session.parts, session.state
    seconds, done = state.step_seconds, state.step * parts.config.meta_batch
    result = {
        "status": status,
        **found,
        "val": state.best,
        "protocol": protocol(
            parts,
            "test",
            parts.config.test_episodes,
            state.trained_on,
            bool(found.get("test")),
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
