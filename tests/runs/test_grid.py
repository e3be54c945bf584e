"""Tables show the columns that fit, and do not wrap figures."""

from __future__ import annotations

import pytest
from rich.console import Console

from metarun.runs.grid import Column, fitted

FIGURES = ["87.05 ± 0.67 %", "100.00 ± 0.00 %"]


def shown(columns: list[Column], width: int) -> tuple[list[str], list[str]]:
    """The printed lines without the rule, and the titles left out."""
    table, left_out = fitted("", columns, width)
    screen = Console(width=width)
    with screen.capture() as capture:
        screen.print(table)
    lines = [line.rstrip() for line in capture.get().splitlines()]
    return [line for line in lines if line and "─" not in line], left_out


@pytest.mark.parametrize("width", [40, 60, 80, 160])
def test_no_line_is_wider_than_the_terminal_and_no_figure_is_wrapped(width: int) -> None:
    keys = [Column(f"key{i}", ["value", "longer value"], 2 + i) for i in range(20)]
    names = Column("run", ["a/very/long/path/of/a/run/in/a/folder", "b"])
    lines, left_out = shown([names, *keys, Column("test", FIGURES, whole=True)], width)
    assert max(map(len, lines)) <= width
    assert all(any(figure in line for line in lines) for figure in FIGURES)
    kept = 20 - len(left_out)
    assert left_out == [f"key{i}" for i in range(kept, 20)]  # the largest ranks
    assert lines[0].split() == ["run", *(f"key{i}" for i in range(kept)), "test"]


def test_a_column_that_just_fits_is_shown() -> None:
    columns = [Column("a", ["x" * 10]), Column("b", ["y" * 10], 1)]
    assert shown(columns, 25) == ([" a            b", " xxxxxxxxxx   yyyyyyyyyy"], [])
    assert shown(columns, 24)[1] == ["b"]


def test_wide_characters_count_twice() -> None:
    columns = [Column("a", ["漢字漢字漢"]), Column("b", ["y" * 10], 1)]
    assert shown(columns, 25)[1] == []
    assert shown(columns, 24)[1] == ["b"]


def test_columns_of_rank_0_are_never_left_out() -> None:
    columns = [Column("a", ["x" * 30], whole=True), Column("b", ["y" * 30], whole=True)]
    assert shown(columns, 20)[1] == []


def test_text_is_not_read_as_markup() -> None:
    assert shown([Column("[b]a", ["[/nothing]"])], 40)[0] == [" [b]a", " [/nothing]"]
