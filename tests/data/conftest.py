"""Data sets that several tests look at, made once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from metarun.data.classes import Split
from metarun.data.glyphs import Glyphs

HERE = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def glyphs_cache(tmp_path_factory) -> str:
    cache = tmp_path_factory.mktemp("glyphs cache, [ä]=1")
    Glyphs(cache=str(cache)).load()
    return str(cache)


@pytest.fixture(scope="session")
def glyphs(glyphs_cache) -> dict[str, Split]:
    return Glyphs(cache=glyphs_cache).load()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real data sets: METARUN_TEST_DATA, or beside the checkout."""
    return Path(os.environ.get("METARUN_TEST_DATA", HERE.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def real_omniglot(real_data) -> Path:
    root = real_data / "omniglot"
    for name in ("images_background.zip", "images_evaluation.zip"):
        if not (root / name).is_file():
            pytest.skip(f"no {name} in {root}")
    return root
