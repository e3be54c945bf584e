"""Fixtures for the tests of the report."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return tmp_path / "sweep"
