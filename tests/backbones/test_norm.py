"""Batch normalisation with selectable statistics."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from metarun.backbones.norm import BatchNorm, normalised_by
from metarun.errors import Refused


def layers(channels: int = 3) -> tuple[BatchNorm, nn.BatchNorm2d]:
    norm, torch_norm = BatchNorm(channels), nn.BatchNorm2d(channels)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, 1.0, 2.0]))
        norm.bias.copy_(torch.tensor([1.0, -1.0, 0.0]))
    torch_norm.load_state_dict(norm.state_dict())
    return norm, torch_norm


def test_running_equals_torchs_batch_norm() -> None:
    norm, torch_norm = layers()
    for _ in range(3):
        x = torch.randn(6, 3, 4, 4) * 3 + 1
        assert torch.equal(norm(x), torch_norm(x))
    assert torch.equal(norm.running_var, torch_norm.running_var)
    assert torch.equal(norm.eval()(x), torch_norm.eval()(x))


def test_batch_statistics_do_not_change_buffers() -> None:
    norm, torch_norm = layers()
    before = {k: v.clone() for k, v in norm.state_dict().items()}
    x = torch.randn(6, 3, 4, 4)
    with normalised_by(norm, "batch"):
        in_training, in_evaluation = norm(x), norm.eval()(x)
    assert torch.equal(in_training, torch_norm(x))
    assert torch.equal(in_evaluation, in_training)
    assert all(torch.equal(v, before[k]) for k, v in norm.state_dict().items())


@pytest.mark.parametrize("shape", [(9, 3), (9, 3, 4, 4)])
def test_statistics_of_the_first_rows(shape: tuple[int, ...]) -> None:
    norm, _ = layers()
    x = torch.randn(shape, dtype=torch.float64)
    norm.double()
    with normalised_by(norm, 4):
        actual = norm(x)
    axes = (0, *range(2, len(shape)))
    view = (1, 3) + (1,) * (len(shape) - 2)
    mean = x[:4].mean(axes).view(view)
    std = (x[:4].var(axes, unbiased=False) + norm.eps).sqrt().view(view)
    expected = (x - mean) / std * norm.weight.view(view) + norm.bias.view(view)
    torch.testing.assert_close(actual, expected)
    with normalised_by(norm, 9):
        all_rows = norm(x)
    with normalised_by(norm, "batch"):
        torch.testing.assert_close(all_rows, norm(x))


def test_statistics_are_restored_after_an_error() -> None:
    norm, _ = layers()
    with pytest.raises(ZeroDivisionError), normalised_by(norm, "batch"):
        raise ZeroDivisionError
    assert norm.statistics == "running"


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1)])
def test_one_value_per_channel_is_refused(shape: tuple[int, ...]) -> None:
    norm, _ = layers()
    x = torch.randn(shape)
    for statistics in ("running", "batch", 1):
        with pytest.raises(Refused, match="one item by itself"), normalised_by(norm, statistics):
            norm(x)
    norm.eval()(x)  # by running averages
    with pytest.raises(Refused), normalised_by(norm, "batch"):
        norm(x)


def test_one_picture_of_several_pixels_is_normalised() -> None:
    norm, torch_norm = layers()
    x = torch.randn(1, 3, 2, 1)
    with normalised_by(norm, "batch"):
        assert torch.equal(norm(x), torch_norm(x))
