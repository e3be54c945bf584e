"""`metarun evaluate run=FOLDER …`."""

from __future__ import annotations

from pathlib import Path

from metarun.errors import Refused
from metarun.request import Request


def run(request: Request) -> int:
    """Test a trained run, under another protocol if one is typed."""
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

    from metarun.display import conclude
    from metarun.retest import retest

    conclude(*retest(config, run, split, name, request.line, [Path(own)] if own else []))
    return 0
