"""A job of a sweep: validated alone, in a folder of its own, and nothing in it ends the others."""

from __future__ import annotations

import json
import math
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from metarun.config.compose import checked
from metarun.config.groups import user_folders
from metarun.config.overrides import quote
from metarun.config.schema import RunConfig
from metarun.errors import Occupied, Refused, RunFailed, complain
from metarun.sweeps.composition import composed
from metarun.tasks.headline import Headline

if TYPE_CHECKING:  # it imports torch
    from metarun.training.loop import Trial

REFUSED = "refused"  # the key of a job that only carries its mistakes


def legal(loader: ConfigLoader, master: DictConfig, job: Sequence[str]) -> Sequence[str]:
    """The overrides of a job, or, where they cannot be composed, one that carries the mistakes.

    So the job still gets its folder and its `result.json`, under any launcher.
    """
    words = OmegaConf.to_container(master.hydra.overrides.hydra)  # with ${…} as they were typed
    found = [w for w in words if w.startswith("hydra.searchpath=")]
    mistakes = composed(loader, [*found, *job]).mistakes
    if not mistakes:
        return job
    carried = json.dumps({"mistakes": mistakes, "typed": list(job)}).encode().hex()
    return [f"++{REFUSED}={quote(carried)}"]


def job(cfg: DictConfig, go_on: bool) -> float | None:
    """One job of a sweep, in the folder that Hydra made for it.

    Returns:
        The `objective`, for sweepers that optimise it; `nan` where the job failed, which its
        `result.json` tells.
    """
    from metarun.runs import results
    from metarun.training.display import announce, console

    hydra = HydraConfig.get()
    out = Path(hydra.runtime.output_dir)
    carried = json.loads(bytes.fromhex(cfg[REFUSED])) if REFUSED in cfg else None
    typed = carried["typed"] if carried else list(hydra.overrides.task)
    line = retyped(hydra, typed)
    announce(hydra.job.num, typed)
    go_on = go_on or (not carried and _taken_up(cfg, out))
    before = results.read_result(out) or {}
    held = (out / "config.yaml").exists() or (not go_on and (out / "result.json").exists())

    def work() -> dict[str, Any]:
        if go_on and before.get("status") == "completed":
            if not carried:
                refuse_another(checked(cfg), out)
            console().print("  finished before")
            return before
        if carried:
            raise Refused(*carried["mistakes"])
        try:
            return train_or_resume(checked(cfg), out, line, go_on)
        except Refused:  # perhaps because another process has finished it just now
            now = results.read_result(out) or {}
            if go_on and now.get("status") == "completed":
                return now
            raise

    result = recorded(hydra.job.num, out, line, held, work)
    return math.nan if result is None else objective(result)


def retyped(hydra: DictConfig, typed: Sequence[str]) -> str:
    """The command that makes a job's run alone, with the folders it takes choices from."""
    own = [s.path for s in hydra.runtime.config_sources if s.provider == "command-line"]
    folder = [f"--config-dir={os.path.abspath(own[0])}"] if own else []
    search = [w for w in hydra.overrides.hydra if w.startswith("hydra.searchpath=")]
    return shlex.join(["metarun", *folder, *search, *typed])


def recorded(
    number: int, out: Path, line: str, held: bool, work: Callable[[], dict[str, Any]]
) -> dict[str, Any] | None:
    """The result of a job's `work`; `None` where it failed, which is said and written down.

    Args:
        held: the folder `out` is another run's, which keeps its figures.

    Raises:
        Occupied: another process is at it.
        RunFailed: nothing could be written down.
    """
    from metarun.runs import results

    try:
        return work()
    except Occupied:
        raise
    except Refused as refused:
        if held or (out / "config.yaml").exists():
            reason = "; ".join(refused.mistakes)
            raise RunFailed(f"job {number}: {reason}") from refused
        failed = {"status": "failed", "error": refused.mistakes, "run": {"command": line}}
        results.write(out, failed)
        for mistake in refused.mistakes:
            complain(f"job {number}: {mistake}")
    except RunFailed as failed:
        complain(f"job {number}: {failed}")
    return None


def _taken_up(cfg: DictConfig, out: Path) -> bool:
    """Whether another process, which goes on with this sweep, was quicker to begin the job."""
    try:
        sweep = (Path(HydraConfig.get().sweep.dir) / "multirun.yaml").stat()
        if (out / "config.yaml").stat().st_mtime < sweep.st_mtime:
            return False
        refuse_another(checked(cfg), out)
    except (OSError, Refused):
        return False
    return True


def refuse_another(config: RunConfig, out: Path) -> None:
    """Refuse a finished run in a job's folder that was not made with the job's settings."""
    from metarun.runs import config_file

    made_with = OmegaConf.to_container(config_file.load_config(out, "resume"), resolve=True)
    lines = config_file.differences(made_with, config.model_dump())
    if lines:
        raise Refused(f"{out} holds another run: {lines[0]}")


def train_or_resume(
    config: RunConfig, out: Path, line: str, go_on: bool, trial: Trial | None = None
) -> dict[str, Any]:
    """Train in the job's folder, or go on with the run that is in it."""
    changed: dict[str, Any] = {"out": str(out)}
    if config.logger.get("group", "") is None:
        sweep = Path(HydraConfig.get().sweep.dir).resolve().name
        changed["logger"] = {**config.logger, "group": sweep}
    folders = user_folders(OmegaConf.create({"hydra": HydraConfig.get()}))

    from metarun.train import resume, train

    if go_on and (out / "config.yaml").exists():
        from metarun.runs import config_file

        changed["threads"] = config_file.load_config(out, "resume").get(
            "threads"
        )  # bits depend on it
        return resume(config.model_copy(update=changed), out, line, folders, trial)
    return train(config.model_copy(update=changed), out, line, folders, afresh=go_on, trial=trial)


def objective(result: Mapping[str, Any]) -> float:
    """What is maximised: the headline of the validation, or minus it; `nan` where it has none."""
    headline = Headline.of(result)
    try:
        return headline.worth(float(result["val"][headline.score]["mean"]))
    except (KeyError, TypeError, ValueError):
        return math.nan
