"""The network of MeLU."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from metarun.backbones.melu import MeLU
from metarun.errors import Refused

INPUTS = {"genre": (4,), "gender": (2,), "item_mean": ()}


def test_several_categories_have_the_mean_of_their_embeddings() -> None:
    net = MeLU(INPUTS, embedding=3, hidden=[5])
    genres = net.embedding["genre"].weight.T
    x = {"genre": torch.tensor([[0.5, 0, 0, 0.5]]), "gender": torch.tensor([[0.0, 1.0]])}
    rows = torch.cat([(genres[0] + genres[3]) / 2, net.embedding["gender"].weight.T[1]])
    expected = F.relu(net.decision[0](rows[None]))
    torch.testing.assert_close(net({**x, "item_mean": torch.tensor([4.0])}), expected)


def test_the_sizes_are_those_of_the_paper() -> None:
    """Four fields of the user and four of the item, of 32 each: 256 → 64 → 64, and the head."""
    net = MeLU({f"field{i}": (9,) for i in range(8)})
    assert [layer.weight.shape for layer in net.decision[::2]] == [(64, 256), (64, 64)]
    assert net.features == 64
    assert sum(p.numel() for p in net.embedding.parameters()) == 8 * 9 * 32


def test_inputs_without_categories_are_refused() -> None:
    for inputs in ((1, 28, 28), {"item_mean": ()}):
        with pytest.raises(Refused, match="backbone=melu: embeds items with named categories"):
            MeLU(inputs)
