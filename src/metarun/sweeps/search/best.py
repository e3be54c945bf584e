"""Save the best configuration of a search as a file that `experiment=best` loads."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from omegaconf import OmegaConf

from metarun.config.schema import GROUPS
from metarun.errors import Refused, printable
from metarun.files import make_folder, read_whole, write_whole
from metarun.sweeps.search.study import Study
from metarun.sweeps.shared import Sweep
from metarun.tasks.headline import Headline

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

FILE = Path("experiment") / "best.yaml"
# The values of these groups are saved as keys, because several choices of them can be combined.
GROUPS_AS_KEYS = ("experiment", "debug")
NOT_SETTINGS = ("hydra", "out", "choices", "preset", "quick", "_target_")  # not saved in the file


def save(study: Study, sweep: Sweep) -> None:
    """Save the settings of the best trial so far, if one has finished.

    Raises:
        Refused: the folder of the file is a link.
    """
    with study.lock:  # another process may save a better trial at the same time
        if (best := study.best()) is not None:
            _write_best(study, best, sweep)


def _write_best(study: Study, best: FrozenTrial, sweep: Sweep) -> None:
    """Write the choices of the best trial, and the keys that differ from those choices."""
    choices, raw = _composed(sweep, study.space.overrides_for(best.params))
    groups = {
        group: choices[group]
        for group in GROUPS
        if group not in GROUPS_AS_KEYS and choices.get(group) is not None
    }
    _, base = _composed(sweep, [f"{group}={name}" for group, name in groups.items()])
    content = {
        "defaults": [{f"override /{group}": name} for group, name in groups.items()],
        **_changes(base, raw),
    }
    values = " ".join(d.override_for(best.params[d.key]) for d in study.space.dimensions)
    finished = sum(trial.state.name == "COMPLETE" for trial in study.trials())
    rank = f"the best of {finished} that finished" if finished > 1 else "the first that finished"
    about = f"Trial {best.number}, {rank}: validation {_score(sweep.folder, best)}; {values}"
    text = "".join(
        [
            "# @package _global_\n",
            f"# {printable(_command(sweep))}\n",
            f"# {printable(about)}\n",
            yaml.safe_dump(content, sort_keys=False, allow_unicode=True),
        ]
    )
    file = sweep.folder / FILE
    if file.parent.is_symlink():
        raise Refused(f"{file.parent}: is a link; a search does not follow links")
    make_folder(file.parent)
    write_whole(file, text)


def _composed(sweep: Sweep, overrides: Sequence[str]) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the choices that the overrides make, and their settings with `${…}` not resolved."""
    cfg, mistakes = sweep.compose(overrides)
    if cfg is None:
        raise Refused(*mistakes)
    return cfg.hydra.runtime.choices, OmegaConf.to_container(cfg, resolve=False)


def print_best(sweep: Path) -> None:
    """Print the best trial of a search, and the command that trains with its settings."""
    from metarun.training.display import console

    try:
        text = read_whole(sweep / FILE, 2**20).decode("utf-8", "replace")
    except OSError:  # not a search, or no trial has finished
        return
    lines = [printable(line[2:]) for line in text.split("\n")[1:3] if line.startswith("# ")]
    if len(lines) == 2:
        line = f"{lines[1]}; again: {lines[0]} seed=1"
        console().print(line, soft_wrap=True, markup=False)


def _changes(base: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings in `other` that `base` lacks or has with another value."""
    changes: dict[str, Any] = {}
    for key, value in other.items():
        if key in NOT_SETTINGS or (key in base and base[key] == value):
            continue
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            if nested := _changes(base[key], value):
                changes[key] = nested
        else:
            changes[key] = value
    return changes


def _command(sweep: Sweep) -> str:
    """Return the command that trains with the best settings.

    It takes `--config-dir` for the sweep, so a config folder of the user goes to the search path.
    """
    search_path = sweep.search_path
    if sweep.config_dir and not search_path:
        search_path = (f"hydra.searchpath=[file://{sweep.config_dir}]",)
    folder = str(_relative(sweep.folder))
    return shlex.join(["metarun", "experiment=best", "--config-dir", folder, *search_path])


def _relative(folder: Path) -> Path:
    """Return the path relative to the working directory if the folder is inside it."""
    try:
        return folder.resolve().relative_to(Path.cwd())
    except ValueError:
        return folder.absolute()


def _score(sweep: Path, best: FrozenTrial) -> str:
    """Return the validation score of the best trial, for the screen."""
    from metarun.runs import results

    result = results.read_result(sweep / str(best.number)) or {}
    score = Headline.of(result).figure_in(result.get("val"))
    return score if score != "–" else f"{best.value:.4f}"
