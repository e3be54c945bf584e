"""metarun's sweeps are W&B groups, and W&B sweeps can run metarun."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from wandb.sdk.launch.sweeps import utils
from wandb.sdk.lib import config_util

from tests.conftest import TINY
from tests.loggers.test_weights_and_biases import records

Metarun = Callable[..., tuple[int, str, list[str]]]
FILE = Path(__file__).parents[2] / "scripts" / "wandb_sweep.yaml"


def begun(run: Path) -> dict:
    """The first record of an offline run."""
    (found,) = [record["run"] for record in records(run) if "run" in record]
    return found


def command(args: dict[str, object]) -> list[str]:
    """The command that `wandb agent` runs for these values, built by wandb."""
    sweep = yaml.safe_load(FILE.read_text())
    made = utils.create_sweep_command_args({"args": {k: {"value": v} for k, v in args.items()}})
    made |= {"env": ["/usr/bin/env"], "program": [sweep["program"]]}
    words: list[str] = []
    for word in utils.create_sweep_command(sweep["command"]):
        words += made[word[2:-1]] if word.startswith("${") else [word]
    return words


def test_each_job_is_a_run_in_the_group_of_the_sweep(metarun: Metarun) -> None:
    words = [*TINY, "logger=wandb", "shots=1,2", "hydra.sweep.dir=deep/my_sweep"]
    assert metarun("-m", *words)[0] == 0
    found = [begun(Path("deep/my_sweep", job)) for job in "01"]
    assert [run["run_group"] for run in found] == ["my_sweep"] * 2
    assert len({run["run_id"] for run in found}) == 2


def test_a_group_given_by_the_user_is_kept(metarun: Metarun) -> None:
    words = [*TINY, "logger=wandb", "logger.group=mine", "seed=0,1", "hydra.sweep.dir=sweep"]
    metarun("-m", *words)
    assert begun(Path("sweep/0"))["run_group"] == "mine"


def test_a_group_of_the_environment_wins_over_the_folder_of_the_sweep(
    metarun: Metarun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_RUN_GROUP", "theirs")
    words = ["logger=wandb", "logger.mode=disabled", "shots=1", "hydra.sweep.dir=sweep"]
    assert metarun("-m", *TINY, *words)[0] == 0
    assert yaml.safe_load(Path("sweep/0/config.yaml").read_text())["logger"]["group"] is None


def test_the_sweep_file_runs_metarun_with_key_value() -> None:
    words = command({"algo": "maml", "algo.inner_lr": 1e-05, "optimizer.nesterov": True})
    assert words[:2] == ["/usr/bin/env", "metarun"]
    assert words[2:] == ["algo=maml", "algo.inner_lr=1e-05", "optimizer.nesterov=True"]


def test_its_parameters_are_metaruns_keys(metarun: Metarun) -> None:
    """Checks the smallest and the largest value of each."""
    sweep = yaml.safe_load(FILE.read_text())
    assert sweep["metric"] == {"name": "val/accuracy", "goal": "maximize"}
    for which in (0, -1):
        values = {
            key: how["value"]
            if "value" in how
            else how.get("values", [how.get("min"), how.get("max")])[which]
            for key, how in sweep["parameters"].items()
        }
        code, out, err = metarun(*command(values)[2:], "--cfg", "job")
        assert (code, err) == (0, [])
        assert f"inner_lr: {values['algo.inner_lr']}" in out


def test_a_run_of_an_agent(tmp_path: Path) -> None:
    """The environment of an agent, without a network; the agent sets ids and settings."""
    values = {"algo": "maml", "algo.inner_lr": 0.05, "data": "blobs", "steps": 4, "shots": 1}
    config_util.save_config_file_from_dict(
        str(tmp_path / "wandb/sweep-abcd1234/config.yaml"),
        {key: {"value": value} for key, value in values.items()},
    )
    program = Path(sys.executable).with_name("metarun")
    words = [str(program), *command(values)[2:], *TINY, "logger=wandb", "out=run"]
    done = subprocess.run(
        words,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "WANDB_MODE": "offline",
            "WANDB_SWEEP_ID": "abcd1234",
            "WANDB_RUN_ID": "agentsid",
            "WANDB_PROJECT": "theirs",
            "WANDB_SWEEP_PARAM_PATH": "wandb/sweep-abcd1234/config.yaml",
        },
    )
    assert (done.returncode, done.stderr) == (0, "")
    run = begun(tmp_path / "run")
    assert (run["run_id"], run["project"], run["sweep_id"]) == ("agentsid", "theirs", "abcd1234")
    text = json.dumps(records(tmp_path / "run"))
    assert "algo.inner_lr" in text
    assert "val/accuracy" in text


def test_a_run_of_an_agent_is_online_by_default(
    metarun: Metarun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an account it warns and logs offline."""
    import wandb

    monkeypatch.setattr(wandb, "login", lambda **_: False)
    monkeypatch.setenv("WANDB_SWEEP_ID", "abcd1234")
    _, _, err = metarun(*TINY, "logger=wandb", "out=run")
    assert err == ["metarun: W&B has no key here, so it logs offline; `wandb login` stores one"]
