"""Parts of pictures are found, whatever their size, position and encoding, and no others."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from metarun.checks import crops
from metarun.checks.copies import find_copies
from metarun.checks.pictures import Pictures
from metarun.data.classes import Images, select
from tests.checks.test_copies import encoded, noise, photographs, strokes

SIDE = 64


def part_of(picture: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """A square part, with this share of the side, scaled to the size of the picture."""
    width = round(len(picture[0]) * share)
    top, left = rng.integers(0, len(picture[0]) - width + 1, 2)
    square = Image.fromarray(picture.transpose(1, 2, 0)).crop(
        (left, top, left + width, top + width)
    )
    scaled = square.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(scaled).transpose(2, 0, 1)


def small(pictures: np.ndarray) -> np.ndarray:
    return np.stack([part_of(picture, 1, np.random.default_rng(0)) for picture in pictures])


def two_splits(train: np.ndarray, test: np.ndarray) -> dict:
    data = Images.of(np.concatenate([train, test]), ["a", "b"], [len(train), len(test)])
    return {"train": select(data, ["a"]), "test": select(data, ["b"])}


def pairs(train: np.ndarray, test: np.ndarray) -> set[tuple[int, ...]] | None:
    """The pairs of numbers that are found, smaller first."""
    found = crops.crops(Pictures(two_splits(train, test)))
    return None if found is None else {tuple(sorted(pair)) for pair in found}


@pytest.mark.parametrize("share", [0.5, 0.6, 0.75, 0.9])
def test_crops_of_any_position_are_found_after_encoding(share: float) -> None:
    photos, rng = photographs(40, 128), np.random.default_rng(1)
    parts = encoded(np.stack([part_of(p, share, rng) for p in photos[:10]]), 75)
    found = pairs(small(photos), parts)
    assert found <= {(k, 40 + k) for k in range(10)}
    assert len(found) >= 9


def test_crops_with_other_brightness_and_contrast_are_found() -> None:
    photos, rng = photographs(40, 128), np.random.default_rng(2)
    parts = np.stack([part_of(p, 0.7, rng) for p in photos[:5]])
    assert pairs(small(photos), parts // 2 + 90) == {(k, 40 + k) for k in range(5)}


def test_two_parts_of_a_picture_are_no_crops_of_each_other() -> None:
    photos = photographs(20, 128)
    assert pairs(photos[:, :, :SIDE, :SIDE].copy(), photos[:, :, SIDE:, SIDE:].copy()) == set()


@pytest.mark.parametrize("pictures", [noise(60, SIDE), photographs(60, SIDE), strokes(60, SIDE)])
def test_different_pictures_are_no_crops(pictures: np.ndarray) -> None:
    assert pairs(pictures[:30], pictures[30:]) == set()


def test_pictures_that_are_all_alike_are_not_searched() -> None:
    """As X-rays are: here, pictures that differ little from one picture."""
    alike = (photographs(1, SIDE) * 0.7 + photographs(40, SIDE, 1) * 0.3).astype(np.uint8)
    assert pairs(alike[:20], alike[20:]) is None
    finding = find_copies(two_splits(alike[:20], alike[20:]))[2]
    assert (finding.status, finding.text) == (
        "measured",
        "not searched: different pictures are too much alike",
    )


def test_small_pictures_are_not_searched() -> None:
    finding = find_copies(two_splits(noise(5), noise(5, seed=1)))[2]
    assert (finding.status, finding.text) == (
        "measured",
        "not searched: pictures are smaller than 32×32",
    )


def test_a_class_that_is_cropped_from_a_class_of_another_split_is_named() -> None:
    """As in Caltech 101, whose Faces_easy are crops of the photographs in Faces."""
    photos, rng = photographs(30, 128), np.random.default_rng(3)
    faces = np.stack([part_of(p, 0.6, rng) for p in photos[:20]])
    data = Images.of(np.concatenate([small(photos), faces]), ["Faces", "Faces_easy"], [30, 20])
    splits = {"train": select(data, ["Faces"]), "test": select(data, ["Faces_easy"])}
    finding = find_copies(splits)[2]
    assert (finding.name, finding.status) == ("crops", "measured")
    count = finding.values["across"]["train and test"]
    assert count >= 18
    assert f"pairs in two splits: Faces ~ Faces_easy: {count}" in finding.text


def test_more_than_one_percent_of_crops_in_a_split_fail() -> None:
    photos, rng = photographs(40, 128), np.random.default_rng(4)
    parts = np.stack([part_of(p, 0.6, rng) for p in photos[:4]])
    data = Images.of(np.concatenate([small(photos), parts]), ["a", "b"], [40, 4])
    finding = find_copies({"test": select(data, ["a", "b"])})[2]
    assert finding.status == "failed"
    assert finding.text.startswith("a part of another one: 8 of 44 pictures of test (")


def test_of_many_pictures_a_sample_is_compared_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    photos, rng = photographs(20, 128), np.random.default_rng(5)
    parts = np.stack([part_of(p, 0.7, rng) for p in photos])
    monkeypatch.setattr("metarun.checks.crops.QUERIES", 10)
    finding = find_copies(two_splits(small(photos), parts))[2]
    assert finding.values["pictures"] == {"train": 5, "test": 5}
    assert finding.values["across"]["train and test"] >= 4
    assert finding.text.endswith("; 10 of 40 pictures were compared with all others")


def test_the_number_of_comparisons_is_bounded() -> None:
    for count, expected in ((10, 10), (5_000, 1000), (160_000, 1000), (800_000, 200)):
        numbers = crops.queries(range(count))
        assert len(numbers) == len(np.unique(numbers)) == expected
        assert numbers.max() < count
        assert numbers.max() >= count - count / expected
