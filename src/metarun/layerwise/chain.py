"""The passes of a network that is a chain of layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from metarun.backbones import norm
from metarun.backbones.conv4 import Conv4, MeanOfPositions
from metarun.backbones.mlp import MLP
from metarun.layerwise import layers, products
from metarun.layerwise.batch_norm import BatchNorm

KINDS: dict[type[nn.Module], type[layers.Layer]] = {
    nn.Conv2d: products.Conv2d,
    norm.BatchNorm: BatchNorm,
    nn.ReLU: layers.ReLU,
    nn.MaxPool2d: layers.MaxPool2d,
    nn.Flatten: layers.Flatten,
    MeanOfPositions: layers.MeanOfPositions,
    nn.Linear: products.Linear,
}

PLAIN = {  # the values of attributes with which a layer computes what its passes compute
    "groups": (1,),
    "dilation": (1, (1, 1)),
    "padding_mode": ("zeros",),
    "affine": (True,),
    "start_dim": (1,),
    "end_dim": (-1,),
}


def chain_of(net: nn.Module) -> list[nn.Module] | None:
    """The layers whose composition is the network; `None` if it is no chain of known layers."""
    layers_of_net = _layers(net)
    kinds = [type(layer) for layer in layers_of_net or ()]
    first = next((i for i, kind in enumerate(kinds) if kind in (nn.Conv2d, nn.Linear)), len(kinds))
    return None if nn.ReLU in kinds[:first] else layers_of_net  # it would overwrite the input


def _layers(net: nn.Module) -> list[nn.Module] | None:
    if type(net) in (nn.Sequential, Conv4, MLP):
        inner = [_layers(child) for child in net.children()]
        return None if None in inner else [layer for part in inner for layer in part]
    if type(net) not in KINDS or "forward" in vars(net) or getattr(net, "padding", 0) == "same":
        return None
    return [net] if all(getattr(net, k, v[0]) in v for k, v in PLAIN.items()) else None


class Passes:
    """The passes of one batch through a chain of layers; see `layers.Layer`.

    Args:
        chain: the layers.
        weights: of all layers in their order, with a leading dimension of tasks.
        x: (T, B, *shape).

    Attributes:
        y: (T, B, outputs).
    """

    def __init__(self, chain: Sequence[nn.Module], weights: Sequence[Tensor], x: Tensor) -> None:
        values, self.layers = iter(weights), []
        self.y = x
        for module in chain:
            layer = KINDS[type(module)](module, [next(values) for _ in module.parameters()])
            self.y = layer.forward(self.y)
            self.layers.append(layer)

    def backward(self, g: Tensor) -> list[Tensor]:
        """The gradients of the weights."""
        return self._back("backward", g)

    def tangent(self, dweights: Sequence[Tensor]) -> Tensor:
        """The tangent of y."""
        values, dx = iter(dweights), None
        for layer in self.layers:
            dx = layer.tangent(dx, [next(values) for _ in layer.weights])
        return dx

    def tangent_backward(self, dg: Tensor) -> list[Tensor]:
        """The tangents of the gradients of the weights."""
        return self._back("tangent_backward", dg)

    def _back(self, name: str, g: Tensor) -> list[Tensor]:
        gradients: list[Tensor] = []
        for i, layer in reversed(list(enumerate(self.layers))):
            g, of_weights = getattr(layer, name)(g, i > 0)
            gradients[:0] = of_weights
        return gradients


class Outputs(Function):
    """The outputs of a chain for several tasks, which can be differentiated by the weights once."""

    @staticmethod
    def forward(ctx: Any, chain: Sequence[nn.Module], x: Tensor, *weights: Tensor) -> Tensor:
        ctx.passes = Passes(chain, weights, x)
        return ctx.passes.y.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *ctx.passes.backward(g.clone())
