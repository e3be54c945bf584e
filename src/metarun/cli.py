"""From argv to a command; imports nothing heavy before the request is known to be sound."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence

from metarun import __version__, commands
from metarun.config.command_line import Request
from metarun.errors import Interrupted, Refused, RunFailed, complain
from metarun.process import describe, print_anything, set_up

HELP = """\
metarun {version}: few-shot and meta-learning experiments

  metarun algo=maml data=omniglot shots=5     train, then test the best validation checkpoint
  metarun -m algo=maml,protonet shots=1,5     every combination, one table
  metarun -m hydra/launcher=joblib …          side by side; or slurm: on a cluster
  metarun -m hydra/sweeper=optuna …           a search: 'algo.inner_lr=tag(log,interval(0.01,1))'
  metarun resume=RUN_DIR [steps=N]            go on where a run, a sweep or a search stopped
  metarun evaluate run=RUN_DIR [shots=5 …]    test a trained run under another protocol
  metarun compare RUN_DIR RUN_DIR …           paired differences on the same test episodes
  metarun report DIR …                        a table of all runs, and a page: report.html
  metarun audit run=RUN_DIR                   what a figure can be wrong by; or audit algo=… data=…
  metarun show data=omniglot [split=train]    a table of a data set, and a picture of its episodes
  metarun list [GROUP]                        what can be chosen; list data: and what is there

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
    print_anything()
    sys.exit(main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Run one command; returns the exit code."""
    try:
        with set_up():
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
        complain(describe(error))
        return 1


def _dispatch(argv: list[str]) -> int:
    line = shlex.join(["metarun", *argv])
    if {"-h", "--help"} & set(argv) or argv == ["help"]:
        print(HELP.format(version=__version__), end="")
        return 0
    if argv == ["--version"]:
        print(__version__)
        return 0
    name = argv.pop(0) if argv and argv[0].isidentifier() else "train"
    if name not in (offered := commands.names()):
        from metarun.config.overrides import nearest

        if name == "resume":
            raise Refused("resume: name the folder with =: metarun resume=RUN_DIR")
        raise Refused(f"{name}: no such command{nearest(name, offered)} ({', '.join(offered)})")
    return commands.named(name)(Request.of(argv, line))
