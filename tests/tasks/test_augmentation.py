"""Training pictures are changed as said, each by its own draw; test pictures never are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as TF
import yaml
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


def pictures(items: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(items).random((items, *shape), np.float32))


def augmented(x: torch.Tensor, seed: int = 0, **keys: object) -> torch.Tensor:
    augment = ImageAugmentation(tuple(x.shape[1:]), **{**STILL, **keys})
    return augment(x, augment.draw(np.random.default_rng(seed), len(x)))


moves = st.lists(
    st.tuples(st.integers(-5, 5), st.integers(-5, 5), st.booleans()), min_size=1, max_size=4
)


@given(moves, st.integers(1, 3))
@settings(max_examples=50, deadline=None)
def test_a_crop_and_a_mirror_image_are_slices_to_the_bit(moves: list, channels: int) -> None:
    x = pictures(len(moves), channels, 9, 7)
    down, right, mirrored = (np.array(part) for part in zip(*moves, strict=True))
    found = shifted(x, down, right, mirrored)
    for picture, (d, r, flip), seen in zip(x.numpy(), moves, found.numpy(), strict=True):
        window = np.pad(picture, ((0, 0), (5, 5), (5, 5)))[:, 5 + d : 14 + d, 5 + r : 12 + r]
        np.testing.assert_array_equal(seen, window[..., ::-1] if flip else window)


@given(moves)
@settings(max_examples=50, deadline=None)
def test_without_an_angle_turning_only_shifts(moves: list) -> None:
    x = pictures(len(moves), 3, 9, 7)
    down, right, mirrored = (np.array(part) for part in zip(*moves, strict=True))
    found = turned(x, np.zeros(len(x)), down, right, mirrored)
    torch.testing.assert_close(found, shifted(x, down, right, mirrored), rtol=0, atol=2e-6)


def test_a_picture_is_turned_as_torchvision_turns_it_and_then_shifted() -> None:
    x = pictures(6, 3, 20, 17)
    degrees = np.array([0.0, 30, -70, 90, 180, 10])
    down, right = np.array([0, 0, 0, 0, 0, 3]), np.array([0, 0, 0, 0, 0, -2])
    mirrored = np.array([0, 0, 0, 0, 0, 1], bool)
    found = turned(x, np.deg2rad(degrees), down, right, mirrored)
    bilinear = TF.InterpolationMode.BILINEAR
    expected = torch.stack(
        [TF.rotate(p, a, bilinear) for p, a in zip(x, degrees.tolist(), strict=True)]
    )
    # A window into a turned picture shows what the turn would have cut off, hence a wider canvas.
    wide = TF.rotate(TF.pad(x[5], 10), 10.0, bilinear)[:, 13:33, 8:25]
    expected[5] = wide.flip(-1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_colours_change_as_torchvision_changes_them(channels: int) -> None:
    x = pictures(5, channels, 6, 6)
    factors = np.random.default_rng(1).uniform(0, 2, (5, 3))
    for picture, (brightness, contrast, saturation), found in zip(
        x, factors, jittered(x, factors), strict=True
    ):
        expected = TF.adjust_contrast(TF.adjust_brightness(picture, brightness), contrast)
        expected = TF.adjust_saturation(expected, saturation)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_factors_of_one_change_nothing() -> None:
    x = pictures(3, 3, 5, 5)
    assert torch.equal(jittered(x, np.ones((3, 3))), x)
    assert torch.equal(augmented(x), x)


@pytest.mark.parametrize("key", ["crop", "flip", "jitter", "rotation"])
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_key_acts_by_itself_within_the_range(key: str, channels: int, dtype: object) -> None:
    value = {"crop": 4, "flip": True, "jitter": 1.0, "rotation": 30}[key]
    x = pictures(40, channels, 8, 9).to(dtype)
    found = augmented(x, **{key: value})
    assert (found.shape, found.dtype) == (x.shape, x.dtype)
    assert found.min() >= 0 and found.max() <= 1
    changed = (found != x).flatten(1).any(1).double().mean()
    assert 0.2 < changed < 0.8 if key == "flip" else changed > 0.9


def test_a_shift_reaches_as_far_as_it_may_and_no_further() -> None:
    x = torch.zeros(2000, 1, 9, 9)
    x[:, 0, 4, 4] = 1
    where = augmented(x, crop=3).flatten(2).argmax(-1)
    assert set((where // 9).ravel().tolist()) == set((where % 9).ravel().tolist()) == {*range(1, 8)}
    assert np.bincount((where // 9).ravel())[1:].min() > 220  # 286 expected


def test_a_picture_depends_on_its_own_draw_alone() -> None:
    x = pictures(6, 3, 12, 12)
    augment = ImageAugmentation((3, 12, 12), crop=4, rotation=20)
    drawn = augment.draw(np.random.default_rng(0), 6)
    together = augment(x, drawn)
    for k in range(6):
        assert torch.equal(augment(x[k : k + 1], drawn[k : k + 1])[0], together[k])


def test_the_input_is_left_as_it_was() -> None:
    x = pictures(6, 3, 12, 12)
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
def test_a_wrong_key_is_named(key: str, value: object, line: str) -> None:
    with pytest.raises(Refused) as refused:
        blueprint("augmentation", {"_target_": TARGET, **STILL, key: value})
    (found,) = refused.value.mistakes
    assert found.startswith(line)


def test_what_are_no_pictures_is_refused() -> None:
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


def test_the_protocol_says_what_training_pictures_went_through(metarun: Metarun) -> None:
    metarun(*TINY, "out=plain")
    assert protocol("plain")["augmentation"] == "none"
    assert metarun(*TINY, "augmentation=images", "augmentation.rotation=10", "out=run")[0] == 0
    found = protocol("run")
    expected = {"images": {"crop": 4, "flip": True, "jitter": 0.4, "rotation": 10}}
    assert found["augmentation"] == expected
    assert found["normalisation"].startswith("uint8 / 255")
    assert found["episodes_sha256"] == protocol("plain")["episodes_sha256"]
    assert metarun("evaluate", "run=run", "name=again", *TINY[:2])[0] == 0
    assert protocol("run/evaluations/again") == found


def test_training_differs_and_a_resumed_run_is_the_same_to_the_bit(metarun: Metarun) -> None:
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


def test_resume_does_not_change_it_and_evaluate_does_not_either(metarun: Metarun) -> None:
    metarun(*TINY, "augmentation=images", "out=run")
    for command in (("resume=run", "steps=9"), ("evaluate", "run=run")):
        for typed in ("augmentation=none", "augmentation.crop=1"):
            code, _, err = metarun(*command, typed, *TINY[:2])
            assert (code, len(err)) == (2, 1)
            assert err[0].startswith(f"metarun: {typed.partition('=')[0]}: ")
    file = Path("run/config.yaml")
    file.write_text(file.read_text().replace("crop: 4", "crop: 2"))
    code, _, err = metarun("resume=run", "steps=9", *TINY[:2])
    assert code == 2
    assert err == [f"metarun: {file}: augmentation.crop=2: the run was trained with 4"]


def test_a_run_of_before_there_was_any_can_still_be_tested_and_goes_on(metarun: Metarun) -> None:
    metarun(*TINY, "out=run")
    file, last = Path("run/config.yaml"), Path("run/checkpoints/last.pt")
    before = yaml.safe_load(file.read_text())
    del before["augmentation"], before["choices"]["augmentation"]
    file.write_text(yaml.safe_dump(before))
    checkpoint.save(last, {**checkpoint.load_state(last), "config": before})
    assert metarun("evaluate", "run=run", "name=again", *TINY[:2])[0] == 0
    assert protocol("run/evaluations/again")["augmentation"] == "none"
    assert metarun("resume=run", "steps=5", *TINY[:2])[0] == 0
