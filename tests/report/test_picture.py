"""The ranking as a picture: what can be read of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from metarun.report import picture
from tests.report.folders import ranked, run


@pytest.mark.ink
def test_a_picture_of_the_ranking(sweep: Path, tmp_path: Path) -> None:
    for i in range(120):
        run(sweep / str(i), seed=i % 2, mean=i / 200, command=f"metarun $x$={i // 2} seed={i % 2}")
    drawn = picture.draw(ranked(sweep), "a_$sweep", tmp_path / "a.png")
    with Image.open(drawn) as image:
        assert image.width > 500
        assert image.height < 2500  # the best 50 lines


def test_no_picture_without_a_figure(sweep: Path, tmp_path: Path) -> None:
    run(sweep / "0", status="failed", test=None)
    assert picture.draw(ranked(sweep), "a", tmp_path / "a.png") is None
