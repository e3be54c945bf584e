"""NGrams: weighted counts and the hidden layer."""

from __future__ import annotations

import pytest
import torch

from metarun.backbones.ngrams import NGrams
from metarun.errors import Refused


def test_initially_features_are_scaled_counts() -> None:
    net, x = NGrams((50,), hidden=0, scale=2.0), torch.rand(6, 50)
    unit = torch.nn.functional.normalize(x)
    torch.testing.assert_close(net(x), 2 * unit)


def test_counts_are_multiplied_by_weights() -> None:
    net = NGrams((3,), hidden=0, scale=1.0)
    net.weight.data = torch.tensor([2.0, 1.0, 0.0])
    expected = torch.tensor([[2.0, 1.0, 0.0]]) / 5**0.5
    torch.testing.assert_close(net(torch.ones(1, 3)), expected)


def test_norms_of_counts_and_hidden_layer() -> None:
    net, x = NGrams((50,), hidden=20, share=0.5, scale=3.0), torch.rand(6, 50)
    counts, layer = net(x).split([50, 20], dim=1)
    assert net.features == 70
    torch.testing.assert_close(counts.norm(dim=1), torch.full((6,), 3.0))
    torch.testing.assert_close(layer.norm(dim=1), torch.full((6,), 1.5))


def test_a_sentence_without_ngrams_has_finite_second_derivatives() -> None:
    """MAML differentiates twice, and the norm has no derivative at zero."""
    net = NGrams((5,), hidden=3).double()
    x = torch.zeros(2, 5, dtype=torch.float64)
    first = torch.autograd.grad(
        net(x).square().sum() + net(x).sum(), net.parameters(), create_graph=True
    )
    total = sum(g.square().sum() + g.sum() for g in first)
    second = torch.autograd.grad(total, net.parameters(), allow_unused=True)
    assert all(g.isfinite().all() for g in (*first, *second) if g is not None)


def test_derivatives_equal_finite_differences() -> None:
    net = NGrams((4,), hidden=3).double()
    x = torch.rand(5, 4, dtype=torch.float64)

    def scores(weight: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(net, {"weight": weight}, (x,))

    weight = torch.rand(4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(scores, (weight,))
    assert torch.autograd.gradgradcheck(scores, (weight,))


def test_images_are_refused() -> None:
    with pytest.raises(Refused, match=r"takes vectors \(D,\), the data has \(1, 28, 28\)"):
        NGrams((1, 28, 28))
