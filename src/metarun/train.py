"""The entry point: parts → loop → result."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import OmegaConf

from metarun import checkpoint, metrics, plots, results
from metarun.display import Display
from metarun.errors import Interrupted, Refused, RunFailed
from metarun.evaluation import evaluate
from metarun.files import write_whole
from metarun.interruption import Stop
from metarun.loggers import Run
from metarun.loop import Clock, meta_train
from metarun.parts import Parts, assemble
from metarun.protocol import keep, protocol, record, trained_on
from metarun.saved import differences

log = logging.getLogger(__name__)
OWN = (
    *("config.yaml", "metrics.jsonl", "result.json", "checkpoints", "run.log"),
    *("test_episodes.csv", "curves.png", "episodes.png", "evaluations"),
)


def train(
    config: dict[str, Any],
    out: Path,
    command: str,
    folders: Sequence[Path] = (),
    afresh: bool = False,
) -> dict[str, Any]:
    """Train from the beginning in the folder `out`, test the best checkpoint, return the result.

    Args:
        config: resolved and checked, plain containers.
        command: what the user typed, for the record.
        folders: the user's own config folders.
        afresh: a job of a sweep that stopped before its first checkpoint starts again.

    Raises:
        Refused: the request was wrong, and nothing was written.
        RunFailed, Interrupted: `result.json` says so.
    """
    taken = [name for name in OWN if (out / name).exists()]
    if taken and not afresh:
        raise Refused(
            f"out={out}: holds a run already ({taken[0]}); "
            f"choose another folder, or go on with that run: metarun resume={out}"
        )
    parts = assemble(config, folders)
    try:
        (out / "checkpoints").mkdir(parents=True, exist_ok=afresh)
    except OSError as error:
        raise Refused(f"out={out}: cannot be written to ({error.strerror})") from error
    return _guarded(parts, out, _start(parts, command))


def _start(parts: Parts, command: str) -> dict[str, Any]:
    """The state of a run that has not taken a step."""
    return {
        **{"step": 0, "validated": 0, "best": None, "recent": []},
        **{"wall_seconds": 0.0, "step_seconds": 0.0},
        **{"id": secrets.token_hex(4), "command": command, "resumed_with": []},
        **{"task": list(parts.task), "trained_on": trained_on(parts)},
    }


def resume(
    config: dict[str, Any], out: Path, command: str, folders: Sequence[Path] = ()
) -> dict[str, Any]:
    """Go on in the folder `out` from its last checkpoint, as if never stopped.

    Args:
        config: the saved configuration with what was typed.

    Raises:
        Refused: there is nothing to go on from, or nothing left to do.
    """
    last = out / "checkpoints" / "last.pt"
    if not last.exists():  # stopped before its first checkpoint: nothing is lost by starting again
        parts = assemble(config, folders)
        return _guarded(parts, out, _start(parts, command))
    state = checkpoint.load(last)
    changed = differences(state["config"], config)
    if changed:
        raise Refused(*(f"{out / 'config.yaml'}: {line}" for line in changed))
    if config["steps"] < state["step"]:
        raise Refused(f"steps={config['steps']}: {out} has done {state['step']} already")
    finished = (results.read(out) or {}).get("status") == "completed"
    if finished and config["steps"] == state["step"]:
        raise Refused(
            f"resume={out}: finished after {state['step']} steps; steps=N with a larger N goes on"
        )
    parts = assemble(config, folders)
    if trained_on(parts) != state["trained_on"]:
        raise Refused(f"resume={out}: its training data has changed; a new run can learn from it")
    state["resumed_with"].append(command)
    return _guarded(parts, out, state)


def _guarded(parts: Parts, out: Path, state: dict[str, Any]) -> dict[str, Any]:
    """`run`, alone in its folder, with whatever ends it early written down."""
    lock = FileLock(out / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Refused(f"{out}: another process is running in this folder") from None
    handler = logging.FileHandler(out / "run.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger("metarun")
    root.addHandler(handler)
    log.info("%s", [state["command"], *state["resumed_with"]][-1])
    try:
        _keep_config(parts, out)
        metrics.cut(out, state["step"], state["validated"])
        return run(parts, out, state)
    except (Interrupted, KeyboardInterrupt):
        log.info("interrupted after step %d", state["step"])
        _write_result(parts, out, state, "interrupted")
        raise
    except Exception as error:
        log.exception("failed after step %d", state["step"])
        line = str(error) if isinstance(error, RunFailed) else f"{type(error).__name__}: {error}"
        _write_result(parts, out, state, "failed", error=line)
        raise RunFailed(f"{line} (traceback in {out / 'run.log'})") from error
    finally:
        root.removeHandler(handler)
        handler.close()
        lock.release()


def run(parts: Parts, out: Path, state: dict[str, Any]) -> dict[str, Any]:
    """Train, keep what validates best, test it."""
    config, learner = parts.config, parts.learner
    outer = parts.optimizer(learner.parameters(), config["steps"])
    clock = Clock(state)
    resumed = "learner" in state
    if resumed:
        learner.load_state_dict(state.pop("learner"))
        outer.optimizer.load_state_dict(state.pop("optimizer"))
    _write_result(parts, out, state, "running")
    about = Run(out, state["id"], out.name, config, config["tags"], resumed)
    logger = parts.logger(about)
    final: dict[str, float] = {}
    pictures: dict[str, Path] = {}
    try:
        with Stop() as stop, Display(config["steps"], state["step"]) as display:
            meta_train(parts, out, state, outer, logger, clock, stop, display)
            best = checkpoint.load(out / "checkpoints" / "best.pt", parts.device)
            learner.load_state_dict(best["learner"])
            proceed = display.during("test", config["test_episodes"], stop)
            scores = evaluate(learner, parts.frozen("test"), config["test_episodes"], proceed)
        test, pictures = keep(parts, out, "test", scores)
        clock.lap("wall_seconds")
        pictures["curves"] = plots.curves(out, config)
        final = {f"test/{k}": test[k]["mean"] for k in test if k != "episodes"}
        return _write_result(parts, out, state, "completed", test=test)
    except Interrupted:
        raise Interrupted(
            f"step {state['step']} of {config['steps']} is saved; go on with: metarun resume={out}"
        ) from None
    finally:
        logger.finish(final, pictures, failed=not final)


def _write_result(
    parts: Parts, out: Path, state: dict[str, Any], status: str, **found: Any
) -> dict[str, Any]:
    seconds = state["step_seconds"]
    done = state["step"] * parts.config["meta_batch"]
    result = {
        "status": status,
        **found,
        "val": state["best"],
        "protocol": protocol(
            parts,
            "test",
            parts.config["test_episodes"],
            state["trained_on"],
            bool(found.get("test")),
        ),
        "run": record(
            parts,
            state["command"],
            state["wall_seconds"],
            resumed_with=state["resumed_with"],
            steps_done=state["step"],
            episodes_per_second=round(done / seconds, 2) if seconds else None,
        ),
    }
    results.write(out, result)
    return result


def _keep_config(parts: Parts, out: Path) -> None:
    write_whole(out / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(parts.config)))
