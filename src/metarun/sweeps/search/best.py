"""The best configuration that a search has found, as a file that `experiment=` can load."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from omegaconf import DictConfig

from metarun.config.schema import GROUPS
from metarun.errors import Refused, printable
from metarun.files import make_folder, read_whole, write_whole
from metarun.sweeps.composition import composed, loader_for
from metarun.sweeps.search.study import Study
from metarun.tasks.headline import Headline

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

FILE = Path("experiment") / "best.yaml"
WRITTEN_OUT = (
    "experiment",
    "debug",
)  # groups whose values are told, since a file names one of each
NOT_SETTINGS = ("out", "choices", "preset", "quick", "_target_")  # the file does not hold these


def keep(study: Study, sweep: Path, hydra: DictConfig) -> None:
    """Write the settings of the best trial so far, if one has finished.

    Args:
        hydra: the node of that name, of the sweep or of a job.

    Raises:
        Refused: the place for it is a link.
    """
    with study.lock:  # another process may know of a better one
        if (best := study.best()) is not None:
            _write_best(study, best, sweep, hydra)


def _write_best(study: Study, best: FrozenTrial, sweep: Path, hydra: DictConfig) -> None:
    words = study.space.typed(best.params)
    loader, found = loader_for(hydra)
    whole = composed(loader, [*found, *words])
    groups = {
        group: whole.choices[group]
        for group in GROUPS
        if group not in WRITTEN_OUT and whole.choices.get(group) is not None
    }
    bare = composed(loader, [*found, *(f"{group}={name}" for group, name in groups.items())])
    content = {
        "defaults": [{f"override /{group}": name} for group, name in groups.items()],
        **_added(bare.raw, whole.raw),
    }
    values = " ".join(d.word(best.params[d.key]) for d in study.space.dimensions)
    done = sum(trial.state.name == "COMPLETE" for trial in study.trials())
    of = f"the best of {done} that finished" if done > 1 else "the first that finished"
    about = f"Trial {best.number}, {of}: validation {_figure(sweep, best)}; {values}"
    text = "".join(
        [
            "# @package _global_\n",
            f"# {printable(_command(sweep, hydra))}\n",
            f"# {printable(about)}\n",
            yaml.safe_dump(content, sort_keys=False, allow_unicode=True),
        ]
    )
    file = sweep / FILE
    if file.parent.is_symlink():
        raise Refused(f"{file.parent}: is a link; a search's own folder is not")
    make_folder(file.parent)
    write_whole(file, text)


def conclude(sweep: Path) -> None:
    """Print the best trial of a search, and the command that takes up its settings."""
    from metarun.training.display import console

    try:
        text = read_whole(sweep / FILE, 2**20).decode("utf-8", "replace")
    except OSError:  # no search, or none of its trials has finished
        return
    lines = [printable(line[2:]) for line in text.split("\n")[1:3] if line.startswith("# ")]
    if len(lines) == 2:
        said = f"{lines[1]}; again: {lines[0]} seed=1"
        console().print(said, soft_wrap=True, markup=False)


def _added(base: Mapping[str, Any], whole: Mapping[str, Any]) -> dict[str, Any]:
    """What is in `whole` and not, or otherwise, in `base`."""
    found: dict[str, Any] = {}
    for key, value in whole.items():
        if key in NOT_SETTINGS or (key in base and base[key] == value):
            continue
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            if inner := _added(base[key], value):
                found[key] = inner
        else:
            found[key] = value
    return found


def _command(sweep: Path, hydra: DictConfig) -> str:
    """A folder of the user's own that the search was begun with is needed again."""
    own = [s.path for s in hydra.runtime.config_sources if s.provider == "command-line"]
    search = [w for w in hydra.overrides.hydra if w.startswith("hydra.searchpath=")]
    if own and not search:
        search = [f"hydra.searchpath=[file://{os.path.abspath(own[0])}]"]
    return shlex.join(["metarun", "experiment=best", "--config-dir", str(_near(sweep)), *search])


def _near(folder: Path) -> Path:
    """The folder as it is called from here, if it lies below."""
    try:
        return folder.resolve().relative_to(Path.cwd())
    except ValueError:
        return folder.absolute()


def _figure(sweep: Path, best: FrozenTrial) -> str:
    from metarun.runs import results

    result = results.read_result(sweep / str(best.number)) or {}
    found = Headline.of(result).figure_in(result.get("val"))
    return found if found != "–" else f"{best.value:.4f}"
