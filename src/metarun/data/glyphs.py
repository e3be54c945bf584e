"""Letters drawn from the fonts that matplotlib ships: a data set that needs no network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from metarun.data.classes import Facts, Split, select
from metarun.data.preparation import distortion, lettering
from metarun.data.preparation.cache import prepared, stored
from metarun.data.preparation.distortion import USUAL, Strength
from metarun.data.preparation.images import Class, Images
from metarun.data.preparation.lettering import Face
from metarun.errors import Refused

PREPARATION = 1  # raise it when a drawing changes for equal fonts

FIRST = "DejaVuSans.ttf"  # says which letters there are and which of them look alike
OTHERS = tuple(
    f"DejaVu{face}.ttf"
    for face in (
        *("Sans-Bold", "Sans-Oblique", "SansMono", "SansMono-Bold"),
        *("Serif", "Serif-Bold", "Serif-Italic"),
    )
)
DRAWINGS = 20  # of each class
LONGER = 64  # pixels of the source that a letter's longer side spans, before it is thickened
STROKES = (0, 1, 2, 3)  # pixels of the source added on each side of a regular outline

# Whole alphabets: no script of test is seen in training. The folder name of a class → ISO 15924, as
# Unicode's script property.
SPLITS = {
    "train": {"Latin": "Latn", "Cyrillic": "Cyrl", "Canadian_syllabics": "Cans"},
    "val": {
        **{"Greek": "Grek", "Coptic": "Copt", "Lao": "Laoo", "Lisu": "Lisu", "NKo": "Nkoo"},
        **{"Ogham": "Ogam", "Old_Italic": "Ital"},
    },
    "test": {
        **{"Arabic": "Arab", "Armenian": "Armn", "Georgian": "Geor", "Hebrew": "Hebr"},
        "Tifinagh": "Tfng",
    },
}
ALPHABETS = {script: name for some in SPLITS.values() for name, script in some.items()}


class Glyphs:
    """More than 1,000 letters of 15 scripts, 20 drawings each, (1, 28, 28), ink 255 on 0.

    A class is named by alphabet and code point, `Georgian/10D0`. Letters that look alike in DejaVu
    Sans whatever their size and position (A, Α and А; o and O; ط and ظ) are one class, that of the
    lowest code point, which alone is drawn. Drawings vary by face (those DejaVu faces that have
    the letter and in which no other class looks like it), stroke width, turn, shear, proportions,
    size, position and an elastic bend. They are the same to the byte for equal fonts, Pillow and
    FreeType.

    Args:
        cache: folder for the prepared array; it holds `glyphs/`.
    """

    def __init__(self, *, cache: str) -> None:
        self.folder = Path(cache).expanduser() / "glyphs"

    def facts(self) -> dict[str, Facts | None]:
        """Classes and drawings of each split, as far as the cache knows them already."""
        images = stored(self.folder, self.key)
        known = _splits(images) if images else {}
        return {name: known[name].facts if known else None for name in SPLITS}

    def load(self) -> dict[str, Split]:
        """The splits `train`, `val` and `test`; the first call draws for some seconds.

        Raises:
            Refused: the fonts are not there, or the cache cannot be written to.
        """
        return _splits(prepared(self.folder, self.key, draw))

    @cached_property
    def key(self) -> str:
        """What the drawings depend on."""
        from PIL import __version__ as pillow
        from PIL import features

        freetype, folder = features.version("freetype2"), lettering.font_folder()
        parts = [f"glyphs {PREPARATION}", f"pillow {pillow}", f"freetype {freetype}"]
        try:
            for name in (FIRST, *OTHERS):
                parts.append(f"{name} {hashlib.sha256((folder / name).read_bytes()).hexdigest()}")
        except OSError as error:
            raise Refused(
                f"data=glyphs: {error.filename} cannot be read ({error.strerror}); "
                "it comes with matplotlib: install that anew"
            ) from error
        return "\n".join(parts)


def draw() -> Iterator[Class]:
    """Find the classes and draw each of them 20 times."""
    for point, (alphabet, faces) in find_classes().items():
        yield Class(f"{alphabet}/{point:04X}", drawings(point, faces)[:, None])


def find_classes() -> dict[int, tuple[str, list[Face]]]:
    """Code point of each class → its alphabet and the faces that draw it, in code point order."""
    folder = lettering.font_folder()
    first, *others = (Face(folder / name) for name in (FIRST, *OTHERS))
    scripts = lettering.letters(first.points)
    scripts = {point: script for point, script in scripts.items() if script in ALPHABETS}
    points, bitmaps = _inked(first, scripts)
    kept = [points[i] for i in lettering.distinct(lettering.overlaps(bitmaps))]
    classes = {point: (ALPHABETS[scripts[point]], [first]) for point in kept}
    for face in others:
        here, bitmaps = _inked(face, [point for point in kept if point in face.points])
        overlap = lettering.overlaps(bitmaps)
        np.fill_diagonal(overlap, 0)
        for point, closest in zip(here, overlap.max(axis=1), strict=True):
            if closest < lettering.ALIKE:  # else this face draws two classes alike
                classes[point][1].append(face)
    return classes


def drawings(point: int, faces: list[Face], strength: Strength = USUAL) -> np.ndarray:
    """(20, 28, 28) uint8: the class's own random numbers, so no class depends on another."""
    rng = np.random.Generator(np.random.PCG64([PREPARATION, point]))
    sizes = [lettering.RASTER * LONGER / max(face.bitmap(point).shape) for face in faces]
    sources: dict[tuple[int, int], tuple[np.ndarray, int]] = {}
    made = []
    for _ in range(DRAWINGS):
        which = int(rng.integers(len(faces)))
        heavy = "Bold" in faces[which].path.name  # thickened further, its counters would close
        stroke = 0 if heavy else STROKES[int(rng.integers(len(STROKES)))]
        if (which, stroke) not in sources:
            sources[which, stroke] = _source(faces[which], point, sizes[which], stroke)
        source, longer = sources[which, stroke]
        made.append(distortion.sample(source, *distortion.coordinates(rng, longer, strength)))
    return np.stack(made)


def _source(face: Face, point: int, size: float, stroke: int) -> tuple[np.ndarray, int]:
    """The letter in the middle of a (SOURCE, SOURCE) bitmap, and the pixels its longer side spans.

    Rendered at a font `size` of its own, so that commas and ligatures are equally sharp.
    """
    bitmap = face.bitmap(point, size, stroke)
    height, width = bitmap.shape
    source = np.zeros((distortion.SOURCE, distortion.SOURCE), np.uint8)
    top, left = (distortion.SOURCE - height) // 2, (distortion.SOURCE - width) // 2
    source[top : top + height, left : left + width] = bitmap
    return source, max(height, width)


def _inked(face: Face, points: Iterable[int]) -> tuple[list[int], list[np.ndarray]]:
    """Those of `points` that the face draws with ink, and their bitmaps."""
    found = {point: bitmap for point in points if (bitmap := face.bitmap(point)).size}
    return list(found), list(found.values())


def _splits(images: Images) -> dict[str, Split]:
    return {
        split: select(images, [n for n in images.names if n.split("/")[0] in alphabets])
        for split, alphabets in SPLITS.items()
    }
