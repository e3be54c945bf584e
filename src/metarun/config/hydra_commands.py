"""Hydra's own flags: print a configuration, explain its composition, complete a line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from metarun.config.completion import complete
from metarun.config.compose import examine
from metarun.config.groups import hydra_for
from metarun.config.overrides import one_line, quote_path
from metarun.errors import Refused, say

SHELLS = ("bash", "zsh", "fish")


def show(words: Sequence[str], flags: argparse.Namespace, commands: Sequence[str]) -> None:
    """Execute `--cfg`, `--info`, `--shell-completion` or `--hydra-help`.

    Args:
        commands: the names of all commands, for completion.

    Raises:
        Refused: the configuration cannot be composed.
    """
    overrides = [quote_path(word) for word in words]
    hydra = hydra_for(flags.config_dir)
    if flags.cfg or flags.info:
        _, mistakes = examine(hydra.config_loader, words)
        if mistakes:
            raise Refused(*mistakes)
    try:
        if flags.cfg:
            hydra.show_cfg("config", overrides, flags.cfg, flags.package, flags.resolve)
        elif flags.info:
            hydra.show_info(flags.info, "config", overrides)
        elif flags.shell_completion:
            query = [word[6:] for word in words if word.startswith("query=")]
            if query:
                _print_completions(query[-1], commands)
            else:
                hydra.shell_completion("config", overrides)
        else:
            hydra.hydra_help("config", get_args_parser(), flags)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise Refused(one_line(error)) from error


def _print_completions(shell: str, commands: Sequence[str]) -> None:
    """Print what can follow the command line in `COMP_LINE`, one word per line.

    Raises:
        Refused: the function was not called by a shell that completes a line.
    """
    line = os.environ.get("COMP_LINE")
    if shell not in SHELLS or line is None:
        wrong = "is for a shell, which sets COMP_LINE" if shell in SHELLS else "no such shell"
        install = "to install completion: -sc install=NAME"
        raise Refused(f"-sc query={shell}: {wrong}; {install} ({', '.join(SHELLS)})")
    point = os.environ.get("COMP_POINT", "")
    cursor = int(point) if point.isdecimal() else len(line)
    for text in complete(line[:cursor], commands):
        say(text)
