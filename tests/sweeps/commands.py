"""Sweeps in a process of their own, and in that of the test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from metarun import cli
from tests.conftest import blank


def start(words: Sequence[str], folder: Path) -> subprocess.Popen:
    """Start the command in its own process group, as a terminal does."""
    return subprocess.Popen(
        [sys.executable, "-m", "metarun", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONWARNINGS": "default"},
    )


def run_here(words: Sequence[str]) -> int:
    """Run the command in this process, with Hydra's basic launcher."""
    with pytest.MonkeyPatch.context() as patch:
        blank(patch)
        return cli.main(words)


def status(sweep: Path) -> dict[str, str]:
    files = sweep.glob("*/result.json")
    return {f.parent.name: json.loads(f.read_text())["status"] for f in files}
