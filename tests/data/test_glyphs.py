"""The default data set: distinguishable letters, reproducible drawings, suitable difficulty."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import unicodedata

import numpy as np
import pytest

from metarun.data import glyphs as module
from metarun.data.classes import Facts
from metarun.data.glyphs import ALPHABETS, SPLITS, Glyphs, drawings, find_classes
from metarun.data.preparation import lettering
from metarun.data.preparation.distortion import SIZE, SOURCE, Strength, coordinates, sample
from metarun.errors import Refused

STILL = Strength(turn=0, shear=0, extent=(28, 28), aspect=0, shift=0, bend=0)


@pytest.fixture(scope="module")
def classes():
    return find_classes()


def test_more_than_a_thousand_letters_of_many_scripts(glyphs):
    names = [name for split in glyphs.values() for name in split.names]
    assert len(set(names)) == len(names) > 1000
    assert len({name.split("/")[0] for name in names}) == len(ALPHABETS) == 15
    sizes = {split: len(s.names) / len(names) for split, s in glyphs.items()}
    assert 0.55 < sizes["train"] < 0.7
    assert min(sizes["val"], sizes["test"]) > 0.1
    for split in glyphs.values():
        assert split.facts.smallest == 20
        assert split.shape == (1, 28, 28)
        assert split.items.dtype == np.uint8


def test_a_class_is_named_after_a_letter_of_its_alphabet(glyphs):
    """Checks the Unicode names; some Latin ones (TURNED SMALL F) do not contain the script."""
    words = {alphabet: alphabet.upper().replace("_", " ") for alphabet in ALPHABETS.values()}
    for split in glyphs.values():
        for name in split.names:
            alphabet, point = name.split("/")
            letter = unicodedata.name(chr(int(point, 16)))
            named_alphabets = {a for a, word in words.items() if letter.startswith(word)}
            assert named_alphabets == {alphabet} or (alphabet == "Latin" and not named_alphabets)


def test_no_alphabet_is_in_two_splits(glyphs):
    seen = [{name.split("/")[0] for name in split.names} for split in glyphs.values()]
    assert sum(map(len, seen)) == len(set.union(*seen))
    assert [set(SPLITS[name]) for name in glyphs] == seen


def test_letters_with_one_outline_are_one_class(glyphs):
    names = {name for split in glyphs.values() for name in split.names}
    for one, others in {
        "Latin/0041": ["Greek/0391", "Cyrillic/0410"],
        "Latin/004F": ["Latin/006F"],
    }.items():
        assert one in names
        assert not names & set(others)


def test_no_two_classes_share_an_outline_in_a_face_that_draws_them(classes):
    """Compares the outlines in the fonts, not the bitmaps by which classes are merged."""
    from fontTools.pens.recordingPen import DecomposingRecordingPen
    from fontTools.ttLib import TTFont

    fonts: dict[str, TTFont] = {}
    glyphsets = {}
    owner: dict[tuple[str, str], int] = {}
    for point, (_, faces) in classes.items():
        for face in faces:
            name = face.path.name
            if name not in fonts:
                fonts[name] = TTFont(face.path, lazy=True)
                glyphsets[name] = fonts[name].getGlyphSet()
            pen = DecomposingRecordingPen(glyphsets[name])
            glyphsets[name][fonts[name].getBestCmap()[point]].draw(pen)
            assert pen.value, f"{name} draws nothing for U+{point:04X}"
            assert owner.setdefault((name, str(pen.value)), point) == point
    for font in fonts.values():
        font.close()


def test_overlap_depends_on_shape_not_on_size_or_position():
    o = np.zeros((40, 30), np.uint8)
    o[:] = 255
    o[8:-8, 8:-8] = 0
    large = np.kron(o, np.ones((3, 3), np.uint8))
    bar = np.full((40, 8), 255, np.uint8)
    overlap = lettering.overlaps([o, large, bar])
    assert overlap[0, 1] > 0.99
    assert overlap[0, 2] < 0.5
    assert lettering.distinct(overlap) == [0, 2]


def test_a_face_without_the_letter_does_not_draw_it(classes):
    first = lettering.Face(lettering.font_folder() / module.FIRST)
    serif = lettering.Face(lettering.font_folder() / "DejaVuSerif.ttf")
    assert ord("ش") in first.points
    assert ord("ش") not in serif.points
    assert first.bitmap(ord(" ")).size == 0
    assert "DejaVuSerif.ttf" not in {f.path.name for f in classes[ord("ش")][1]}


def test_an_undistorted_drawing_is_the_downscaled_source():
    """The reference is Pillow's area filter."""
    from PIL import Image

    rng = np.random.default_rng(0)
    source = np.zeros((SOURCE, SOURCE), np.uint8)
    source[20:76, 20:76] = np.kron(rng.integers(0, 2, (7, 7)) * 255, np.ones((8, 8)))
    inside = source[20:76, 20:76]
    drawn = sample(source, *coordinates(rng, 56, STILL))
    expected = np.asarray(Image.fromarray(inside).resize((SIZE, SIZE), Image.Resampling.BOX))
    assert np.abs(drawn.astype(int) - expected).mean() < 1


