"""One job of a sweep: validate its configuration, run it in its own folder, record failures."""

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
from metarun.sweeps.composition import composed, config_folders
from metarun.tasks.headline import Headline

if TYPE_CHECKING:  # importing it would import torch
    from metarun.training.loop import Trial

REFUSED = "refused"  # config key of a job whose overrides are invalid; holds the errors


def validated_overrides(
    loader: ConfigLoader, master: DictConfig, job: Sequence[str]
) -> Sequence[str]:
    """Return the overrides of a job, or, if they are invalid, one override that holds the errors.

    An invalid job is still launched, so it gets its folder and its `result.json` with any launcher.
    """
    hydra_overrides = OmegaConf.to_container(master.hydra.overrides.hydra)  # ${…} is not resolved
    search_path = [o for o in hydra_overrides if o.startswith("hydra.searchpath=")]
    mistakes = composed(loader, [*search_path, *job]).mistakes
    if not mistakes:
        return job
    encoded = json.dumps({"mistakes": mistakes, "typed": list(job)}).encode().hex()
    return [f"++{REFUSED}={quote(encoded)}"]


def job(cfg: DictConfig, go_on: bool, jobs: int | None = None) -> float | None:
    """Run one job of a sweep in the folder that Hydra made for it.

    Args:
        go_on: resume the run that is in the folder, if there is one.
        jobs: the number of jobs in the sweep, if it is known.

    Returns:
        The `objective`, for sweepers that optimise it; `nan` if the job failed, in which case its
        `result.json` holds the reason.
    """
    from metarun.runs import results
    from metarun.training.display import announce, conclude_job, console

    hydra = HydraConfig.get()
    out = Path(hydra.runtime.output_dir)
    invalid = json.loads(bytes.fromhex(cfg[REFUSED])) if REFUSED in cfg else None
    overrides = invalid["typed"] if invalid else list(hydra.overrides.task)
    line = rerun_command(hydra, overrides)
    announce(hydra.job.num, overrides, jobs)
    go_on = go_on or (not invalid and _started_by_other_process(cfg, out))
    previous = results.read_result(out) or {}

    def work() -> dict[str, Any]:
        if go_on and previous.get("status") == "completed":
            if not invalid:
                refuse_other_run(checked(cfg), out)
            console().print("  finished before")
            return previous
        if invalid:
            raise Refused(*invalid["mistakes"])
        try:
            return train_or_resume(checked(cfg), out, line, go_on)
        except Refused:  # another process may have finished the run in the meantime
            current = results.read_result(out) or {}
            if go_on and current.get("status") == "completed":
                return current
            raise

    result = run_and_record(hydra.job.num, out, line, go_on, work)
    if result is None:
        return math.nan
    conclude_job(result)
    return objective(result)


def rerun_command(hydra: DictConfig, overrides: Sequence[str]) -> str:
    """Return the command that repeats a job as a single run, with the same config folders."""
    config_dir, search_path = config_folders(hydra)
    flag = [f"--config-dir={os.path.abspath(config_dir)}"] if config_dir else []
    return shlex.join(["metarun", *flag, *search_path, *overrides])


def run_and_record(
    number: int, out: Path, line: str, go_on: bool, work: Callable[[], dict[str, Any]]
) -> dict[str, Any] | None:
    """Return the result of `work`; if it fails, print and record the error and return `None`.

    Args:
        number: the number of the job.
        out: the folder of the job.
        line: the command that repeats the job as a single run.
        go_on: whether a result in `out` that is not of a run may be replaced; a run never is.
        work: runs the job and returns the content of its `result.json`.

    Raises:
        Occupied: another process is running in the folder.
        RunFailed: the error cannot be recorded, because the folder holds a run.
    """
    from metarun.runs import results

    has_run = (out / "config.yaml").exists() or (not go_on and (out / "result.json").exists())
    try:
        return work()
    except Occupied:
        raise
    except Refused as refused:
        if has_run or (out / "config.yaml").exists():
            reason = "; ".join(refused.mistakes)
            raise RunFailed(f"job {number}: {reason}") from refused
        failure = {"status": "failed", "error": refused.mistakes, "run": {"command": line}}
        results.write(out, failure)
        for mistake in refused.mistakes:
            complain(f"job {number}: {mistake}")
    except RunFailed as error:
        complain(f"job {number}: {error}")
    return None


def _started_by_other_process(cfg: DictConfig, out: Path) -> bool:
    """Return whether another process that resumed this sweep has already started the job."""
    try:
        sweep_file = (Path(HydraConfig.get().sweep.dir) / "multirun.yaml").stat()
        if (out / "config.yaml").stat().st_mtime < sweep_file.st_mtime:
            return False
        refuse_other_run(checked(cfg), out)
    except (OSError, Refused):
        return False
    return True


def refuse_other_run(config: RunConfig, out: Path) -> None:
    """Check that the run in the folder `out` was made with the settings in `config`.

    Raises:
        Refused: it was made with other settings.
    """
    from metarun.runs import config_file

    saved = OmegaConf.to_container(config_file.load_config(out, "resume"), resolve=True)
    lines = config_file.differences(saved, config.model_dump())
    if lines:
        raise Refused(f"{out} holds another run: {lines[0]}")


def train_or_resume(
    config: RunConfig, out: Path, line: str, go_on: bool, trial: Trial | None = None
) -> dict[str, Any]:
    """Train in the job's folder, or resume the run that is in it; returns the result."""
    changes: dict[str, Any] = {"out": str(out)}
    if config.logger.get("group", "") is None and not os.environ.get("WANDB_RUN_GROUP"):
        sweep = Path(HydraConfig.get().sweep.dir).resolve().name
        changes["logger"] = {**config.logger, "group": sweep}
    folders = user_folders(OmegaConf.create({"hydra": HydraConfig.get()}))

    from metarun.train import resume, train

    if go_on and (out / "config.yaml").exists():
        from metarun.runs import config_file

        # The number of threads changes rounding: keep it.
        changes["threads"] = config_file.load_config(out, "resume").get("threads")
        return resume(config.model_copy(update=changes), out, line, folders, trial)
    return train(config.model_copy(update=changes), out, line, folders, afresh=go_on, trial=trial)


def objective(result: Mapping[str, Any]) -> float:
    """Return the value to maximise: the headline score on the validation split.

    The sign is reversed if a lower score is better. The value is `nan` if there is no score.
    """
    headline = Headline.of(result)
    try:
        return headline.worth(float(result["val"][headline.score]["mean"]))
    except (KeyError, TypeError, ValueError):
        return math.nan
