"""Hydra's own commands: print a configuration, explain how it is composed, complete a line."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import MutableMapping, Sequence

from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from metarun.config.compose import examine
from metarun.config.groups import hydra_for
from metarun.config.overrides import one_line, quote_path
from metarun.errors import Refused


def show(words: Sequence[str], flags: argparse.Namespace) -> None:
    """Do what `--cfg`, `--info`, `--shell-completion` or `--hydra-help` asks for.

    Raises:
        Refused: the words do not compose.
    """
    typed = [quote_path(word) for word in words]
    hydra = hydra_for(flags.config_dir)
    if flags.cfg or flags.info:
        _, mistakes = examine(hydra.config_loader, words)
        if mistakes:
            raise Refused(*mistakes)
    try:
        if flags.cfg:
            hydra.show_cfg("config", typed, flags.cfg, flags.package, flags.resolve)
        elif flags.info:
            hydra.show_info(flags.info, "config", typed)
        elif flags.shell_completion:
            _skip_command(os.environ)
            hydra.shell_completion("config", typed)
        else:
            hydra.hydra_help("config", get_args_parser(), flags)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise Refused(one_line(error)) from error


def _skip_command(environment: MutableMapping[str, str]) -> None:
    """Hydra completes overrides; it does not know of a command before them."""
    line = environment.get("COMP_LINE", "")
    match = re.match(r"\S+\s+((?:train|evaluate|show|audit)\s+)", line)
    if match:
        environment["COMP_LINE"] = line[: match.start(1)] + line[match.end(1) :]
        point = int(environment.get("COMP_POINT") or len(line))
        environment["COMP_POINT"] = str(max(point - len(match[1]), match.start(1)))
