"""`metarun predict run=RUN_DIR support=DIR query=PATH`."""

from __future__ import annotations

from pathlib import Path

from metarun.config.command_line import Request, new_file_mistakes
from metarun.errors import Refused, say

CHANGEABLE = ("device", "threads")


def run(request: Request) -> int:
    """Label items of the user by a trained run and a few labelled items of each class."""
    from metarun.runs import config_file
    from metarun.runs.places import data_home

    request.accept("--config-dir")
    config_dir = request.flags.config_dir
    run, support, query, truth, out = map(
        request.folder, ("run", "support", "query", "truth", "out")
    )
    missing = [
        key for key, place in (("run", run), ("support", support), ("query", query)) if not place
    ]
    if missing:
        raise Refused(
            f"predict: {', '.join(f'{key}=' for key in missing)} missing: "
            "metarun predict run=RUN_DIR support=DIR query=PATH"
        )
    mistakes = new_file_mistakes(out, out.suffix.lower()) if out else []
    unknown_below = request.take("unknown_below")
    below = _share(unknown_below, mistakes)
    saved = config_file.load_config(run, "run")
    if "cache" in saved.data:  # nothing is prepared there
        saved.data.cache = str(data_home() / "cache")
    try:
        config = config_file.amend(saved, request.words, CHANGEABLE, "predict", config_dir)
    except Refused as refused:
        mistakes += refused.mistakes
    if mistakes:
        raise Refused(*mistakes)

    from metarun.predict import written
    from metarun.predict.inputs import Places
    from metarun.predict.prediction import predict
    from metarun.training.display import console

    folders = [Path(config_dir)] if config_dir else []
    places = Places(run, support, query, truth, out, below)
    folder, labelled, record = predict(config, places, request.line, folders)
    screen = console()
    screen.print(written.first_items(labelled, screen.width))
    screen.print(written.counts(labelled, screen.width))
    for line in written.lines(labelled, record):
        say(line)
    say(str(folder / "predictions.html"))
    return 0


def _share(typed: str | None, mistakes: list[str]) -> float:
    """The number that was typed, 0 for `None`; adds a line if it is not between 0 and 1."""
    if typed is None:
        return 0.0
    try:
        share = float(typed)
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        mistakes.append(f"unknown_below={typed}: should be a number between 0 and 1, e.g. 0.6")
    return share
