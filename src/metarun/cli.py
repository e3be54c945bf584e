"""From argv to a command; imports nothing heavy before the request is known to be sound."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from metarun import __version__
from metarun.errors import Interrupted, Refused, RunFailed, complain
from metarun.request import Request

HELP = """\
metarun {version}: few-shot and meta-learning experiments

  metarun algo=maml data=omniglot shots=5     train, then test the best validation checkpoint
  metarun -m algo=maml,protonet shots=1,5     every combination, one table
  metarun resume=RUN_DIR [steps=N]            go on where a run or a sweep stopped
  metarun evaluate run=RUN_DIR [shots=5 …]    test a trained run under another protocol
  metarun list [GROUP]                        what can be chosen

Choices and values are written key=value, in any order; algo.inner_lr=0.1 sets a choice's own key.
  --cfg job             print the configuration and stop
  --info                print how it is composed and stop
  --config-dir DIR      a folder of your own with algo/, data/, … to choose from
  -sc install=bash      print the shell's tab completion: eval "$(metarun -sc install=bash)"
  --hydra-help          all flags of Hydra, which does the composing

Exit codes: 0 done, 1 the run failed, 2 the request was wrong, 130 interrupted and saved.
"""


def entry() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):  # a terminal without ± still gets its figures
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    sys.exit(main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Run one command; returns the exit code."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra's errors are ours to print
    logging.raiseExceptions = False  # a closed pipe is no news
    log = logging.getLogger("metarun")
    log.setLevel(logging.INFO)
    log.addHandler(screen := _Screen())
    try:
        return _dispatch(list(argv))
    except Refused as refused:
        complain(*refused.mistakes)
        return 2
    except RunFailed as failed:
        complain(str(failed))
        return 1
    except KeyboardInterrupt as stop:
        saved = isinstance(stop, Interrupted) and str(stop)
        complain(f"interrupted; {stop}" if saved else "interrupted")
        return 130
    except BrokenPipeError:  # `metarun list | head`
        sys.stdout = None
        return 0
    except Exception as error:
        if os.environ.get("METARUN_TRACEBACK"):
            raise
        text = " ".join(str(error).split()) or "no message"
        complain(f"{type(error).__name__}: {text} (METARUN_TRACEBACK=1 shows where)")
        return 1
    finally:
        log.removeHandler(screen)


def _dispatch(argv: list[str]) -> int:
    commands: dict[str, Callable[[Request], int]] = {
        "train": _train,
        "evaluate": _evaluate,
        "list": _list,
    }
    line = shlex.join(["metarun", *argv])
    if {"-h", "--help"} & set(argv) or argv == ["help"]:
        print(HELP.format(version=__version__), end="")
        return 0
    if argv == ["--version"]:
        print(__version__)
        return 0
    name = argv.pop(0) if argv and argv[0].isidentifier() else "train"
    if name not in commands:
        from metarun.overrides import nearest

        if name == "resume":
            raise Refused("resume: name the folder with =: metarun resume=RUN_DIR")
        offered = ", ".join(commands)
        raise Refused(f"{name}: no such command{nearest(name, commands)} ({offered})")
    return commands[name](Request.of(argv, line))


def _train(request: Request) -> int:
    flags = request.flags
    request.accept("--cfg", "--info", "-m", "-sc", "--hydra-help", "--config-dir")
    if flags.cfg or flags.info or flags.shell_completion or flags.hydra_help:
        from metarun.inspection import show

        show(request.words, flags)
        return 0
    folder = request.folder("resume")
    if folder is not None:
        request.accept("--config-dir")
        return _resume(request, folder)
    if flags.multirun:
        from metarun import sweep

        return sweep.start(request.words, flags.config_dir)

    from metarun.config import examine, plain
    from metarun.tree import hydra_for, user_folders

    cfg, mistakes = examine(hydra_for(flags.config_dir).config_loader, request.words)
    if mistakes:
        # Keys of a choice are checked against the code behind it, which takes seconds to import:
        # worth it only if one was typed that is not among the mistakes yet.
        named = {mistake.partition(":")[0] for mistake in mistakes}
        typed = {word.partition("=")[0].lstrip("+") for word in request.words}
        if cfg is not None and any("." in key for key in typed - named):
            from metarun.parts import Mistakes, plan

            plan(plain(cfg), user_folders(cfg), more := Mistakes())
            mistakes += more.lines
        raise Refused(*dict.fromkeys(mistakes))
    out = Path(cfg.hydra.run.dir).expanduser()

    from metarun.train import train

    result = train({**plain(cfg), "out": str(out)}, out, request.line, user_folders(cfg))
    _conclude(out, result)
    return 0


def _resume(request: Request, folder: Path) -> int:
    from metarun import saved

    own = request.flags.config_dir
    if (folder / "multirun.yaml").is_file():
        from metarun import sweep

        return sweep.go_on(folder, request.words, own)
    typed = request.words
    config = saved.amend(saved.load(folder, "resume"), typed, saved.RESUMABLE, "resume", own)

    from metarun.train import resume

    result = resume(config, folder, request.line, [Path(own)] if own else [])
    _conclude(folder, result)
    return 0


def _evaluate(request: Request) -> int:
    from metarun import saved

    request.accept("--config-dir")
    own, run = request.flags.config_dir, request.folder("run")
    if run is None:
        raise Refused("evaluate: say which run: metarun evaluate run=RUN_DIR [shots=5 …]")
    split = request.take("split") or "test"
    if split not in ("train", "val", "test"):
        raise Refused(f"split={split}: should be train, val or test")
    name = request.take("name")
    if name is not None and (Path(name).name != name or name in ("", ".", "..")):
        raise Refused(f"name={name}: should be the name of a folder, without slashes")
    typed = [
        w.replace("episodes=", "test_episodes=", 1) if w.startswith("episodes=") else w
        for w in request.words
    ]
    config = saved.amend(saved.load(run, "run"), typed, saved.RETESTABLE, "evaluate", own)

    from metarun.retest import retest

    _conclude(*retest(config, run, split, name, request.line, [Path(own)] if own else []))
    return 0


def _list(request: Request) -> int:
    from metarun.overrides import nearest
    from metarun.tree import GROUPS, choices

    request.accept("--config-dir")
    for group in request.words:
        if group not in GROUPS:
            raise Refused(
                f"list {group}: no such group{nearest(group, GROUPS)} ({', '.join(GROUPS)})"
            )
    for group in request.words or GROUPS:
        offered = choices(group, request.flags.config_dir)
        width = max((len(name) for name in offered), default=0)
        print(f"{group}=")
        for name, meaning in offered.items():
            print(f"  {name:<{width}}  {meaning}".rstrip())
    return 0


def _conclude(folder: Path, result: dict) -> None:
    """The table that a run ends with."""
    from metarun.display import console
    from metarun.results import figure, table

    screen = console()
    screen.print(table([("", result)]))
    for name, scores in result.get("test_by_batch_norm", {}).items():
        screen.print(f"{name} batch norm: {figure(scores)}", markup=False)
    screen.print(f"{folder / 'result.json'}", soft_wrap=True, markup=False)


class _Screen(logging.Handler):
    """Shows warnings, and what the data layer does while one waits."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.WARNING:  # errors end the command, which says so
            complain(record.getMessage())
        elif record.levelno == logging.INFO and record.name.startswith("metarun.data"):
            print(record.getMessage(), flush=True)
