"""`metarun verify experiment=ALGO/DATA [ways=N] [shots=K] [budget=30m] [out=RUN_DIR]`."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metarun.config.command_line import Request
from metarun.errors import Interrupted, Refused, say

if TYPE_CHECKING:
    from metarun.config.schema import RunConfig


def run(request: Request) -> int:
    """Run a preset as published, or go on with it, and say whether it reaches its figure.

    Exit code 0 if it does, 1 if it does not or the budget has ended the run, 130 after a signal.
    """
    from omegaconf import OmegaConf

    from metarun.config.compose import checked, compose
    from metarun.config.groups import user_folders
    from metarun.runs import config_file, results
    from metarun.training.steps import with_steps

    request.accept("--config-dir")
    deadline = time.monotonic() + _seconds(request.take("budget"))
    out, config_dir = request.folder("out"), request.flags.config_dir
    cfg = compose(request.words, config_dir)
    config, folders = checked(cfg), user_folders(cfg)
    _check(config)
    out = out or _default_folder(config)
    config = with_steps(config)
    config = config.model_copy(update={"out": str(out)})
    begun = (out / "config.yaml").exists()
    if begun:
        saved = config_file.load_config(out, "out")
        before = OmegaConf.to_container(saved, resolve=True)
        free = [key for key in config_file.MAY_DIFFER if key != "steps"]
        if changed := config_file.differences(before, config.model_dump(), free):
            raise Refused(*(f"out={out}: holds another run: {line}" for line in changed))
        free = tuple(f"{key}{end}" for key in config_file.RESUMABLE for end in "=.")
        words = [word for word in request.words if word.startswith(free)]
        config = config_file.amend(saved, words, config_file.RESUMABLE, "verify", config_dir)

    from metarun.files import write_whole
    from metarun.report.verdict import judge, lines
    from metarun.train import resume, train
    from metarun.training.display import conclude

    result = results.read_result(out) if begun else None
    signalled = None
    try:
        if result is None or result.get("status") != "completed":
            go = resume if begun else train
            result = go(config, out, request.line, folders, deadline=deadline)
    except Interrupted as stop:
        result = results.read_result(out)
        if time.monotonic() < deadline:
            signalled = stop
    verdict = judge(config.preset, result)
    write_whole(out / "verify.json", results.as_json(verdict))
    if signalled:
        raise signalled
    conclude(out, result)
    for line in lines(verdict):
        say(line)
    return 0 if verdict["verdict"] == "passed" else 1


def _check(config: RunConfig) -> None:
    """Refuse a request that is not a published setting."""
    preset, example = config.preset, "metarun verify experiment=protonet/omniglot ways=5 shots=1"
    if preset is None:
        raise Refused(f"verify: needs a preset: {example} (metarun list published: all figures)")
    if preset.published is None:
        raise Refused(
            f"ways={config.ways} shots={config.shots}: {preset.experiment} has no published figure "
            "for them (metarun list published: all figures)"
        )
    if config.quick:
        raise Refused("quick=true: is not the published setting; leave it out")
    changes = [word for word in preset.changes if not _is_published(word, preset.protocol)]
    if changes:
        raise Refused(*(f"{word}: changes the published setting; leave it out" for word in changes))


def _is_published(word: str, protocol: Mapping[str, Any]) -> bool:
    """Whether an override sets what the published protocol says, as `algo.batch_norm=…` may."""
    key, _, value = word.lstrip("+").partition("=")
    return str(protocol.get(key.rpartition(".")[2])) == value


def _default_folder(config: RunConfig) -> Path:
    """The folder in which the same command finds its run again."""
    ways = f"{config.ways}w" if config.ways != 1 else ""
    name = f"{config.choices.algo}_{config.choices.data}_{ways}{config.shots}s"
    for word in config.preset.changes:  # what was typed, and is published too
        if word.startswith(("algo.batch_norm=", "data.train_on=")):
            name += "_" + word.partition("=")[2]
    if config.seed:
        name += f"_seed{config.seed}"
    return Path("runs", "verify", name)


def _seconds(budget: str | None) -> float:
    """The seconds of a time such as `1h30m`; infinite for `None`."""
    if budget is None:
        return math.inf
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", budget)
    counts = match.groups("0") if match else "000"
    seconds = sum(int(n) * unit for n, unit in zip(counts, (3600, 60, 1), strict=True))
    if not seconds:
        raise Refused(f"budget={budget}: should be a time such as 30m, 2h or 1h30m")
    return seconds
