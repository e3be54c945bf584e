"""Hydra's own flags: print a configuration, explain its composition, complete a line."""

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
    """Execute `--cfg`, `--info`, `--shell-completion` or `--hydra-help`.

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
            _skip_command(os.environ)
            hydra.shell_completion("config", overrides)
        else:
            hydra.hydra_help("config", get_args_parser(), flags)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise Refused(one_line(error)) from error


def _skip_command(environment: MutableMapping[str, str]) -> None:
    """Remove the command from the line to complete, because Hydra expects only overrides."""
    line = environment.get("COMP_LINE", "")
    match = re.match(r"\S+\s+((?:train|evaluate|show|audit)\s+)", line)
    if match:
        environment["COMP_LINE"] = line[: match.start(1)] + line[match.end(1) :]
        point = int(environment.get("COMP_POINT") or len(line))
        environment["COMP_POINT"] = str(max(point - len(match[1]), match.start(1)))
