"""The state of a run is restored from a checkpoint as it was saved."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from metarun.errors import Refused
from metarun.runs import checkpoint
from metarun.training.state import Clock, State


def make_state(**values: object) -> State:
    task = {"outputs": 5, "shots": 1, "classes": 0}
    trained_on = {"train_data": "blobs", "train_split_sha256": "0" * 64}
    more = {"command": "metarun", "task": task, "trained_on": trained_on, "splits": {}}
    return State(**more, config={}, **values)


def learner() -> tuple[nn.Module, torch.optim.Optimizer]:
    """A module with random weights and its optimizer, after one step."""
    module = nn.Linear(2, 1)
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return module, optimizer


def test_a_saved_state_is_restored(tmp_path: Path) -> None:
    first, second = learner(), learner()
    state = make_state(step=3, recent=[{"loss": 0.5}], wall_seconds=1.5, trial=7)
    checkpoint.save(tmp_path / checkpoint.LAST, state.state_dict(*first))
    restored = State.restore(tmp_path)
    assert restored.load_into(*second)
    assert restored == state
    assert torch.equal(first[0].weight, second[0].weight)
    assert str(first[1].state_dict()) == str(second[1].state_dict())
    assert not restored.load_into(*second)  # the state dicts have been released


def test_without_a_checkpoint_there_is_no_state(tmp_path: Path) -> None:
    assert State.restore(tmp_path) is None


def test_a_checkpoint_with_missing_keys_is_refused(tmp_path: Path) -> None:
    saved = make_state().state_dict(*learner())
    del saved["splits"], saved["optimizer"]
    checkpoint.save(tmp_path / checkpoint.LAST, saved)
    with pytest.raises(Refused, match=r"has written \(splits: Field required\)"):
        State.restore(tmp_path)


def test_before_the_first_validation_there_is_no_best_checkpoint() -> None:
    assert make_state().best_checkpoint() is None
    weights = {"w": torch.zeros(1)}
    best = make_state(step=4, best={"best_step": 2}, best_learner=weights).best_checkpoint()
    assert (best["step"], best["learner"]) == (2, weights)


def test_the_time_of_outer_steps_is_part_of_the_wall_time() -> None:
    state = make_state(wall_seconds=10.0)
    clock = Clock(state)
    clock.lap()
    assert state.wall_seconds >= 10.0
    assert state.step_seconds == 0.0
    clock.lap(in_step=True)
    assert 0.0 <= state.step_seconds <= state.wall_seconds - 10.0
