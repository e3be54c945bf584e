"""A job of a sweep: validated alone, in a folder of its own, and nothing in it ends the others."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from metarun.config import check, examine
from metarun.errors import Refused, RunFailed, complain
from metarun.overrides import quote
from metarun.tree import user_folders

REFUSED = "refused"  # the key of a job that only carries its mistakes


def legal(loader: ConfigLoader, master: DictConfig, job: Sequence[str]) -> Sequence[str]:
    """The overrides of a job, or, where they cannot be composed, one that carries the mistakes.

    So the job still gets its folder and its `result.json`, under any launcher.
    """
    current = HydraConfig.get() if HydraConfig.initialized() else None
    found = [w for w in master.hydra.overrides.hydra if w.startswith("hydra.searchpath=")]
    _, mistakes = examine(loader, [*found, *job])
    if current is not None:
        HydraConfig.instance().cfg = OmegaConf.create({"hydra": current})
    if not mistakes:
        return job
    carried = json.dumps({"mistakes": mistakes, "typed": list(job)}).encode().hex()
    return [f"++{REFUSED}={quote(carried)}"]


def job(cfg: DictConfig, go_on: bool) -> float:
    """One job of a sweep, in the folder that Hydra made for it.

    Returns:
        The validation accuracy (minus the squared error for regression) for sweepers that optimise
        it; `nan` where the job failed, which its `result.json` tells.
    """
    from metarun import results
    from metarun.display import console

    hydra = HydraConfig.get()
    out = Path(hydra.runtime.output_dir)
    carried = json.loads(bytes.fromhex(cfg[REFUSED])) if REFUSED in cfg else None
    typed = carried["typed"] if carried else list(hydra.overrides.task)
    line = shlex.join(["metarun", *typed])
    console().print(f"\njob {hydra.job.num}: {' '.join(typed)}", markup=False, soft_wrap=True)
    before = results.read(out) or {}
    held = (out / "config.yaml").exists() or (not go_on and (out / "result.json").exists())
    try:
        if go_on and before.get("status") == "completed":
            if not carried:
                _refuse_another(cfg, out)
            console().print("  finished before")
            return _value(before)
        if carried:
            raise Refused(*carried["mistakes"])
        return _value(_train_or_resume(cfg, out, line, go_on))
    except Refused as refused:
        if (
            held or (out / "config.yaml").exists()
        ):  # the run that is in this folder keeps its figures
            reason = "; ".join(refused.mistakes)
            raise RunFailed(f"job {hydra.job.num}: {reason}") from refused
        failed = {"status": "failed", "error": refused.mistakes, "run": {"command": line}}
        results.write(out, failed)
        for mistake in refused.mistakes:
            complain(f"job {hydra.job.num}: {mistake}")
    except RunFailed as failed:
        complain(f"job {hydra.job.num}: {failed}")
    return math.nan


def _refuse_another(cfg: DictConfig, out: Path) -> None:
    """Refuse a finished run in a job's folder that was not made with the job's settings."""
    from metarun import saved

    mistakes = check(cfg)
    if mistakes:
        raise Refused(*mistakes)
    now = OmegaConf.to_container(cfg, resolve=True)
    made_with = OmegaConf.to_container(saved.load(out, "resume"), resolve=True)
    lines = saved.differences(made_with, now)
    if lines:
        raise Refused(f"{out} holds another run: {lines[0]}")


def _train_or_resume(cfg: DictConfig, out: Path, line: str, go_on: bool) -> dict[str, Any]:
    mistakes = check(cfg)
    if mistakes:
        raise Refused(*mistakes)
    config = OmegaConf.to_container(cfg, resolve=True)
    config["out"] = str(out)
    folders = user_folders(OmegaConf.create({"hydra": HydraConfig.get()}))

    from metarun.train import resume, train

    if go_on and (out / "config.yaml").exists():
        if config["threads"] is None:  # the bits depend on it
            from metarun import saved

            config["threads"] = saved.load(out, "resume").get("threads")
        return resume(config, out, line, folders)
    return train(config, out, line, folders, afresh=go_on)


def _value(result: dict[str, Any]) -> float:
    val = result["val"]
    return val["accuracy"]["mean"] if "accuracy" in val else -val["mse"]["mean"]
