"""Makes splits of recordings from prepared spectrograms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields

import numpy as np

from metarun.data.class_splits import SPLITS
from metarun.data.classes import Split, select
from metarun.data.preparation.images import Images
from metarun.data.preparation.spectrograms import Scale, frames_of
from metarun.data.recordings import Recordings, Speakers


def recorded(
    images: Images,
    classes: Mapping[str, Iterable[str]],
    voices: np.ndarray,
    seconds: float,
    clips: int = 1,
    speakers: Speakers = "any",
) -> dict[str, Split]:
    """Splits of recordings.

    Args:
        images: spectrograms (M, 1, mels, longest) uint8; `notes["frames"]` has their lengths.
        classes: names of the classes of `train`, `val` and `test`.
        voices: (M) the speaker of each item.
        seconds: length of a clip.
        clips: clips of a query in validation and test.
        speakers: see `Recordings`.
    """
    lengths = np.array(images.notes["frames"])
    frames = frames_of(seconds)
    if (missing := frames - images.items.shape[-1]) > 0:  # clips are longer than all recordings
        items = np.pad(images.items, [(0, 0)] * 3 + [(0, missing)])
        images = Images(items, images.names, images.counts, images.digests, images.copies)
    splits = {name: select(images, classes[name]) for name in SPLITS}
    known = splits["train"] if splits["train"].names else select(images, images.names)
    scale = _scale(known, lengths)
    return {
        name: Recordings(
            **{f.name: getattr(split, f.name) for f in fields(Split)},
            frames=frames,
            clips=1 if name == "train" else clips,
            lengths=lengths,
            voices=voices,
            speakers=speakers,
            scale=scale,
        )
        for name, split in splits.items()
    }


def _scale(split: Split, lengths: np.ndarray) -> Scale:
    """The scale of the values of all items, without padding."""
    histogram = np.zeros(256, np.int64)
    for first, count in zip(split.first.tolist(), split.counts.tolist(), strict=True):
        items = split.items[first : first + count]
        histogram += np.bincount(items.ravel(), minlength=256)
        histogram[0] -= items.shape[2] * (items.shape[-1] * count - lengths[first:][:count].sum())
    values, total = np.arange(256), histogram.sum()
    mean = float(values @ histogram / total)
    deviation = float(np.sqrt((values - mean) ** 2 @ histogram / total))
    return Scale(mean, deviation or 1.0)  # 0: all recordings are silent
