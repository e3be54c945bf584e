"""Classes and items that two splits share by content, whatever their names."""

from __future__ import annotations

import hashlib

from metarun.data.classes import Split


def comparable(a: Split, b: Split) -> bool:
    """Whether items of the two splits can be equal: they are of one shape and type."""
    return a.items.dtype == b.items.dtype and a.items.shape[1:] == b.items.shape[1:]


def equal_classes(a: Split, b: Split) -> list[str]:
    """The classes of `a` with the same items as one of `b`, as `name = name`."""
    names_in_b = {frozenset(items): name for name, items in _digests(b).items()}
    return [
        f"{name} = {names_in_b[frozenset(items)]}"
        for name, items in _digests(a).items()
        if frozenset(items) in names_in_b
    ]


def equal_items(a: Split, b: Split) -> list[str]:
    """The items of `a` that are in `b`, too, to the byte, as `class/number = class/number`."""
    items_a, items_b = (
        {
            digest: f"{name}/{k}"
            for name, digests in _digests(split).items()
            for k, digest in enumerate(digests)
        }
        for split in (a, b)
    )
    return [f"{name} = {items_b[digest]}" for digest, name in items_a.items() if digest in items_b]


def _digests(split: Split) -> dict[str, list[bytes]]:
    """The digest of each item of each class; rotated copies count as the upright class."""
    ranges = zip(split.origins, split.first.tolist(), split.counts.tolist(), strict=True)
    return {
        name: [hashlib.blake2b(item.tobytes()).digest() for item in split.items[k : k + n]]
        for name, (k, n) in {name: (k, n) for name, k, n in ranges}.items()
    }
