"""Splits of recordings: log-mel spectrograms of any length, from which clips of one length are cut.

In training and in a support, a recording is one clip at a random position. A query of validation or
test is several clips, whose probabilities are averaged (`metarun.tasks.task.Examples`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field
from torch import Tensor

from metarun.data.classes import Pick, Split
from metarun.data.preparation.mel import HOP, RATE
from metarun.data.preparation.spectrograms import Scale
from metarun.errors import Refused

Speakers = Literal["any", "one", "others"]
UNSCALED = Scale(0.0, 1.0)
ClipsOfQuery = Annotated[int, Field(ge=1, le=32)]


class Clips(NamedTuple):
    """The indices of an episode, see `metarun.data.classes.Pick`, and the positions of its clips.

    Attributes:
        starts: (N, K+Q) first frame of the clip of each item.
    """

    classes: np.ndarray
    items: np.ndarray
    turns: np.ndarray
    starts: np.ndarray


@dataclass(frozen=True)
class Recordings(Split):
    """The classes of one split, whose items are spectrograms (1, mels, longest) uint8.

    Attributes:
        frames: frames of a clip.
        clips: clips of a query, at equal distances; 1: one at a random position.
        lengths: (M) frames of each item; those after it are padding.
        voices: (M) the speaker of each item, as a number.
        speakers: `any` ignores the speakers; `one`: all items of an episode are by one speaker;
            `others`: the support is by one speaker and the queries are by others.
        scale: of the training split, or of all classes if it has none.
    """

    frames: int = 1
    clips: int = 1
    lengths: np.ndarray = ()
    voices: np.ndarray = ()
    speakers: Speakers = "any"
    scale: Scale = UNSCALED

    normalisation = "mean 0 and standard deviation 1 over the training split"

    @property
    def shape(self) -> tuple[int, ...]:
        """(1, mels, frames) of a clip."""
        return (*self.items.shape[1:3], self.frames)

    @property
    def caption(self) -> str:
        """What the pictures of `pictures` show."""
        seconds, kilohertz = self.frames * HOP / RATE, RATE // 2000
        return f"log-mel spectrograms: {seconds:.1f} s to the right, 0–{kilohertz} kHz upwards"

    def pictures(self, x: Tensor) -> Tensor:
        """Clips (items, 1, mels, frames) as grey pictures of values 0…1, high frequencies first."""
        grey = (x * self.scale.deviation + self.scale.mean) / 255
        wide = max(1, x.shape[-2] // x.shape[-1])
        return grey.clamp(0, 1).flip(-2).repeat_interleave(wide, -1)

    def pick(self, rng: np.random.Generator, ways: int, shots: int, queries: int) -> Clips:
        """Draw N classes, K+Q items of each, and a position in each item.

        Raises:
            Refused: no speaker has as many classes and items.
        """
        if self.speakers == "any":
            pick = super().pick(rng, ways, shots, queries)
        else:
            pick = self._pick_by_speaker(rng, ways, shots, queries)
        return Clips(*pick, rng.integers(self._spare(pick.items) + 1))

    def gather(self, picks: Sequence[Clips], shots: int) -> tuple[np.ndarray, ...]:
        """As in `Split`; with `clips` > 1, query x has `clips` rows for each row of query y."""
        items, starts = (np.stack([getattr(p, key) for p in picks]) for key in ("items", "starts"))
        tasks, ways, size = items.shape
        y = np.tile(np.arange(ways)[None, :, None], (tasks, 1, size))
        support = self._cut(items[..., :shots], starts[..., :shots, None])
        queries, at = items[..., shots:], starts[..., shots:, None]
        if self.clips > 1:
            steps = np.linspace(0, 1, self.clips)
            at = np.rint(self._spare(queries)[..., None] * steps).astype(np.int64)
        halves = (support, y[..., :shots], self._cut(queries, at), y[..., shots:])
        return tuple(
            half.reshape(tasks, -1, *self.shape * (i % 2 == 0)) for i, half in enumerate(halves)
        )

    def _cut(self, items: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Normalised clips (…, clips, *shape) of the items (…) from the frames (…, clips)."""
        whole = self.items[items][..., None, :, :, :]
        at = starts[..., None, None, None] + np.arange(self.frames)
        return self.scale(np.take_along_axis(whole, at, axis=-1))

    def _spare(self, items: np.ndarray) -> np.ndarray:
        """Frames by which the items are longer than a clip."""
        return np.maximum(self.lengths[items] - self.frames, 0)

    def _pick_by_speaker(
        self, rng: np.random.Generator, ways: int, shots: int, queries: int
    ) -> Pick:
        by_one, in_all = self._counts, self._counts.sum(1, keepdims=True)
        one = self.speakers == "one"
        enough = by_one >= shots + queries * one
        if not one:
            enough &= in_all - by_one >= queries
        able = np.flatnonzero(enough.sum(0) >= ways)
        if not len(able):
            raise Refused(
                f"data.speakers={self.speakers} ways={ways} shots={shots} queries={queries}: no "
                "speaker has as many classes with as many items; data.speakers=any ignores speakers"
            )
        speaker = rng.choice(able)
        classes = rng.choice(np.flatnonzero(enough[:, speaker]), ways, replace=False)
        items = []
        for c in classes:
            own = np.arange(self.first[c], self.first[c] + self.counts[c])
            by_speaker = self.voices[own] == speaker
            if one:
                items.append(rng.choice(own[by_speaker], shots + queries, replace=False))
            else:
                halves = ((own[by_speaker], shots), (own[~by_speaker], queries))
                items.append(np.concatenate([rng.choice(p, n, replace=False) for p, n in halves]))
        return Pick(classes, np.stack(items), self.turns[classes])

    @cached_property
    def _counts(self) -> np.ndarray:
        """(classes, speakers) number of items."""
        ranges = zip(self.first.tolist(), self.counts.tolist(), strict=True)
        size = int(self.voices.max()) + 1
        return np.stack([np.bincount(self.voices[k : k + n], minlength=size) for k, n in ranges])
