"""Tries a training step and a validation before anything is written."""

from __future__ import annotations

import copy
import os

import torch

from metarun.errors import Refused
from metarun.process import describe
from metarun.training.evaluation import evaluate
from metarun.training.gradient import accumulate
from metarun.training.parts import Parts


def try_first_step(parts: Parts) -> None:
    """Train on one task and evaluate one task with a copy of the learner.

    An error in a learner of the user is not reported here: it fails the run, whose `run.log` then
    has the traceback.

    Raises:
        Refused: the step or the validation fails.
    """
    choices, own = parts.config.choices, not type(parts.learner).__module__.startswith("metarun.")
    cuda = [parts.device] if parts.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(cuda):
            learner = copy.deepcopy(parts.learner)
            if learner.learns:
                accumulate(learner, parts.training().tasks(range(1)), parts.config.seed)
            evaluate(learner, parts.frozen("val" if "val" in parts.splits else "test"), 1)
    except Refused:
        raise
    except Exception as error:
        if own:
            return
        if os.environ.get("METARUN_TRACEBACK"):
            raise
        raise Refused(
            f"algo={choices.algo} data={choices.data} backbone={choices.backbone}: "
            f"a step fails: {describe(error)}"
        ) from error
