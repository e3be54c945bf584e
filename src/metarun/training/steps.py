"""The number of steps that an earlier run with validation has chosen."""

from __future__ import annotations

from pathlib import Path

from omegaconf import OmegaConf

from metarun.config.command_line import expand
from metarun.config.schema import RunConfig
from metarun.errors import Refused
from metarun.runs import config_file, results

# Keys in which the earlier run may differ.
FREE = (*config_file.MAY_DIFFER, "steps_from", "data.train_on", "seed", "eval_seed")
FREE += ("eval_every", "log_every", "val_episodes", "test_episodes")


def with_steps(config: RunConfig) -> RunConfig:
    """The configuration with the best step of the run `steps_from`, if there is one, as `steps`.

    The earlier run has the same setting and validates on the classes that this one adds to its
    training.

    Raises:
        Refused: the folder holds no such run, or this run has a validation of its own.
    """
    if config.steps_from is None:
        return config
    word = f"steps_from={config.steps_from}"
    if config.train_on == "train":
        raise Refused(f"{word}: is for data.train_on=trainval; other runs choose by validation")
    run: Path = expand(config.steps_from, word)
    saved = OmegaConf.to_container(config_file.load_config(run, "steps_from"), resolve=True)
    result = results.read_result(run) or {}
    best_step = (result.get("val") or {}).get("best_step")
    if result.get("status") != "completed" or type(best_step) is not int or best_step < 1:
        raise Refused(f"{word}: holds no finished run")
    if saved["data"].get("train_on", "train") != "train":
        raise Refused(f"{word}: was trained without validation, too")
    if changed := config_file.differences(saved, config.model_dump(), FREE):
        raise Refused(*(f"{word}: has another setting: {line}" for line in changed))
    return config.model_copy(update={"steps": best_step})
