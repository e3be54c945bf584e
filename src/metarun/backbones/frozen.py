"""A network whose weights stay as they are, and which computes the features of an item once."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

from metarun.backbones.norm import normalised_by

CHUNK = 32  # items of one forward pass, which limits memory


class Frozen(nn.Module):
    """Features of a network in evaluation mode, without gradients, remembered by item.

    A repeated item, such as a picture that is drawn for many tasks, is looked up by the hash of its
    content. Its features depend on other items by rounding at most. They stay in memory: 4 bytes
    for each feature of each different item.

    Args:
        net: maps (B, *shape) to (B, features). Its parameters no longer require gradients.

    Attributes:
        features: length of the feature vector.
        maps: shape of the feature maps, if the network has them.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net.requires_grad_(False).eval()
        self.features, self.maps = net.features, getattr(net, "maps", None)
        self._known: dict[bytes, Tensor] = {}

    def train(self, mode: bool = True) -> Frozen:
        """Set the mode of this module; the network stays in evaluation mode."""
        super().train(mode)
        self.net.eval()
        return self

    def _apply(self, *args: object, **kwargs: object) -> Frozen:
        self._known.clear()  # of another device or floating-point type
        return super()._apply(*args, **kwargs)

    def _load_from_state_dict(self, *args: object, **kwargs: object) -> None:
        self._known.clear()
        super()._load_from_state_dict(*args, **kwargs)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """(B, *shape) → (B, features)."""
        if x.is_meta:
            return x.new_empty(len(x), self.features)
        keys = [hashlib.blake2b(item.tobytes()).digest() for item in x.contiguous().cpu().numpy()]
        missing = {key: row for row, key in enumerate(keys) if key not in self._known}
        with normalised_by(self.net, "running"):
            for some in torch.tensor(list(missing.values()), dtype=torch.long).split(CHUNK):
                for row, features in zip(some.tolist(), self.net(x[some]), strict=True):
                    self._known[keys[row]] = features.clone()
        return torch.stack([self._known[key] for key in keys])
