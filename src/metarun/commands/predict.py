"""`metarun predict run=RUN_DIR support=DIR query=PATH`; `algo=… backbone=…` in place of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metarun.config.command_line import Request, new_file_mistakes
from metarun.config.schema import RunConfig
from metarun.errors import Refused, say

if TYPE_CHECKING:
    from metarun.predict.prediction import Prediction

CHANGEABLE = ("device", "threads")
OF_NETWORK = ("algo", "backbone", "data", *CHANGEABLE)
OWN = {  # data set → the key that names its files
    "image_folder": "data.root",
    "audio_folder": "data.root",
    "text_table": "data.file",
    "vectors": "data.file",
}
SENTENCES = (".csv", ".txt", ".tsv", ".tab", ".jsonl", ".ndjson")
FORMS = (
    "metarun predict run=RUN_DIR support=DIR query=PATH, or algo=simpleshot "
    "backbone=efficientnet_lite0 in place of run="
)


def run(request: Request) -> int:
    """Label items of the user by a few labelled items of each class."""
    prediction = predict(request)

    from metarun.predict import written
    from metarun.training.display import console

    screen = console()
    screen.print(written.first_items(prediction.labelled, screen.width))
    screen.print(written.counts(prediction.labelled, screen.width))
    for line in written.lines(prediction.labelled, prediction.record):
        say(line)
    say(str(prediction.folder / "predictions.html"))
    return 0


def predict(request: Request, given: Mapping[str, Any] | None = None) -> Prediction:
    """Label items and write the labels into a new folder.

    Args:
        given: the support or the query, where they are not paths in the request but items of a
            caller in Python. If it is not `None`, only `out=` writes.
    """
    request.accept("--config-dir")
    config_dir = request.flags.config_dir
    run, support, query, truth, out = map(
        request.folder, ("run", "support", "query", "truth", "out")
    )
    places = {"support": support, "query": query, **(given or {})}
    algo = next((word for word in request.words if word.startswith("algo=")), None)
    if run and algo:
        raise Refused(f"run={run} {algo}: name one of them; {FORMS}")
    missing = [] if run or algo else ["run= or algo="]
    if missing := missing + [f"{key}=" for key, place in places.items() if place is None]:
        raise Refused(f"predict: {', '.join(missing)} missing: {FORMS}")
    mistakes = new_file_mistakes(out, out.suffix.lower()) if out else []
    below = _share(request.take("unknown_below"), mistakes)
    try:
        if run:
            config = _of_run(run, "run", request.words, config_dir)
            folders = [Path(config_dir)] if config_dir else []
        else:
            config, folders, typed = _of_network(request.words, support, config_dir)
    except Refused as refused:
        mistakes += refused.mistakes
    if mistakes:
        raise Refused(*mistakes)

    from metarun.predict import prediction
    from metarun.predict.inputs import Places, listed
    from metarun.predict.trained import Trained
    from metarun.predict.untrained import Untrained

    source = Trained(config, run, folders) if run else Untrained(config, typed, folders)
    named = Places(**places, truth=truth, out=out, unknown_below=below)
    items = listed(source.kind, named, getattr(source.data, "columns", None))
    result = prediction.predict(source, named, items, request.line)
    if out or given is None:
        result.folder = prediction.write_prediction(result, source.folder, out)
    return result


def _of_run(run: Path, key: str, words: Sequence[str], config_dir: str | None) -> RunConfig:
    from metarun.runs.config_file import load_without_data

    return load_without_data(run, key, words, CHANGEABLE, "predict", config_dir)


def _of_network(
    words: Sequence[str], support: Path, config_dir: str | None
) -> tuple[RunConfig, list[Path], set[str]]:
    """The configuration without a run, the user's config folders, and the keys that are typed.

    With `backbone.weights=RUN_DIR`, groups that are not typed are those of that run. Otherwise
    items are prepared as `data=image_folder`, `audio_folder`, `banking77` or `vectors` does.
    """
    from metarun.config.compose import checked, compose
    from metarun.config.groups import hydra_for, user_folders
    from metarun.config.overrides import parse

    overrides, mistakes = parse(hydra_for(config_dir).config_loader, words)
    typed = {o.key_or_group for o in overrides}
    mistakes += [
        f"{key}: predict cannot change it; it can change {', '.join(OF_NETWORK)} and their keys"
        for key in sorted(typed)
        if key.partition(".")[0] not in OF_NETWORK
    ]
    if mistakes:
        raise Refused(*mistakes)
    if "data" not in typed:
        words = [f"data={_kind(support)}", *words]
    for name, key in OWN.items():  # which is not read
        if f"data={name}" in words and key not in typed:
            words = [*words, f"{key}=."]
    cfg = compose(["backbone.frozen=true", *words], config_dir)
    config = checked(cfg)
    weights = config.backbone.get("weights")
    if weights is None or not Path(weights).is_dir():
        return config, user_folders(cfg), typed
    of_run = _of_run(Path(weights), "backbone.weights", [], config_dir)
    groups = {"backbone": {**of_run.backbone, "weights": weights, "frozen": True}}
    groups["data"] = of_run.data
    for key in typed - {"backbone.weights"}:
        groups.pop(key.partition(".")[0], None)
    if "data" in groups:
        typed.add("data.size")  # that of the run holds
    choices = config.choices.model_copy(update={g: getattr(of_run.choices, g) for g in groups})
    config = config.model_copy(update={**groups, "choices": choices})
    return config, user_folders(cfg), typed


def _kind(support: Path) -> str:
    """The data set that prepares items such as those of a support."""
    if not support.is_dir():
        if support.suffix.lower() == ".npz":
            return "vectors"
        return "banking77" if support.suffix.lower() in SENTENCES else "image_folder"
    from metarun.data.preparation.kinds import SOUNDS

    try:
        children = [child for child in support.iterdir() if child.name[0] != "."]
    except OSError:  # is reported when its pictures are listed
        return "image_folder"
    folders = [child for child in children if child.is_dir()]
    if not folders and any(child.suffix.lower() == ".txt" for child in children):
        return "banking77"
    sounds = any(SOUNDS.named(file.name) for folder in folders for file in folder.rglob("*"))
    return "audio_folder" if sounds else "image_folder"


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
