"""A sheet of pictures: a row for each class of a task, with its support and its queries."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from metarun.tasks.task import Examples, Task

CORRECT, WRONG, POINT, GREY = "#2a9d5c", "#d1495b", "#7b2d8b", "0.6"
MAX_WAYS, MAX_SHOTS, MAX_QUERIES = 10, 5, 10  # drawn of an episode
LEFT, MAX_NAME = 2.3, 34  # inches (empty ones are cut off) and characters for the name of a class
SIDE, COLUMN, ROW = 0.66, 0.73, 0.84  # inches of a picture, and from one to the next


def by_class(examples: Examples, values: Tensor | None = None) -> list[Tensor]:
    """The items of each class, by label; or the rows of `values` (items, …) for these items."""
    values = examples.x if values is None else values
    return [values[examples.y == label] for label in range(examples.labels)]


def largest(tasks: Sequence[Task]) -> tuple[int, int, int]:
    """The maxima over tasks: ways, support items of a class, and query items of a class."""
    sizes = [
        [len(items) for items in by_class(part)]
        for task in tasks
        for part in (task.support, task.query)
    ]
    return max(map(len, sizes)), max(map(max, sizes[::2])), max(map(max, sizes[1::2]))


def drawn_height(tasks: Sequence[Task]) -> float:
    """Inches that the classes of the largest task take."""
    return ROW * min(largest(tasks)[0], MAX_WAYS)


def sheet(tasks: Sequence[Task], height: float, above: float) -> tuple[Figure, Axes]:
    """A figure for the pictures of tasks.

    Args:
        height: inches of the pictures.
        above: inches for a title above them.

    Returns:
        The figure, and axes whose coordinates are inches from their upper left corner.
    """
    _, shots, queries = largest(tasks)
    width = COLUMN * (min(shots, MAX_SHOTS) + min(queries, MAX_QUERIES))
    size = max(LEFT + width + 0.1, 5.5), height + above + 0.1
    figure = Figure(figsize=size)
    place = (LEFT / size[0], 0.1 / size[1], width / size[0], height / size[1])
    axes = figure.add_axes(place, xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return figure, axes


def classes(
    axes: Axes, top: float, task: Task, names: Sequence[str], predicted: Tensor | None = None
) -> None:
    """Draw a row for each class: its name, its support and its queries.

    Args:
        axes: of a sheet; the first row begins at `top`. Items that do not fit are left out.
        task: a task of pictures with values between 0 and 1.
        names: of the classes, by label.
        predicted: (N·Q) predicted labels of the queries.
    """
    support, query = by_class(task.support), by_class(task.query)
    labels = by_class(task.query, task.query.y if predicted is None else predicted)
    shots = min(max(map(len, support)), MAX_SHOTS)
    for row, name in enumerate(names[:MAX_WAYS]):
        y = top + ROW * row + ROW - SIDE
        for k, picture in enumerate(support[row][:shots]):
            _image(axes, COLUMN * k, y, picture, GREY, "")
        for q, picture in enumerate(query[row][:MAX_QUERIES]):
            label = int(labels[row][q])
            colour = "1" if predicted is None else CORRECT if label == row else WRONG
            text = "" if label == row else f"as {label}"
            _image(axes, COLUMN * (shots + q), y, picture, colour, text)
        style = {"ha": "right", "va": "center", "fontsize": 8, "parse_math": False}  # $ in names
        axes.text(-0.1, y + SIDE / 2, f"{row}  {_short(name)}", **style)


def _image(axes: Axes, x: float, y: float, pixels: Tensor, colour: str, text: str) -> None:
    pixels = pixels.float().cpu()
    shown = pixels.movedim(0, -1) if len(pixels) == 3 else pixels.mean(0)
    height, width = (SIDE * n / max(shown.shape[:2]) for n in shown.shape[:2])
    x, y = x + (SIDE - width) / 2, y + (SIDE - height) / 2
    place = (x, x + width, y + height, y)
    axes.imshow(shown.numpy(), cmap="gray", vmin=0, vmax=1, extent=place, aspect="auto")
    style = {"fill": False, "edgecolor": colour, "linewidth": 2, "clip_on": False}
    axes.add_patch(Rectangle((x, y), width, height, **style))
    if text:
        style = {"ha": "center", "va": "bottom", "fontsize": 7}
        axes.text(x + width / 2, y - 0.03, text, color=colour, **style)


def _short(name: str) -> str:
    name = " ".join(name.split())
    return name if len(name) <= MAX_NAME else "…" + name[1 - MAX_NAME :]
