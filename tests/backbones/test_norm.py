"""Batch normalisation by the statistics that were asked for, and no others."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from metarun.backbones.norm import BatchNorm, normalised_by


def layers(channels: int = 3) -> tuple[BatchNorm, nn.BatchNorm2d]:
    ours, torchs = BatchNorm(channels), nn.BatchNorm2d(channels)
    with torch.no_grad():
        ours.weight.copy_(torch.tensor([0.5, 1.0, 2.0]))
        ours.bias.copy_(torch.tensor([1.0, -1.0, 0.0]))
    torchs.load_state_dict(ours.state_dict())
    return ours, torchs


def test_running_is_torchs_own() -> None:
    ours, torchs = layers()
    for _ in range(3):
        x = torch.randn(6, 3, 4, 4) * 3 + 1
        assert torch.equal(ours(x), torchs(x))
    assert torch.equal(ours.running_var, torchs.running_var)
    assert torch.equal(ours.eval()(x), torchs.eval()(x))


def test_batch_statistics_touch_no_buffer() -> None:
    ours, torchs = layers()
    before = {k: v.clone() for k, v in ours.state_dict().items()}
    x = torch.randn(6, 3, 4, 4)
    with normalised_by(ours, "batch"):
        in_training, in_evaluation = ours(x), ours.eval()(x)
    assert torch.equal(in_training, torchs(x))
    assert torch.equal(in_evaluation, in_training)
    assert all(torch.equal(v, before[k]) for k, v in ours.state_dict().items())


@pytest.mark.parametrize("shape", [(9, 3), (9, 3, 4, 4)])
def test_the_first_rows_can_normalise_all(shape: tuple[int, ...]) -> None:
    ours, _ = layers()
    x = torch.randn(shape, dtype=torch.float64)
    ours.double()
    with normalised_by(ours, 4):
        found = ours(x)
    axes = (0, *range(2, len(shape)))
    view = (1, 3) + (1,) * (len(shape) - 2)
    mean = x[:4].mean(axes).view(view)
    std = (x[:4].var(axes, unbiased=False) + ours.eps).sqrt().view(view)
    expected = (x - mean) / std * ours.weight.view(view) + ours.bias.view(view)
    torch.testing.assert_close(found, expected)
    with normalised_by(ours, 9):
        all_rows = ours(x)
    with normalised_by(ours, "batch"):
        torch.testing.assert_close(all_rows, ours(x))


def test_the_choice_ends_with_the_block_even_on_an_error() -> None:
    ours, _ = layers()
    with pytest.raises(ZeroDivisionError), normalised_by(ours, "batch"):
        raise ZeroDivisionError
    assert ours.statistics == "running"
