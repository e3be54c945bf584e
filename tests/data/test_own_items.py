"""Items of the user are prepared as those of the data set are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metarun.data.banking77 import BANKING77
from metarun.data.cifar100 import Cifar100
from metarun.data.glyphs import Glyphs
from metarun.data.image_folder import ImageFolder
from metarun.data.medmnist import MedMNIST
from metarun.data.mini_imagenet_to_cub import MiniImageNetToCUB
from metarun.data.omniglot import Omniglot
from metarun.data.preparation.omniglot_images import nearest, shrink
from metarun.data.preparation.pixels import Broken, Span
from metarun.data.published_folder import PublishedFolder

PICTURES = {
    "image_folder": (lambda **places: ImageFolder(**places, size=20, colour=False), (1, 20, 20)),
    "cub": (lambda **places: PublishedFolder(**places, name="cub", size=20), (3, 20, 20)),
    "mini_imagenet_to_cub": (lambda **places: MiniImageNetToCUB(**places, size=20), (3, 20, 20)),
    "cifar": (Cifar100, (3, 32, 32)),
    "medmnist": (lambda **places: MedMNIST(**places, colour=False), (1, 28, 28)),
    "omniglot": (Omniglot, (1, 28, 28)),
    "glyphs": (lambda root, cache: Glyphs(cache=cache), (1, 28, 28)),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_of_any_size_are_prepared_and_broken_ones_named(name: str, tmp_path: Path) -> None:
    make, shape = PICTURES[name]
    Image.new("RGB", (60, 45), "white").save(tmp_path / "white.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    data = make(root=str(tmp_path), cache=str(tmp_path / "cache"))
    white, broken = data.prepare_own([str(tmp_path / "white.png"), str(tmp_path / "broken.jpg")])
    assert (white.shape, white.dtype, data.own_items) == (shape, np.uint8, "pictures")
    assert (white == (0 if name in ("omniglot", "glyphs") else 255)).all()  # paper is 0
    assert isinstance(broken, Broken)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_pictures_of_a_folder_are_prepared_as_in_training(tmp_path: Path) -> None:
    rng, files = np.random.default_rng(0), []
    for name in "abcdef":
        for number in range(2):
            file = tmp_path / "pictures" / name / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 4096, (30, 24), np.uint16)).save(file)
            files.append(file)
    places = {"root": str(tmp_path / "pictures"), "cache": str(tmp_path / "cache")}
    data = ImageFolder(**places, size=16, colour=False)
    split = data.load()["train"]
    assert split.notes["range"] == [0, 4095]
    own = data.prepare_own(list(map(str, files)), Span(0, 4095))
    np.testing.assert_array_equal(np.stack(own), split.items)
    typed = ImageFolder(**places, size=16, colour=False, pixel_range=[0, 4095])
    np.testing.assert_array_equal(np.stack(typed.prepare_own(list(map(str, files)))), split.items)


@pytest.mark.parametrize(("resize", "reduced"), [("area", shrink), ("nearest", nearest)])
def test_drawings_are_prepared_as_those_of_omniglot(tmp_path, resize, reduced) -> None:
    ink = np.random.default_rng(0).random((1, 105, 105)) < 0.2
    Image.fromarray(~ink[0]).save(tmp_path / "drawing.png")
    data = Omniglot(root=str(tmp_path), cache=str(tmp_path), resize=resize)
    (item,) = data.prepare_own([str(tmp_path / "drawing.png")])
    np.testing.assert_array_equal(item, reduced(ink))


def test_sentences_become_vectors_of_n_grams(tmp_path: Path) -> None:
    data = BANKING77(root=str(tmp_path), cache=str(tmp_path), features=64)
    same, again, other = data.prepare_own(["my card", "my card", "a loan"])
    assert (same.shape, data.own_items) == ((64,), "sentences")
    assert (same == again).all() and (same != other).any()
