"""The parts of a run, or its learner alone, with the weights of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from metarun.algorithms import Learner
from metarun.config.schema import RunConfig
from metarun.errors import Mistakes, Refused
from metarun.runs import config_file
from metarun.runs.content import misfit
from metarun.tasks.objectives import CLASSIFICATION
from metarun.tasks.task import Spec
from metarun.training.learner import THREADS, build_learner, device_of, plan
from metarun.training.parts import Parts, assemble


def check_config(run: Path, state: Mapping[str, Any]) -> None:
    """Check that `config.yaml` is that of the checkpoint.

    Raises:
        Refused: a key differs, e.g. because it is the file of another run.
    """
    saved_config = OmegaConf.to_container(config_file.load_config(run, "run"), resolve=True)
    if changed := config_file.differences(state["config"], saved_config):
        raise Refused(*(f"{run / 'config.yaml'}: {line}" for line in changed))


def load_weights(learner: Learner, run: Path, state: Mapping[str, Any]) -> None:
    """Give the learner the weights of the checkpoint.

    Raises:
        Refused: their names, shapes or types are not those of the learner.
    """
    if reason := misfit(state["learner"], learner.state_dict()):
        raise Refused(f"run={run}: its weights do not fit the configuration: {reason}")
    learner.load_state_dict(state["learner"])


def restored(
    config: RunConfig,
    run: Path,
    state: Mapping[str, Any],
    used: Mapping[str, str],
    folders: Sequence[Path],
) -> Parts:
    """The parts of a run with the weights of its checkpoint.

    Args:
        state: the content of the checkpoint.
        used: see `metarun.training.parts.assemble`.

    Raises:
        Refused: `config.yaml` or `config` does not fit the checkpoint.
    """
    check_config(run, state)
    parts = assemble(config, folders, used=used, trained_spec=state["task"])
    load_weights(parts.learner, run, state)
    return parts


def restored_classifier(
    config: RunConfig,
    run: Path,
    state: Mapping[str, Any],
    shape: tuple[int, ...],
    folders: Sequence[Path] = (),
) -> tuple[Learner, torch.device]:
    """The learner of a run that classifies, in evaluation mode; the run's data is not read.

    Args:
        config: the run's saved configuration, perhaps with another device.
        state: the content of the checkpoint.
        shape: shape of one item.
        folders: the user's config folders.

    Returns:
        The learner and its device.

    Raises:
        Refused: checkpoint, configuration and shape do not fit each other.
    """
    check_config(run, state)
    mistakes = Mistakes()
    plans = plan(dict(config), folders, mistakes)
    device = mistakes.catch(device_of, config.device, config.precision)
    mistakes.settle()
    torch.set_num_threads(config.threads or THREADS)
    spec = Spec(**{"inputs": shape, "objective": CLASSIFICATION, **state["task"]})
    learner = build_learner(config, plans, spec)
    load_weights(learner, run, state)
    return learner.to(device).eval(), device
