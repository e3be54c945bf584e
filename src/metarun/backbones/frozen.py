"""A network whose weights stay as they are, and which computes the features of an item once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from metarun.backbones.feature_file import FeatureFile
from metarun.backbones.norm import normalised_by

CHUNK = 32  # items of one forward pass on a GPU, which limits memory


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
    content. Its features stay in memory: 4 bytes for each feature of each different item. With
    `folder`, they are also kept there for later runs. On a CPU each item is computed alone, which
    is as fast, so its features do not depend on others. On a GPU they do, by rounding, and are not
    kept on disk.

    Args:
        net: maps (B, *shape) to (B, features). Its parameters no longer require gradients.

    Attributes:
        features: length of the feature vector.
        maps: shape of the feature maps, if the network has them.
        remembers: whether the features of new items are kept.
        folder: the folder of the features on disk; `None`: they are kept in memory only.
    """

    remembers = True
    folder: Path | None = None

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net.requires_grad_(False).eval()
        self.features, self.maps = net.features, getattr(net, "maps", None)
        self._known: dict[bytes, Tensor] = {}
        self._file: FeatureFile | None = None

    def train(self, mode: bool = True) -> Frozen:
        """Set the mode of this module; the network stays in evaluation mode."""
        super().train(mode)
        self.net.eval()
        return self

    def _apply(self, *args: object, **kwargs: object) -> Frozen:
        self._forget()  # features of another device or floating-point type
        return super()._apply(*args, **kwargs)

    def _load_from_state_dict(self, *args: object, **kwargs: object) -> None:
        self._forget()
        super()._load_from_state_dict(*args, **kwargs)

    def _forget(self) -> None:
        self._known.clear()
        self._file = None

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """(B, *shape) → (B, features)."""
        if x.is_meta:
            dtype = next((p.dtype for p in self.net.parameters()), x.dtype)
            return x.new_empty(len(x), self.features, dtype=dtype)
        keys = [hashlib.blake2b(item.tobytes()).digest() for item in x.contiguous().cpu().numpy()]
        known = self._known if self.remembers else dict(self._known)
        missing = {key: row for row, key in enumerate(keys) if key not in known}
        if missing:
            with normalised_by(self.net, "running"):
                known |= self._features({key: x[row] for key, row in missing.items()})
        return torch.stack([known[key] for key in keys])

    def _features(self, items: dict[bytes, Tensor]) -> dict[bytes, Tensor]:
        """The features of items (*shape): from disk, if they are there, or from the network."""
        alone = next(iter(items.values())).device.type == "cpu"
        file, found = None, {}
        if alone and self.remembers and self.folder is not None:
            file = self._file = self._file or FeatureFile(self.folder, self.net)
            found = file.find(items)
        keys = [key for key in items if key not in found]
        size, new = 1 if alone else CHUNK, {}
        for some in (keys[start : start + size] for start in range(0, len(keys), size)):
            features = self.net(torch.stack([items[key] for key in some]))
            new |= {key: row.clone() for key, row in zip(some, features, strict=True)}
        if file and new:
            file.add(new)
        return found | new