def test_turn_and_shift_have_the_stated_direction():
    source = np.zeros((SOURCE, SOURCE), np.uint8)
    source[20:48, 40:56] = 255  # a bar above the middle
    upright = sample(source, *coordinates(np.random.default_rng(0), 56, STILL))
    assert upright[:14].sum() > 0.95 * upright.sum()

    class Fixed:
        """A generator that always returns the upper bound."""

        def uniform(self, low, high, size=None):
            return high if size is None else np.full(size, high)

    turned = sample(source, *coordinates(Fixed(), 56, STILL._replace(turn=180.0)))
    assert np.abs(turned.astype(int) - np.rot90(upright, 2)).max() <= 16
    turned = sample(source, *coordinates(Fixed(), 56, STILL._replace(turn=90.0)))
    quarter = np.rot90(upright, 1 if turned[:, :14].sum() > turned[:, 14:].sum() else -1)
    assert np.abs(turned.astype(int) - quarter).max() <= 16
    moved = sample(source, *coordinates(Fixed(), 56, STILL._replace(shift=3.0)))
    assert np.array_equal(moved[3:, 3:], upright[:-3, :-3])


def test_drawings_differ_but_stay_on_the_paper(glyphs):
    for split in glyphs.values():
        for first in split.first[::10]:
            items = split.items[first : first + 20, 0]
            assert len({item.tobytes() for item in items}) == 20
            assert items.max(axis=(1, 2)).min() > 100, "ink is bright, on dark paper"
            inner = items[:, 1:-1, 1:-1].astype(int).sum()
            assert inner > 0.9 * items.astype(int).sum(), "little is cut off at the edge"


def test_drawings_depend_on_the_letter_only(glyphs):
    """Drawn again in another process, in another order, with another hash seed."""
    code = (
        "import hashlib\n"
        "from metarun.data.glyphs import drawings, find_classes\n"
        "classes = find_classes()\n"
        "for point in (0x10D0, 0x41):\n"
        "    print(hashlib.sha256(drawings(point, classes[point][1]).tobytes()).hexdigest())\n"
    )
    hashes = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    for split, name, other in (
        ("test", "Georgian/10D0", hashes[0]),
        ("train", "Latin/0041", hashes[1]),
    ):
        s = glyphs[split]
        first = s.first[s.names.index(name)]
        assert hashlib.sha256(s.items[first : first + 20].tobytes()).hexdigest() == other


def test_facts_are_known_before_loading_if_cached(glyphs_cache, glyphs, tmp_path):
    assert Glyphs(cache=str(tmp_path / "none")).facts() == dict.fromkeys(("train", "val", "test"))
    assert not (tmp_path / "none").exists(), "asking writes nothing"
    known = Glyphs(cache=glyphs_cache).facts()
    assert known == {name: split.facts for name, split in glyphs.items()}
    assert known["test"] == Facts(len(glyphs["test"].names), 20)


def test_the_second_load_gives_the_same_bytes(glyphs_cache, glyphs, monkeypatch):
    monkeypatch.setattr(module, "draw", lambda: pytest.fail("drawn again"))
    again = Glyphs(cache=glyphs_cache).load()
    for name, split in glyphs.items():
        assert again[name].sha256 == split.sha256
        assert again[name].names == split.names
    assert np.array_equal(again["test"].items, glyphs["test"].items)


@pytest.mark.parametrize("what", ["PREPARATION", "pillow", "freetype", "font"])
def test_the_cache_is_renewed_if_a_dependency_changes(what, monkeypatch, tmp_path):
    import PIL
    from PIL import features

    before = Glyphs(cache=str(tmp_path)).key
    if what == "PREPARATION":
        monkeypatch.setattr(module, "PREPARATION", 99)
    elif what == "pillow":
        monkeypatch.setattr(PIL, "__version__", "0")
    elif what == "freetype":
        monkeypatch.setattr(features, "version", lambda name: "0")
    else:
        for name in (module.FIRST, *module.OTHERS):
            content = (lettering.font_folder() / name).read_bytes()
            (tmp_path / name).write_bytes(content + b"\0")
        monkeypatch.setattr(lettering, "font_folder", lambda: tmp_path)
    assert Glyphs(cache=str(tmp_path)).key != before


def test_missing_fonts_are_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(lettering, "font_folder", lambda: tmp_path)
    with pytest.raises(Refused, match=r"data=glyphs: .*DejaVuSans\.ttf.*install") as refused:
        Glyphs(cache=str(tmp_path)).load()
    assert len(refused.value.mistakes) == 1


def test_a_nearest_pixel_classifier_is_weak(glyphs):
    """5-way 1-shot on test letters, by the nearest image in raw pixels: above chance, far below
    the 90 % and more that a few minutes of training reach."""
    split, rng = glyphs["test"], np.random.default_rng(0)
    accuracy = []
    for _ in range(150):
        classes = rng.choice(len(split.names), 5, replace=False)
        items = np.stack([split.first[c] + rng.choice(20, 6, replace=False) for c in classes])
        x = split.items[items].reshape(5, 6, -1).astype(float)
        distance = ((x[:, 1:, None] - x[None, None, :, 0]) ** 2).sum(-1)
        accuracy.append((distance.argmin(-1) == np.arange(5)[:, None]).mean())
    assert 0.42 < np.mean(accuracy) < 0.60


def test_drawings_of_one_class_are_not_those_of_another(classes):
    faces = classes[0x41][1]
    assert not np.array_equal(drawings(0x41, faces), drawings(0x42, faces))
