"""`metarun evaluate run=FOLDER …`."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from metarun.config.command_line import Request
from metarun.errors import Refused

CHALLENGEABLE = ("device", "threads", "data.root", "data.cache", "data.url", "algo.")


def run(request: Request) -> int:
    """Test a trained run, under another protocol if one is typed."""
    from metarun import challenges
    from metarun.runs import config_file

    request.accept("--config-dir")
    own, run = request.flags.config_dir, request.folder("run")
    if run is None:
        raise Refused("evaluate: say which run: metarun evaluate run=RUN_DIR [shots=5 …]")
    protocol, split, name = (request.take(key) for key in ("protocol", "split", "name"))
    if protocol is not None and protocol not in (offered := challenges.names()):
        from metarun.config.overrides import nearest

        known = ", ".join(offered)
        raise Refused(
            f"protocol={protocol}: no such protocol{nearest(protocol, offered)} ({known})"
        )
    if split not in (None, "train", "val", "test"):
        raise Refused(f"split={split}: should be train, val or test")
    if name is not None and (Path(name).name != name or name in ("", ".", "..")):
        raise Refused(f"name={name}: should be the name of a folder, without slashes")
    folders = [Path(own)] if own else []
    if protocol is not None:
        return _challenge(challenges.named(protocol), request, run, split, name, folders)
    typed = [
        w.replace("episodes=", "test_episodes=", 1) if w.startswith("episodes=") else w
        for w in request.words
    ]
    config = config_file.amend(
        config_file.load_config(run, "run"), typed, config_file.RETESTABLE, "evaluate", own
    )

    from metarun.evaluate import retest
    from metarun.training.display import conclude

    conclude(*retest(config, run, split or "test", name, request.line, folders))
    return 0


def _challenge(
    test: ModuleType,
    request: Request,
    run: Path,
    split: str | None,
    name: str | None,
    folders: list[Path],
) -> int:
    """Test a trained run on the tasks that come with a protocol."""
    from metarun.runs import config_file

    called = test.__name__.rpartition(".")[2]
    mistakes = []
    if split is not None:
        mistakes.append(f"split={split}: {called} has tasks of its own; leave split out")
    for key, value in test.TASK.items():
        typed = request.take(key)
        if typed not in (None, str(value)):
            mistakes.append(f"{key}={typed}: {called} is for {key}={value}")
    what = f"evaluate protocol={called}"
    own = str(folders[0]) if folders else None
    try:
        config = config_file.amend(
            config_file.load_config(run, "run"), request.words, CHALLENGEABLE, what, own
        )
    except Refused as refused:
        mistakes += refused.mistakes
    if mistakes:
        raise Refused(*mistakes)

    from metarun.evaluate import take
    from metarun.training.display import conclude

    folder, result = take(test, config, run, name, request.line, folders)
    conclude(folder, result)
    print(test.verdict(result["test"]))
    return 0
