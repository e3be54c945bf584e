"""Terminal tables that show only the columns that fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

MIN_FOLDED = 12  # characters to which a column of text may be narrowed; its cells are then folded
GAP = 3  # characters between columns


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        title: a plain text, not rich markup.
        cells: the text of each row.
        rank: columns with the largest ranks are left out first; a column of rank 0 never is.
        right: whether the cells are aligned to the right.
        whole: whether each cell stays on one line, as figures do.
    """

    title: str
    cells: Sequence[str]
    rank: int = 0
    right: bool = False
    whole: bool = False

    @property
    def min_width(self) -> int:
        """The number of characters that the column needs."""
        width = max(map(cell_len, (self.title, *self.cells)))
        return width if self.whole else min(width, MIN_FOLDED)


def fitted(title: str, columns: Sequence[Column], width: int) -> tuple[Table, list[str]]:
    """A table of the columns that fit.

    Args:
        title: a plain text above the table.
        columns: from left to right, with equal numbers of cells.
        width: of the terminal, in characters.

    Returns:
        The table, and the titles of the columns that were left out.
    """
    kept = list(columns)
    while sum(column.min_width + GAP for column in kept) > width + 1:
        last = max(kept, key=lambda column: column.rank)
        if last.rank == 0:
            break
        kept.remove(last)
    table = grid(title)
    for column in kept:
        table.add_column(
            Text(column.title),
            justify="right" if column.right else "left",
            overflow="fold",
            no_wrap=column.whole,
        )
    for row in zip(*(column.cells for column in kept), strict=True):
        table.add_row(*map(Text, row))
    return table, [column.title for column in columns if column not in kept]


def grid(title: str, *columns: str) -> Table:
    """A table without rows and with left-aligned columns. Titles are plain text, not markup."""
    empty = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=Text(title), title_justify="left")
    for column in columns:
        empty.add_column(Text(column), overflow="fold")
    return empty
