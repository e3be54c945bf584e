"""`metarun [train] …`, `metarun -m …`, `metarun resume=FOLDER`."""

from __future__ import annotations

from pathlib import Path

from metarun.config.command_line import Request
from metarun.errors import Refused


def run(request: Request) -> int:
    """Train; or sweep; or go on with either; or, by Hydra's flags, show and stop."""
    flags = request.flags
    request.accept("--cfg", "--info", "-m", "-sc", "--hydra-help", "--config-dir")
    if flags.cfg or flags.info or flags.shell_completion or flags.hydra_help:
        from metarun.config.hydra_commands import show

        show(request.words, flags)
        return 0
    folder = request.folder("resume")
    if folder is not None:
        request.accept("--config-dir")
        return _resume(request, folder)
    if flags.multirun:
        from metarun.sweeps import sweep

        return sweep.start(request.words, flags.config_dir)

    from metarun.config.compose import checked, examine, plain
    from metarun.config.groups import hydra_for, user_folders
    from metarun.config.overrides import only_for_sweeps

    if unheeded := only_for_sweeps(request.words):
        raise Refused(*unheeded)
    cfg, mistakes = examine(hydra_for(flags.config_dir).config_loader, request.words)
    if mistakes:
        # Keys of a choice are checked against the code behind it, which takes seconds to import:
        # worth it only if one was typed that is not among the mistakes yet.
        named = {mistake.partition(":")[0] for mistake in mistakes}
        typed = {word.partition("=")[0].lstrip("+") for word in request.words}
        if cfg is not None and any("." in key for key in typed - named):
            from metarun.errors import Mistakes
            from metarun.training.parts import plan

            plan(plain(cfg), user_folders(cfg), more := Mistakes())
            mistakes += more.lines
        raise Refused(*dict.fromkeys(mistakes))
    out = Path(cfg.hydra.run.dir).expanduser()

    from metarun.train import train
    from metarun.training.display import conclude

    config = checked(cfg).model_copy(update={"out": str(out)})
    result = train(config, out, request.line, user_folders(cfg))
    conclude(out, result)
    return 0


def _resume(request: Request, folder: Path) -> int:
    from metarun.runs import config_file

    own = request.flags.config_dir
    if (folder / "multirun.yaml").is_file():
        from metarun.sweeps import sweep

        return sweep.go_on(folder, request.words, own)
    typed = request.words
    config = config_file.amend(
        config_file.load_config(folder, "resume"), typed, config_file.RESUMABLE, "resume", own
    )

    from metarun.train import resume
    from metarun.training.display import conclude

    result = resume(config, folder, request.line, [Path(own)] if own else [])
    conclude(folder, result)
    return 0
