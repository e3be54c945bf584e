"""The entry point: run the command in argv. Slow packages are imported only when needed."""

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
  metarun -m hydra/launcher=joblib …          jobs in parallel; or slurm: on a cluster
  metarun -m hydra/sweeper=optuna …           a search: 'algo.inner_lr=tag(log,interval(0.01,1))'
  metarun resume=RUN_DIR [steps=N]            resume a run, a sweep or a search
  metarun evaluate run=RUN_DIR [shots=5 …]    test a trained run under another protocol
  metarun predict run=… support=DIR query=DIR label your own items by a few of each class
  metarun predict algo=… backbone=… support=… the same by a pretrained network, without training
  metarun export run=RUN_DIR out=FILE.onnx    a metric learner as a file for other programs
  metarun verify experiment=protonet/omniglot reach a published figure, or say by how much not
  metarun compare RUN_DIR RUN_DIR …           paired differences on the same test episodes
  metarun report DIR …                        a table of all runs, and a page: report.html
  metarun audit run=RUN_DIR                   data leaks and other errors; or audit algo=… data=…
  metarun show data=omniglot [split=train]    a table of a data set, and a picture of its episodes
  metarun list [GROUP [CHOICE]]               the choices, and the keys of a choice
  metarun list published                      the published figures, and which of them were reached
  metarun clean data=NAME or DIR …            delete prepared arrays; without arguments, list them

Set choices and values with key=value, in any order; algo.inner_lr=0.1 sets a key of the choice.
  --cfg job             print the configuration and stop
  --info                print how the configuration is composed and stop
  --config-dir DIR      add the choices in your own folder with algo/, data/, …
  -sc install=bash      print the shell's tab completion: eval "$(metarun -sc install=bash)"
  --hydra-help          print all flags of Hydra, which composes the configuration

Exit codes: 0 success, 1 the run failed, 2 the request was invalid, 130 interrupted and saved.
"""


def entry() -> None:
    """Run the console script."""
    print_anything()
    if "RANK" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1":  # set by torchrun
        from metarun.training.workers import under_torchrun

        sys.exit(under_torchrun(main, sys.argv[1:]))
    sys.exit(main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Run one command and return the exit code."""
    try:
        with set_up():
            return _dispatch(list(argv))
    except Refused as refused:
        complain(*refused.mistakes)
        return 2
    except RunFailed as failed:
        complain(str(failed))
        return 1
    except KeyboardInterrupt as interrupt:
        has_message = isinstance(interrupt, Interrupted) and str(interrupt)
        complain(f"interrupted; {interrupt}" if has_message else "interrupted")
        return 130
    except BrokenPipeError:  # for example in `metarun list | head`
        sys.stdout = None
        return 0
    except Exception as error:
        if os.environ.get("METARUN_TRACEBACK"):
            raise
        complain(describe(error))
        return 1


def _dispatch(argv: list[str]) -> int:
    """Find the command in argv, by default `train`, and run it."""
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
