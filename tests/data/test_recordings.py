"""Splits of recordings: clips of one length, speakers, normalisation and votes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metarun.checks.copies import find_copies
from metarun.data.classes import joined
from metarun.data.preparation.images import Images
from metarun.data.recorded import recorded
from metarun.data.recordings import Recordings
from metarun.data.scaled import as_trained
from metarun.errors import Refused
from metarun.tasks.gathered import Gathered
from metarun.tasks.sampler import Sampler

MELS, LONGEST, TAKES, VOICES, WORDS = 4, 40, 4, 3, 12
SECONDS = 10 * 512 / 16_000  # 10 frames


def splits(**how) -> dict[str, Recordings]:
    """12 words by 3 voices; the value of each frame is its number + 1, and 0 pads."""
    rng, size = np.random.default_rng(0), WORDS * VOICES * TAKES
    lengths = rng.integers(3, LONGEST + 1, size)
    lengths[0] = LONGEST
    frames = np.arange(LONGEST)
    items = np.where(frames < lengths[:, None], frames + 1, 0).astype(np.uint8)
    items = np.repeat(items[:, None, None], MELS, 2)
    images = Images.of(items, [f"w{i}" for i in range(WORDS)], [VOICES * TAKES] * WORDS)
    images.notes["frames"] = lengths.tolist()
    names = iter(images.names)
    classes = {part: [next(names) for _ in range(4)] for part in ("train", "val", "test")}
    voices = np.tile(np.repeat(np.arange(VOICES), TAKES), WORDS)
    how = {"seconds": SECONDS, "clips": 3, "speakers": "any", **how}
    return recorded(images, classes, voices, **how)


def starts_of(split: Recordings, x: np.ndarray) -> np.ndarray:
    """The first frame of clips (…, 1, mels, frames), read off their values."""
    return np.rint(x[..., 0, 0, 0] * split.scale.deviation + split.scale.mean).astype(int) - 1


def test_items_are_normalised_by_the_training_split() -> None:
    made = splits()
    train = made["train"]
    last = train.first[-1] + train.counts[-1]
    values = np.concatenate([np.arange(1, n + 1) for n in train.lengths[:last]])
    for split in made.values():
        assert split.scale == pytest.approx((values.mean(), values.std()))
        assert split.shape == (1, MELS, 10)
    assert train.normalisation != ""


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_a_clip_lies_within_its_recording(seed: int) -> None:
    split = splits()["train"]
    pick = split.pick(np.random.default_rng(seed), 3, 2, 2)
    sx, sy, qx, qy = split.gather([pick], 2)
    assert sx.shape == qx.shape == (1, 6, *split.shape)
    assert sy.tolist() == qy.tolist() == [[0, 0, 1, 1, 2, 2]]
    x = np.concatenate([sx[0].reshape(3, 2, *split.shape), qx[0].reshape(3, 2, *split.shape)], 1)
    assert np.array_equal(starts_of(split, x), pick.starts)
    spare = np.maximum(split.lengths[pick.items] - split.frames, 0)
    assert np.all((pick.starts >= 0) & (pick.starts <= spare))


def test_all_positions_occur_in_training() -> None:
    split = splits()["train"]
    rng = np.random.default_rng(0)
    found = [p for _ in range(600) for p in [split.pick(rng, 4, 4, 8)] for p in [p]]
    starts = [p.starts[p.items == 0] for p in found]  # item 0 is the longest
    assert set(np.concatenate(starts)) == set(range(LONGEST - 10 + 1))


def test_a_query_of_the_test_is_clips_from_the_first_to_the_last_frame() -> None:
    split = splits()["test"]
    pick = split.pick(np.random.default_rng(1), 3, 1, 2)
    sx, sy, qx, qy = split.gather([pick], 1)
    assert (sx.shape, sy.shape) == ((1, 3, *split.shape), (1, 3))
    assert (qx.shape, qy.shape) == ((1, 18, *split.shape), (1, 6))
    spare = np.maximum(split.lengths[pick.items[:, 1:]] - split.frames, 0)
    expected = np.stack([0 * spare, np.rint(spare / 2), spare], -1)
    assert np.array_equal(starts_of(split, qx[0]).reshape(3, 2, 3), expected)


def test_the_probabilities_of_the_clips_are_averaged() -> None:
    source = Gathered(splits()["test"], 3, 1, 2)
    query = source.build(source.choose(np.random.default_rng(1)), 0).query
    assert (len(query), len(query.x), query.clips) == (6, 18, 3)
    logits = torch.randn(18, 3)
    mean = logits.softmax(-1).reshape(6, 3, 3).mean(1)
    judged = query.judge(lambda x: logits)
    loss = -mean[torch.arange(6), query.y].log().mean()
    torch.testing.assert_close(judged.loss, loss)
    torch.testing.assert_close(query.loss(lambda x: logits), loss)
    assert judged.scores["accuracy"] == (mean.argmax(1) == query.y).float().mean()
    half = query[torch.tensor([1, 4])]
    assert torch.equal(half.x, query.x[[3, 4, 5, 12, 13, 14]])
    assert torch.equal(half.y, query.y[[1, 4]])


def test_training_has_one_clip_of_each_query() -> None:
    source = Gathered(splits()["train"], 3, 1, 2)
    assert source.build(source.choose(np.random.default_rng(1)), 0).query.clips == 1


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_episodes_of_one_speaker(seed: int) -> None:
    split = splits(speakers="one")["test"]
    pick = split.pick(np.random.default_rng(seed), 4, 1, 3)
    assert len(set(split.voices[pick.items].ravel())) == 1
    assert len(set(pick.items.ravel())) == 16


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_queries_of_other_speakers(seed: int) -> None:
    split = splits(speakers="others")["test"]
    pick = split.pick(np.random.default_rng(seed), 4, 2, 8)
    voices = split.voices[pick.items]
    speaker = set(voices[:, :2].ravel())
    assert len(speaker) == 1 and speaker.isdisjoint(voices[:, 2:].ravel())
    assert len(set(pick.items.ravel())) == 40


@pytest.mark.parametrize(("speakers", "shots", "queries"), [("one", 2, 3), ("others", 1, 9)])
def test_too_few_items_of_a_speaker_are_refused(speakers, shots, queries) -> None:
    split = splits(speakers=speakers)["test"]
    split.pick(np.random.default_rng(0), 4, shots, queries - 1)
    with pytest.raises(Refused, match=f"data.speakers={speakers} ways=4 shots={shots}"):
        split.pick(np.random.default_rng(0), 4, shots, queries)


def test_every_speaker_and_class_occurs() -> None:
    split, rng = splits(speakers="one")["val"], np.random.default_rng(0)
    picks = [split.pick(rng, 2, 1, 1) for _ in range(60)]
    assert {int(split.voices[p.items[0, 0]]) for p in picks} == {0, 1, 2}
    assert {int(c) for p in picks for c in p.classes} == {0, 1, 2, 3}


def test_a_task_is_a_function_of_its_number() -> None:
    sampler = Sampler.frozen(Gathered(splits()["test"], 3, 1, 2), "test", 0)
    first, again = sampler.tasks([5, 2])[1], sampler.tasks([2])[0]
    assert torch.equal(first.query.x, again.query.x)
    assert sampler.sha256(4) == sampler.sha256(4)


def test_clips_longer_than_all_recordings_are_padded() -> None:
    split = splits(seconds=50 * 512 / 16_000)["test"]
    assert split.shape == (1, MELS, 50)
    x = split.gather([split.pick(np.random.default_rng(0), 2, 1, 1)], 1)[0]
    assert np.all(np.rint(x[..., 45:] * split.scale.deviation + split.scale.mean) == 0)


def test_pictures_have_high_frequencies_at_the_top_and_grey_values() -> None:
    split = splits()["test"]
    x = torch.zeros(2, 1, MELS, 10) - split.scale.mean / split.scale.deviation  # value 0
    x[:, :, 0] = (255 - split.scale.mean) / split.scale.deviation
    drawn = split.pictures(x)
    assert drawn.shape == (2, 1, MELS, 10)
    torch.testing.assert_close(drawn[:, :, -1], torch.ones(2, 1, 10))
    torch.testing.assert_close(drawn[:, :, :-1], torch.zeros(2, 1, MELS - 1, 10))
    assert "0.3 s" in split.caption


def test_training_on_both_splits_keeps_the_clips() -> None:
    made = splits()
    both = joined(made["train"], made["val"])
    assert isinstance(both, Recordings) and len(both.names) == 8 and both.clips == 1


def test_clips_of_another_length_than_trained_are_refused() -> None:
    split = splits()["test"]
    assert as_trained(split, (1, MELS, 10), "x") is split
    with pytest.raises(Refused, match="trained on pictures of 1×4×12"):
        as_trained(split, (1, 4, 12), "x")


def test_an_audit_compares_recordings_for_equality_only() -> None:
    """Two takes of a word are alike as pictures; that is no mistake of the data."""
    assert [finding.name for finding in find_copies(splits())] == ["copies"]
