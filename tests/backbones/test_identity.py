"""Identity: the features are the inputs."""

from __future__ import annotations

import torch

from metarun.backbones.identity import Identity


def test_the_features_are_the_flattened_input() -> None:
    net, x = Identity((2, 3, 4)), torch.rand(5, 2, 3, 4)
    assert net.features == 24
    assert torch.equal(net(x), x.reshape(5, 24))
    assert list(net.parameters()) == list(net.buffers()) == []


def test_spectrograms_can_be_averaged_over_time() -> None:
    net, x = Identity((1, 3, 4), mean_over_time=True), torch.rand(5, 1, 3, 4)
    assert net.features == 3
    torch.testing.assert_close(net(x), x.sum(3)[:, 0] / 4)
