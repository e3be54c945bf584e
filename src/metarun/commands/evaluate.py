"""`metarun evaluate run=FOLDER …`."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from metarun.config.command_line import Request
from metarun.config.schema import PLACES
from metarun.errors import Refused, say

CHALLENGEABLE = ("device", "threads", *PLACES, "data.url", "algo.")


def run(request: Request) -> int:
    """Test a trained run, with another test protocol if the request sets one."""
    evaluate(request)
    return 0


def evaluate(request: Request) -> dict[str, Any]:
    """Test a trained run, print the result and return the content of its `result.json`."""
    from metarun import challenges
    from metarun.runs import config_file

    request.accept("--config-dir")
    config_dir, run = request.flags.config_dir, request.folder("run")
    if run is None:
        raise Refused("evaluate: name the run: metarun evaluate run=RUN_DIR [shots=5 …]")
    protocol, split, name = (request.take(key) for key in ("protocol", "split", "name"))
    if protocol is not None and protocol not in (offered := challenges.names()):
        from metarun.config.overrides import nearest

        hint = nearest(protocol, offered)
        raise Refused(f"protocol={protocol}: no such protocol{hint} ({', '.join(offered)})")
    if split not in (None, "train", "val", "test"):
        raise Refused(f"split={split}: should be train, val or test")
    if name is not None and (Path(name).name != name or name in ("", ".", "..")):
        raise Refused(f"name={name}: should be the name of a folder, without slashes")
    folders = [Path(config_dir)] if config_dir else []
    if protocol is not None:
        return _challenge(challenges.named(protocol), request, run, split, name, folders)
    overrides = [
        w.replace("episodes=", "test_episodes=", 1) if w.startswith("episodes=") else w
        for w in request.words
    ]
    saved = config_file.load_config(run, "run")
    config = config_file.amend(saved, overrides, config_file.RETESTABLE, "evaluate", config_dir)

    from metarun.evaluate import retest
    from metarun.training.display import conclude

    typed = {word.partition("=")[0] for word in overrides}
    folder, result = retest(config, run, split or "test", name, request.line, folders, typed)
    conclude(folder, result)
    return result


def _challenge(
    test: ModuleType,
    request: Request,
    run: Path,
    split: str | None,
    name: str | None,
    folders: list[Path],
) -> dict[str, Any]:
    """Test a trained run on the tasks of a challenge.

    Args:
        test: a module of `metarun.challenges`.
    """
    from metarun.runs import config_file

    protocol = test.__name__.rpartition(".")[2]
    mistakes = []
    if split is not None:
        mistakes.append(f"split={split}: {protocol} has its own tasks; leave split out")
    for key, value in test.TASK.items():
        given = request.take(key)
        if given not in (None, str(value)):
            mistakes.append(f"{key}={given}: {protocol} is for {key}={value}")
    command = f"evaluate protocol={protocol}"
    config_dir = str(folders[0]) if folders else None
    try:
        saved = config_file.load_config(run, "run")
        config = config_file.amend(saved, request.words, CHALLENGEABLE, command, config_dir)
    except Refused as refused:
        mistakes += refused.mistakes
    if mistakes:
        raise Refused(*mistakes)

    from metarun.evaluate import run_challenge
    from metarun.training.display import conclude

    folder, result = run_challenge(test, config, run, name, request.line, folders)
    conclude(folder, result)
    say(test.verdict(result["test"]))
    return result
