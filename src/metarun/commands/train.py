"""`metarun [train] …`, `metarun -m …`, `metarun resume=FOLDER`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metarun.config.command_line import Request
from metarun.errors import Refused


def run(request: Request) -> int:
    """Train, run a sweep, or resume either; with Hydra's flags, print information and stop."""
    flags = request.flags
    request.accept("--cfg", "--info", "-m", "-sc", "--hydra-help", "--config-dir")
    if flags.cfg or flags.info or flags.shell_completion or flags.hydra_help:
        from metarun import commands
        from metarun.config.hydra_commands import show

        show(request.words, flags, commands.names())
        return 0
    resumed = request.folder("resume")
    if resumed is not None:
        request.accept("--config-dir")
        if (resumed / "multirun.yaml").is_file():
            from metarun.sweeps import sweep

            return sweep.go_on(resumed, request.words, flags.config_dir)
    elif flags.multirun:
        from metarun.sweeps import sweep

        return sweep.start(request.words, flags.config_dir)
    train(request, resumed)
    return 0


def train(request: Request, resumed: Path | None = None) -> Path:
    """Train one run, print its result and return its folder.

    Args:
        resumed: the folder of an earlier run, which is resumed; `None` trains a new one.
    """
    folder, result = _resume(request, resumed) if resumed else _start(request)

    from metarun.training.display import conclude

    conclude(folder, result)
    return folder


def _start(request: Request) -> tuple[Path, dict[str, Any]]:
    """Train a new run; returns its folder and the content of `result.json`."""
    from omegaconf import OmegaConf

    from metarun.config.compose import checked, examine, folder_at, plain
    from metarun.config.groups import hydra_for, user_folders
    from metarun.config.overrides import missing_keys, only_for_sweeps

    if sweep_keys := only_for_sweeps(request.words):
        raise Refused(*sweep_keys)
    flags = request.flags
    cfg, mistakes = examine(hydra_for(flags.config_dir).config_loader, request.words)
    if mistakes:
        # Keys such as algo.inner_lr are checked against code that takes seconds to import. Do so
        # only if the user set such a key and there is no error for it yet.
        wrong_keys = {mistake.partition(":")[0] for mistake in mistakes}
        keys = {word.partition("=")[0].lstrip("+") for word in request.words}
        if (
            cfg is not None
            and not missing_keys(cfg)
            and any("." in key for key in keys - wrong_keys)
        ):
            from metarun.errors import Mistakes
            from metarun.training.learner import plan

            plan(plain(cfg), user_folders(cfg), more := Mistakes())
            mistakes += more.lines
        raise Refused(*dict.fromkeys(mistakes))
    typed = {word.lstrip("+").partition("=")[0] for word in request.words}
    if {"steps", "steps_from"} <= typed:
        raise Refused(f"steps={cfg.steps}: steps_from sets it; type only one")
    out = folder_at(cfg, "hydra.run.dir")
    has_out = any(word.lstrip("+").startswith("out=") for word in request.words)
    if has_out and "${out}" not in OmegaConf.to_container(cfg.hydra.run)["dir"]:
        raise Refused(f"out={cfg.out}: hydra.run.dir={out} is the folder of the run; type only one")

    from metarun.train import train

    config = checked(cfg).model_copy(update={"out": str(out)})
    return out, train(config, out, request.line, user_folders(cfg))


def _resume(request: Request, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Resume the run in `folder`."""
    from metarun.runs import config_file

    config_dir = request.flags.config_dir
    saved = config_file.load_config(folder, "resume")
    config = config_file.amend(saved, request.words, config_file.RESUMABLE, "resume", config_dir)

    from metarun.train import resume

    folders = [Path(config_dir)] if config_dir else []
    return folder, resume(config, folder, request.line, folders)
