"""A child process that kills itself before a write."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metarun.files import UNFINISHED

WRITES = ("fsync", "replace", "link", "mkdir")


def command(argv: Sequence[str], folder: Path, at: int | None = None) -> None:
    """Run a metarun command in `folder` and kill the process before its `at`-th write.

    Without `at`, list all writes in `writes.txt`.
    """
    os.chdir(folder)
    with open("output.txt", "a") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    from metarun import cli
    from metarun.plots import curves, tested

    curves.draw_curves = tested.draw_tested = lambda *_: None
    writes: list[str] = []

    def counted(name: str) -> Any:
        original = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            place = os.readlink(f"/proc/self/fd/{args[0]}") if name == "fsync" else args[-1]
            if "run" in str(place):  # ignore caches of other libraries
                writes.append(f"{name} {final_name(Path(place).name)}")
                if len(writes) == at:
                    os.kill(os.getpid(), signal.SIGKILL)
            return original(*args, **kwargs)

        return call

    for name in WRITES:
        setattr(os, name, counted(name))
    code = cli.main(list(argv))
    if at is None:
        Path("writes.txt").write_text("\n".join(writes))
    sys.exit(code)


def final_name(name: str) -> str:
    """The name of a file when finished: `a.pt` for `.a.pt.metarun-x7f3.part`."""
    return name[1:].rsplit(".", 2)[0] if UNFINISHED.fullmatch(name) else name
