"""The picture of a ranking."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from metarun.report import picture
from tests.report.folders import ranked, run
from tests.report.test_comparison import MAE, RETURN


@pytest.mark.ink
def test_a_picture_of_the_ranking(sweep: Path, tmp_path: Path) -> None:
    for i in range(120):
        run(sweep / str(i), seed=i % 2, mean=i / 200, command=f"metarun $x$={i // 2} seed={i % 2}")
    drawn = picture.draw(ranked(sweep), "a_$sweep", tmp_path / "a.png")
    with Image.open(drawn) as image:
        assert image.width > 500
        assert image.height < 2500  # the best 50 lines


@pytest.mark.ink
@pytest.mark.parametrize(("headline", "first"), [(RETURN, "high"), (MAE, "low")])
def test_the_best_is_on_top(sweep: Path, tmp_path: Path, monkeypatch, headline, first: str) -> None:
    values = {"score": headline.score, "protocol": {"headline": headline.as_dict()}}
    for name, mean in (("low", -1.0), ("high", 3.0)):
        run(sweep / name, mean=mean, command=f"metarun steps={name}", **values)
    figures = []
    monkeypatch.setattr(picture, "save", lambda figure, path: figures.append(figure))
    picture.draw(ranked(sweep), "a", tmp_path / "a.png")
    (axes,) = figures[0].axes
    assert axes.get_yticklabels()[0].get_text() == f"steps {first}"
    less = "" if headline.higher_is_better else ", lower is better"
    assert axes.get_xlabel().startswith(f"test {headline.score}{less} (95 %")


def test_no_picture_without_a_test_figure(sweep: Path, tmp_path: Path) -> None:
    run(sweep / "0", status="failed", test=None)
    assert picture.draw(ranked(sweep), "a", tmp_path / "a.png") is None
