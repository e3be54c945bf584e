"""Augmentation changes training images as configured, and never test images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as TF
from hypothesis import given, settings
from hypothesis import strategies as st

from metarun.config.instantiate import blueprint
from metarun.errors import Refused
from metarun.runs import checkpoint
from metarun.tasks.augmentation import ImageAugmentation, jittered, shifted, turned
from tests.conftest import TINY, signal_in_step

Metarun = Callable[..., tuple[int, str, list[str]]]
TARGET = "metarun.tasks.augmentation.ImageAugmentation"
STILL = {"crop": 0, "flip": False, "jitter": 0.0, "rotation": 0.0}


def images(items: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(items).random((items, *shape), np.float32))


def augmented(x: torch.Tensor, seed: int = 0, **keys: object) -> torch.Tensor:
    augment = ImageAugmentation(tuple(x.shape[1:]), **{**STILL, **keys})
    return augment(x, augment.draw(np.random.default_rng(seed), len(x)))


moves = st.lists(
    st.tuples(st.integers(-5, 5), st.integers(-5, 5), st.booleans()), min_size=1, max_size=4
)


@given(moves, st.integers(1, 3))
@settings(max_examples=50, deadline=None)
def test_crop_and_flip_are_exact_slices(moves: list, channels: int) -> None:
    x = images(len(moves), channels, 9, 7)
    down, right, mirrored = (np.array(part) for part in zip(*moves, strict=True))
    outputs = shifted(x, down, right, mirrored).numpy()
    for image, (d, r, flip), output in zip(x.numpy(), moves, outputs, strict=True):
        window = np.pad(image, ((0, 0), (5, 5), (5, 5)))[:, 5 + d : 14 + d, 5 + r : 12 + r]
        np.testing.assert_array_equal(output, window[..., ::-1] if flip else window)


@given(moves)
@settings(max_examples=50, deadline=None)
def test_rotation_by_zero_only_shifts(moves: list) -> None:
    x = images(len(moves), 3, 9, 7)
    down, right, mirrored = (np.array(part) for part in zip(*moves, strict=True))
    actual = turned(x, np.zeros(len(x)), down, right, mirrored)
    torch.testing.assert_close(actual, shifted(x, down, right, mirrored), rtol=0, atol=2e-6)


def test_rotation_agrees_with_torchvision() -> None:
    x = images(6, 3, 20, 17)
    degrees = np.array([0.0, 30, -70, 90, 180, 10])
    down, right = np.array([0, 0, 0, 0, 0, 3]), np.array([0, 0, 0, 0, 0, -2])
    mirrored = np.array([0, 0, 0, 0, 0, 1], bool)
    actual = turned(x, np.deg2rad(degrees), down, right, mirrored)
    bilinear = TF.InterpolationMode.BILINEAR
    expected = torch.stack(
        [TF.rotate(p, a, bilinear) for p, a in zip(x, degrees.tolist(), strict=True)]
    )
    # The shifted window contains pixels that rotation would cut off, so the image is padded first.
    wide = TF.rotate(TF.pad(x[5], 10), 10.0, bilinear)[:, 13:33, 8:25]
    expected[5] = wide.flip(-1)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_colour_jitter_agrees_with_torchvision(channels: int) -> None:
    x = images(5, channels, 6, 6)
    factors = np.random.default_rng(1).uniform(0, 2, (5, 3))
    for image, (brightness, contrast, saturation), actual in zip(
        x, factors, jittered(x, factors), strict=True
    ):
        expected = TF.adjust_contrast(TF.adjust_brightness(image, brightness), contrast)
        expected = TF.adjust_saturation(expected, saturation)
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6)


def test_factors_of_one_change_nothing() -> None:
    x = images(3, 3, 5, 5)
    assert torch.equal(jittered(x, np.ones((3, 3))), x)
    assert torch.equal(augmented(x), x)


@pytest.mark.parametrize("key", ["crop", "flip", "jitter", "rotation"])
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_key_works_alone_and_outputs_stay_in_range(
    key: str, channels: int, dtype: object
) -> None:
    value = {"crop": 4, "flip": True, "jitter": 1.0, "rotation": 30}[key]
    x = images(40, channels, 8, 9).to(dtype)
    output = augmented(x, **{key: value})
    assert (output.shape, output.dtype) == (x.shape, x.dtype)
    assert output.min() >= 0 and output.max() <= 1
    changed = (output != x).flatten(1).any(1).double().mean()
    assert 0.2 < changed < 0.8 if key == "flip" else changed > 0.9


def test_all_shifts_up_to_the_maximum_occur() -> None:
    x = torch.zeros(2000, 1, 9, 9)
    x[:, 0, 4, 4] = 1
    position = augmented(x, crop=3).flatten(2).argmax(-1).ravel()
    rows, columns = position // 9, position % 9
    assert set(rows.tolist()) == set(columns.tolist()) == set(range(1, 8))
    assert np.bincount(rows)[1:].min() > 220  # 286 expected


def test_each_image_depends_only_on_its_own_draws() -> None:
    x = images(6, 3, 12, 12)
    augment = ImageAugmentation((3, 12, 12), crop=4, rotation=20)
    draws = augment.draw(np.random.default_rng(0), 6)
    batch = augment(x, draws)
    for k in range(6):
        assert torch.equal(augment(x[k : k + 1], draws[k : k + 1])[0], batch[k])


def test_the_input_is_not_modified() -> None:
    x = images(6, 3, 12, 12)
    before = x.clone()
    augmented(x, crop=4, flip=True, jitter=0.4, rotation=20)
    augmented(x, jitter=0.4)
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("crop", -1, "augmentation.crop=-1: should be greater than or equal to 0"),
        ("crop", 1.5, "augmentation.crop=1.5: should be a valid integer"),
        ("flip", 1, "augmentation.flip=1: should be a valid boolean"),
        ("jitter", 1.1, "augmentation.jitter=1.1: should be less than or equal to 1"),
        ("jitter", float("nan"), "augmentation.jitter=nan: should be a finite number"),
        ("rotation", -5, "augmentation.rotation=-5: should be greater than or equal to 0"),
        ("rotation", 181, "augmentation.rotation=181: should be less than or equal to 180"),
        ("colour", 1, "augmentation.colour: no such key"),
    ],
)
def test_invalid_values_and_unknown_keys_are_named(key: str, value: object, line: str) -> None:
    with pytest.raises(Refused) as refused:
        blueprint("augmentation", {"_target_": TARGET, **STILL, key: value})
    (mistake,) = refused.value.mistakes
    assert mistake.startswith(line)


def test_unsuitable_items_are_refused() -> None:
    with pytest.raises(Refused, match=r"^augmentation: takes pictures .* the data has \(7,\)"):
        ImageAugmentation((7,))
    with pytest.raises(Refused, match=r"^augmentation.crop=6: for pictures of 10×20 .* at most 5$"):
        ImageAugmentation((1, 10, 20), crop=6)


def test_regression_is_refused_and_leaves_no_folder(metarun: Metarun) -> None:
    words = ("algo=maml", "data=sinusoid", "debug=tiny", "out=run")
    code, _, err = metarun(*words, "augmentation=images")
    assert (code, len(err)) == (2, 1)
    assert err[0].startswith("metarun: augmentation: takes pictures (C, H, W), the data has (1,)")
    assert not Path("run").exists()


def protocol(run: str) -> dict:
    return json.loads(Path(run, "result.json").read_text())["protocol"]


def test_the_protocol_contains_the_augmentation(metarun: Metarun) -> None:
    metarun(*TINY, "out=plain")
    assert protocol("plain")["augmentation"] == "none"
    assert metarun(*TINY, "augmentation=images", "augmentation.rotation=10", "out=run")[0] == 0
    entry = protocol("run")
    expected = {"images": {"crop": 4, "flip": True, "jitter": 0.4, "rotation": 10}}
    assert entry["augmentation"] == expected
    assert entry["normalisation"].startswith("uint8 / 255")
    assert entry["episodes_sha256"] == protocol("plain")["episodes_sha256"]
    assert metarun("evaluate", "run=run", "name=again", *TINY[:2])[0] == 0
    assert protocol("run/evaluations/again") == entry


def test_augmentation_changes_training_and_resumed_runs_are_bitwise_equal(metarun: Metarun) -> None:
    words = [*TINY, "augmentation=images", "augmentation.rotation=10", "steps=5"]
    metarun(*TINY, "steps=5", "out=plain")
    metarun(*words, "out=whole")
    with pytest.MonkeyPatch.context() as patch:
        signal_in_step(patch, 3)
        assert metarun(*words, "out=halves")[0] == 130
    assert metarun("resume=halves", *TINY[:2])[0] == 0
    plain, whole, halves = (
        checkpoint.load_state(Path(run, "checkpoints/last.pt"))["learner"]
        for run in ("plain", "whole", "halves")
    )
    assert all(torch.equal(whole[k], halves[k]) for k in whole)
    assert not all(torch.equal(whole[k], plain[k]) for k in whole)


def test_resume_and_evaluate_cannot_change_the_augmentation(metarun: Metarun) -> None:
    metarun(*TINY, "augmentation=images", "out=run")
    for command in (("resume=run", "steps=9"), ("evaluate", "run=run")):
        for override in ("augmentation=none", "augmentation.crop=1"):
            code, _, err = metarun(*command, override, *TINY[:2])
            assert (code, len(err)) == (2, 1)
            assert err[0].startswith(f"metarun: {override.partition('=')[0]}: ")
    file = Path("run/config.yaml")
    file.write_text(file.read_text().replace("crop: 4", "crop: 2"))
    code, _, err = metarun("resume=run", "steps=9", *TINY[:2])
    assert code == 2
    assert err == [f"metarun: {file}: augmentation.crop=2: the run was trained with 4"]
