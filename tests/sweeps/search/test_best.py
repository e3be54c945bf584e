"""`experiment=best` has all settings of the best trial of a search."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from metarun.config.compose import compose, plain
from metarun.config.groups import choices
from metarun.sweeps.search.best import print_best
from tests.conftest import OWN, TINY

Metarun = Callable[..., tuple[int, str, list[str]]]
FEW = ["hydra.sweeper.trials=1", "val_episodes=2", "test_episodes=2", "steps=2", "eval_every=1"]
OWN_TREE = f"hydra.searchpath=[file://{OWN}]"


def run_search(metarun: Metarun, *words: str) -> dict[str, Any]:
    """Run a search with one trial in `sweep`, and return the settings of the trial."""
    argv = ["-m", *TINY, *FEW, "hydra/sweeper=optuna", *words, "hydra.sweep.dir=sweep"]
    code, _, err = metarun(*argv)
    assert (code, err) == (0, [])
    return OmegaConf.to_container(OmegaConf.load("sweep/0/config.yaml"))


def composed(*words: str) -> dict[str, Any]:
    return plain(compose(["experiment=best", OWN_TREE, *words], "sweep"))


@pytest.mark.parametrize(
    "words",
    [
        ["optimizer.lr=tag(log,interval(1e-4,0.1))"],
        ["algo=maml,fomaml", "algo.inner_lr=interval(0.1,1)", "algo.inner_steps=1", "shots=2"],
        ["optimizer=sgd,adam", "optimizer.schedule=cosine,linear", "train_shots=3", "seed=5"],
        ["experiment=demo", "train_ways=5", "algo.distance=cosine,euclidean", "tags=[a,'b c']"],
        ["backbone=conv4,conv4_strided", "logger=wandb", "logger.mode=disabled"],
        ["algo=nearest_item", "data.noise=1e1", "meta_batch=range(1,4)"],
    ],
)
def test_the_file_composes_to_the_settings_of_the_trial(metarun: Metarun, words: list[str]) -> None:
    trial = run_search(metarun, *words)
    best = composed()
    assert best.pop("out") != trial.pop("out")
    assert (best.pop("engine"), trial.pop("engine")) == ("auto", "loop")  # resolved by the trial
    if "group" in trial["logger"]:  # in a sweep, the name of the sweep
        trial["logger"]["group"] = best["logger"]["group"]
    assert best == trial


def test_a_key_that_follows_another_key_still_follows_it(metarun: Metarun) -> None:
    run_search(metarun, "shots=2", "optimizer.lr=0.1,0.2")
    assert composed()["train_shots"] == 2
    assert composed("shots=4")["train_shots"] == 4


def test_the_file_describes_the_trial_and_the_printed_command_runs(metarun: Metarun) -> None:
    words = [*FEW, "hydra.sweeper.trials=3", "hydra/sweeper=optuna", "optimizer.lr=0.1,0.2,0.3"]
    code, out, _ = metarun("-m", *TINY, *words, "hydra.sweep.dir=sweep")
    results = [json.loads(Path(f"sweep/{i}/result.json").read_text()) for i in range(3)]
    values = [r["val"]["accuracy"]["mean"] for r in results]
    best = values.index(max(values))

    lines = Path("sweep/experiment/best.yaml").read_text().splitlines()
    assert lines[0] == "# @package _global_"
    assert lines[1].startswith("# metarun experiment=best --config-dir sweep")
    assert choices("experiment", "sweep")["best"] == lines[2][2:]
    assert lines[2].startswith(f"# Trial {best}, the best of 3")

    words = shlex.split(out.rpartition("again: ")[2].strip())
    assert words[:2] == ["metarun", "experiment=best"]
    code, _, err = metarun(*words[1:], "out=again")
    assert (code, err) == (0, [])
    result = json.loads(Path("again/result.json").read_text())
    assert (result["status"], result["run"]["seed"]) == ("completed", 1)
    trial, again = (OmegaConf.load(f"{run}/config.yaml") for run in (f"sweep/{best}", "again"))
    assert trial.optimizer == again.optimizer


def test_a_line_break_in_a_folder_name_does_not_change_the_file(metarun: Metarun) -> None:
    """The name is in a comment of the file, which a line break would end."""
    name = "a 'b'\nsteps: 9"
    argv = ["-m", *TINY, *FEW, "hydra/sweeper=optuna", "optimizer.lr=0.1,0.2"]
    assert metarun(*argv, f"hydra.sweep.dir={name}")[0] == 0
    settings = yaml.safe_load((Path(name) / "experiment/best.yaml").read_text())
    assert settings["steps"] == 2


def test_a_link_in_place_of_the_folder_is_not_followed(metarun: Metarun) -> None:
    Path("elsewhere").mkdir()
    Path("sweep").mkdir()
    Path("sweep/experiment").symlink_to("../elsewhere")
    argv = ["-m", *TINY, *FEW, "hydra/sweeper=optuna", "optimizer.lr=0.1,0.2"]
    metarun(*argv, "hydra.sweep.dir=sweep")
    assert list(Path("elsewhere").iterdir()) == []


def test_an_invalid_file_is_not_printed(
    metarun: Metarun, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("sweep/experiment").mkdir(parents=True)
    for content in ("", "a", "# one\n", "\n# x\n", "\n# x\n# \x1b[31mred\r\n"):
        Path("sweep/experiment/best.yaml").write_text(content)
        print_best(Path("sweep"))
    assert "\x1b" not in (out := capsys.readouterr().out)
    assert out.count("\n") == 1
