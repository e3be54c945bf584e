"""The scripts for baselines without learning."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.mark.parametrize(
    ("script", "method"),
    [("nearest_pixel.py", "nearest pixels"), ("nearest_centroid.py", "nearest centroid")],
)
def test_a_method_without_learning_is_far_above_chance(script: str, method: str) -> None:
    words = ["data=glyphs", "test_episodes=40", "threads=1"]
    result = subprocess.run(
        [sys.executable, str(SCRIPTS / script), *words], capture_output=True, text=True, check=True
    )
    line = result.stdout.splitlines()[-1]
    assert line.startswith(f"glyphs 5-way 1-shot, {method}: ")
    assert line.endswith(" % (40 episodes)")
    assert float(line.split(": ")[1].split()[0]) > 35
