"""Planted copies and near-copies are found, and no others."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from metarun.checks.copies import MAX_PICTURES, find_copies
from metarun.checks.likeness import codes, fine_detail, near_copies, similar_codes, threshold
from metarun.data.classes import Images, select
from metarun.data.sinusoid import Waves


def noise(count: int, side: int = 28, channels: int = 3, seed: int = 0) -> np.ndarray:
    shape = (count, channels, side, side)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def strokes(count: int, side: int = 28, seed: int = 0) -> np.ndarray:
    """Three thick lines per picture: drawings that are highly correlated."""
    rng, images = np.random.default_rng(seed), []
    y, x = np.mgrid[:side, :side] / side
    for _ in range(count):
        image = np.zeros((side, side))
        for angle, offset in zip(rng.uniform(0, np.pi, 3), rng.uniform(-0.3, 0.3, 3), strict=True):
            distance = (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle) - offset
            image = np.maximum(image, 255 * np.exp(-((distance * side / 2) ** 2)))
        images.append(image[None])
    return np.stack(images).astype(np.uint8)


def photographs(count: int, side: int = 64, seed: int = 0) -> np.ndarray:
    """Noise with the spectrum of photographs: an amplitude of 1 / frequency."""
    rng, axis = np.random.default_rng(seed), np.fft.fftfreq(side)
    frequency = np.maximum(np.hypot(axis[:, None], axis), 1 / side)
    shape = (count, 3, side, side)
    noise = rng.normal(size=shape) * 0.4 + rng.normal(size=(count, 1, side, side))
    pictures = np.fft.ifft2(np.fft.fft2(noise) / frequency).real
    pictures /= pictures.std((1, 2, 3), keepdims=True)
    return np.clip(128 + 50 * pictures, 0, 255).astype(np.uint8)


def encoded(pictures: np.ndarray, quality: int) -> np.ndarray:
    """The pictures after JPEG compression."""
    decoded = []
    for picture in pictures:
        buffer = io.BytesIO()
        Image.fromarray(np.squeeze(picture.transpose(1, 2, 0))).save(
            buffer, "JPEG", quality=quality
        )
        array = np.atleast_3d(np.asarray(Image.open(buffer)))
        decoded.append(array.transpose(2, 0, 1))
    return np.stack(decoded)


def splits(items: np.ndarray, classes: int = 6) -> dict:
    """Three splits with equal numbers of classes."""
    names = [f"c{k}" for k in range(classes)]
    data = Images.of(items, names, [len(items) // classes] * classes)
    third = classes // 3
    names_of = {"train": names[:third], "val": names[third : 2 * third], "test": names[2 * third :]}
    return {split: select(data, classes_of_split) for split, classes_of_split in names_of.items()}


def verdicts(items: np.ndarray) -> dict[str, str]:
    return {finding.name: finding.status for finding in find_copies(splits(items))}


@pytest.mark.parametrize("items", [noise(120), noise(60, 84), strokes(240)])
def test_different_pictures_pass(items: np.ndarray) -> None:
    found = verdicts(items)
    assert (found["copies"], found["near-copies"]) == ("passed", "passed")


def test_duplicated_pictures_fail_and_their_classes_are_named() -> None:
    equal, similar, _ = find_copies(splits(np.repeat(noise(60), 2, axis=0)))
    assert equal.status == "failed"
    assert "20 of 40 items of test equal another item of their class, to the byte" in equal.text
    assert "c4: 10, c5: 10" in equal.text
    assert equal.values["test"] == {"items": 40, "within_classes": 20, "between_classes": 0}
    assert similar.status == "passed"


def test_a_class_with_only_pictures_of_another_class_fails() -> None:
    items = noise(1200, 8, 1)
    items[20:22] = items[0:2]
    data = Images.of(items, [f"c{k}" for k in range(600)], [2] * 600)
    equal = find_copies({"test": select(data, data.names)})[0]
    assert equal.status == "failed"
    assert "4 of 1200 items of test are in another class too" in equal.text
    assert "c0 = c10: 2" in equal.text


def test_one_copy_among_many_items_is_measured() -> None:
    items = noise(600, 8, 1)
    items[1] = items[0]
    assert verdicts(items)["copies"] == "measured"


@pytest.mark.parametrize("quality", [95, 85, 75])
@pytest.mark.parametrize(
    "pictures", [noise(60), noise(60, 84), strokes(60)], ids=["noise", "large noise", "strokes"]
)
def test_pictures_that_were_encoded_again_are_found(pictures: np.ndarray, quality: int) -> None:
    again = encoded(pictures, quality)
    interleaved = np.stack([pictures, again], 1).reshape(-1, *pictures.shape[1:])
    equal, similar, _ = find_copies(splits(interleaved))
    assert equal.status == "passed"
    assert similar.status == "failed"
    assert similar.values["alike"] == {"train": 40, "val": 40, "test": 40}
    assert "pairs within a class: c0: 10, c1: 10, c2: 10 and 3 more" in similar.text


def test_near_copies_in_two_splits_are_counted() -> None:
    items = noise(60)
    items[40:42] = encoded(items[:2], 90)
    similar = find_copies(splits(items))[1]
    assert similar.status == "measured"
    assert similar.values["across"] == {"train and test": 2}
    assert "c0/0 ~ c4/0" in similar.text


@pytest.mark.parametrize("channels", [1, 3])
def test_large_data_sets_are_compared_in_classes_and_by_codes(
    monkeypatch: pytest.MonkeyPatch, channels: int
) -> None:
    items = photographs(60, 40)[:, :channels]
    items[1], items[41] = encoded(items[:1], 90)[0], encoded(items[2:3], 90)[0]
    monkeypatch.setattr("metarun.checks.copies.MAX_PICTURES", 50)
    similar = find_copies(splits(items))[1]
    assert similar.values["alike"] == {"train": 2, "val": 0, "test": 0}
    assert similar.values["across"] == {"train and test": 1}
    assert "pairs in two splits: c0 ~ c4: 1" in similar.text
    assert "pictures of different classes were compared if their codes are similar" in similar.text
    assert MAX_PICTURES > 50


def test_data_without_classes_or_pictures_is_skipped() -> None:
    assert find_copies({"train": Waves(), "test": Waves()}) == []
    vectors = Images.of(np.random.default_rng(0).random((6, 9), np.float32), ["a", "b"], [3, 3])
    assert [f.name for f in find_copies({"test": select(vectors, "ab")})] == ["copies"]


def test_fine_detail_agrees_with_scipy() -> None:
    from scipy.ndimage import uniform_filter

    grey = noise(1, 20, 1)[0, 0].astype(float)
    expected = (grey - uniform_filter(grey, 5))[2:-2, 2:-2]
    detail = fine_detail(noise(1, 20, 1)).view(20, 20)[2:-2, 2:-2].double().numpy()
    assert np.allclose(detail / np.linalg.norm(detail), expected / np.linalg.norm(expected))


def test_pictures_of_one_colour_have_no_near_copies() -> None:
    flat = np.stack([np.full((1, 8, 8), v, np.uint8) for v in (0, 7, 255)])
    assert list(near_copies(fine_detail(flat), 0.6)) == []


def test_blockwise_pairs_agree_with_the_full_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metarun.checks.likeness.BLOCK", 7)
    rows = torch.nn.functional.normalize(torch.randn(40, 3, generator=torch.manual_seed(0)))
    expected = torch.nonzero(torch.triu(rows @ rows.T >= 0.8, 1)).tolist()
    assert sorted(near_copies(rows, 0.8)) == [tuple(pair) for pair in expected]


def test_the_threshold_increases_with_the_correlation_of_pictures() -> None:
    assert threshold(fine_detail(noise(100)).split(20)) == pytest.approx(0.65, abs=0.1)
    pictures = strokes(1) // 2 + noise(100, channels=1) // 4
    assert threshold(fine_detail(pictures).split(20)) == pytest.approx(0.95)
    assert threshold(fine_detail(noise(3)).split(1)) == pytest.approx(0.95)


def test_codes_of_pictures_that_were_encoded_again_are_similar() -> None:
    """Also scaled, and with other brightness and contrast."""
    photos = photographs(200)
    halved = photos.reshape(200, 3, 32, 2, 32, 2).mean((3, 5)).astype(np.uint8)
    for again in (encoded(photos, 75), photos // 2 + 60):
        found = similar_codes(np.concatenate([codes(photos), codes(again)])).tolist()
        assert sum([k, 200 + k] in found for k in range(200)) >= 195
    found = similar_codes(np.concatenate([codes(photos), codes(halved)])).tolist()
    assert sum([k, 200 + k] in found for k in range(200)) >= 195


def test_codes_of_different_pictures_are_rarely_similar() -> None:
    assert len(similar_codes(codes(photographs(1000, 32)))) < 10


def test_the_number_of_similar_codes_is_bounded() -> None:
    """Of a million equal codes, not all pairs are compared."""
    equal = np.zeros((1000, 5), np.uint32)
    pairs = similar_codes(equal)
    assert len(pairs) <= 1000 * 8
    assert {0, 999} <= set(pairs.ravel().tolist())
    assert similar_codes(equal[:1]).shape == similar_codes(equal[:0]).shape == (0, 2)
