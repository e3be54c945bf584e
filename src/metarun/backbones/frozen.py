"""A network whose weights stay as they are, and which computes the features of an item once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from metarun.backbones.norm import normalised_by

CHUNK = 32  # items of one forward pass, which limits memory


@contextmanager
def forgetting(net: nn.Module) -> Iterator[None]:
    """Context manager in which the `Frozen` networks of `net` keep no features of new items."""
    frozen = [module for module in net.modules() if isinstance(module, Frozen)]
    for module in frozen:
        module.remembers = False
    try:
        yield
    finally:
        for module in frozen:
            module.remembers = True


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
        remembers: whether the features of new items are kept.
    """

    remembers = True

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
            dtype = next((p.dtype for p in self.net.parameters()), x.dtype)
            return x.new_empty(len(x), self.features, dtype=dtype)
        keys = [hashlib.blake2b(item.tobytes()).digest() for item in x.contiguous().cpu().numpy()]
        known = self._known if self.remembers else dict(self._known)
        missing = {key: row for row, key in enumerate(keys) if key not in known}
        with normalised_by(self.net, "running"):
            for some in torch.tensor(list(missing.values()), dtype=torch.long).split(CHUNK):
                for row, features in zip(some.tolist(), self.net(x[some]), strict=True):
                    known[keys[row]] = features.clone()
        return torch.stack([known[key] for key in keys])
