"""Pictures are files: the graphical backend of Matplotlib has no influence, but must exist."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from metarun.plots.figure import save

CALL = """
from metarun.errors import Refused
try:
    from metarun.plots import figure
except Refused as refused:
    print(refused)
"""


@pytest.mark.parametrize(
    ("backend", "line"),
    [
        ("nonsense", "MPLBACKEND=nonsense: no backend of Matplotlib; unset it: pictures are only"),
        ("tkagg", ""),
        ("module://no_such_module", ""),
        ("", ""),
    ],
)
def test_an_unknown_backend_is_refused(backend: str, line: str) -> None:
    environment = {**os.environ, "MPLBACKEND": backend}
    done = subprocess.run(
        [sys.executable, "-c", CALL], env=environment, capture_output=True, text=True, check=True
    )
    assert (done.stdout.startswith(line), bool(done.stdout)) == (True, bool(line))


@pytest.mark.ink
def test_a_name_that_is_not_utf8_is_drawn(tmp_path: Path) -> None:
    figure = Figure()
    figure.suptitle("caf\udce9 on two\nlines")
    figure.subplots().set_ylabel("\udce9")
    assert save(figure, tmp_path / "drawn.png").stat().st_size > 1000
