"""`experiment=best` repeats the best trial of a search, setting by setting."""

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


def searched(metarun: Metarun, *words: str) -> dict[str, Any]:
    """The settings of the one trial of a search in `sweep`."""
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
def test_the_best_composes_to_the_trials_settings(metarun: Metarun, words: list[str]) -> None:
    made = searched(metarun, *words)
    again = composed()
    assert again.pop("out") != made.pop("out")
    if "group" in made["logger"]:  # in a sweep, the sweep's name
        made["logger"]["group"] = again["logger"]["group"]
    assert again == made


def test_what_follows_another_key_goes_on_following_it(metarun: Metarun) -> None:
    searched(metarun, "shots=2", "optimizer.lr=0.1,0.2")
    assert composed()["train_shots"] == 2
    assert composed("shots=4")["train_shots"] == 4


def test_the_file_says_what_it_is_and_the_command_that_is_printed_runs(metarun: Metarun) -> None:
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
    made, again = (OmegaConf.load(f"{run}/config.yaml") for run in (f"sweep/{best}", "again"))
    assert made.optimizer == again.optimizer


def test_a_sweeps_folder_with_an_odd_name_makes_no_other_file(metarun: Metarun) -> None:
    """A line break in a name would end the comment."""
    odd = "a 'b'\nsteps: 9"
    argv = ["-m", *TINY, *FEW, "hydra/sweeper=optuna", "optimizer.lr=0.1,0.2"]
    assert metarun(*argv, f"hydra.sweep.dir={odd}")[0] == 0
    found = yaml.safe_load((Path(odd) / "experiment/best.yaml").read_text())
    assert found["steps"] == 2


def test_a_link_in_the_place_of_the_file_is_not_followed(metarun: Metarun) -> None:
    Path("elsewhere").mkdir()
    Path("sweep").mkdir()
    Path("sweep/experiment").symlink_to("../elsewhere")
    argv = ["-m", *TINY, *FEW, "hydra/sweeper=optuna", "optimizer.lr=0.1,0.2"]
    metarun(*argv, "hydra.sweep.dir=sweep")
    assert list(Path("elsewhere").iterdir()) == []


def test_nothing_is_printed_of_a_file_that_is_none(
    metarun: Metarun, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("sweep/experiment").mkdir(parents=True)
    for content in ("", "a", "# one\n", "\n# x\n", "\n# x\n# \x1b[31mred\r\n"):
        Path("sweep/experiment/best.yaml").write_text(content)
        print_best(Path("sweep"))
    assert "\x1b" not in (out := capsys.readouterr().out)
    assert out.count("\n") == 1
