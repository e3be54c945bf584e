"""Letters drawn with the fonts that matplotlib ships; needs no network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from metarun.config.schema import Place
from metarun.data.classes import Facts, Split, select
from metarun.data.preparation import distortion, lettering
from metarun.data.preparation.cache import prepared, stored
from metarun.data.preparation.distortion import USUAL
from metarun.data.preparation.images import Class, Images
from metarun.data.preparation.lettering import Face
from metarun.data.preparation.pictures import read_pictures
from metarun.data.preparation.pixels import FULL_SPAN, Broken, Span
from metarun.errors import Refused

PREPARATION = 1  # increase it when drawings change for the same fonts

FIRST = "DejaVuSans.ttf"  # defines which letters exist and which of them look alike
OTHERS = (
    "DejaVuSans-Bold.ttf",
    "DejaVuSans-Oblique.ttf",
    "DejaVuSansMono.ttf",
    "DejaVuSansMono-Bold.ttf",
    "DejaVuSerif.ttf",
    "DejaVuSerif-Bold.ttf",
    "DejaVuSerif-Italic.ttf",
)
DRAWINGS = 20  # per class
LONGER = 64  # length of a letter's longer side in source pixels, without stroke
STROKES = (0, 1, 2, 3)  # source pixels added on each side of the outline, except in bold faces

# Each split has whole scripts, so test scripts are not seen in training. Name → ISO 15924 code, the
# script property in Unicode.
SPLITS = {
    "train": {"Latin": "Latn", "Cyrillic": "Cyrl", "Canadian_syllabics": "Cans"},
    "val": {
        "Greek": "Grek",
        "Coptic": "Copt",
        "Lao": "Laoo",
        "Lisu": "Lisu",
        "NKo": "Nkoo",
        "Ogham": "Ogam",
        "Old_Italic": "Ital",
    },
    "test": {
        "Arabic": "Arab",
        "Armenian": "Armn",
        "Georgian": "Geor",
        "Hebrew": "Hebr",
        "Tifinagh": "Tfng",
    },
}
ALPHABETS = {code: name for scripts in SPLITS.values() for name, code in scripts.items()}


class Glyphs:
    """More than 1,000 letters of 15 scripts, 20 drawings each, (1, 28, 28), ink 255 on 0.

    Classes are named by alphabet and code point, e.g. `Georgian/10D0`. Letters that look alike in
    DejaVu Sans regardless of size and position (A, Α and А; o and O; ط and ظ) form one class, drawn
    as the letter with the lowest code point. Drawings vary by face (of the DejaVu faces that have
    the letter and draw no other class alike), stroke width, rotation, shear, aspect ratio, size,
    position and an elastic distortion. They are byte-identical for equal versions of the fonts,
    Pillow and FreeType.

    Args:
        cache: folder of prepared data sets; the array is kept in its subfolder `glyphs`.
    """

    own_items = "pictures"

    def __init__(self, *, cache: Place) -> None:
        self.folder = Path(cache).expanduser() / "glyphs"

    def facts(self) -> dict[str, Facts | None]:
        """Classes and drawings of each split if they are cached, else `None`."""
        images = stored(self.folder, self.key)
        splits = _splits(images) if images else {}
        return {name: splits[name].facts if splits else None for name in SPLITS}

    def load(self) -> dict[str, Split]:
        """The splits `train`, `val` and `test`; the first call draws the letters, for seconds.

        Raises:
            Refused: the fonts are missing, or the cache is not writable.
        """
        return _splits(prepared(self.folder, self.key, draw))

    def prepare_own(
        self, files: Sequence[str], span: Span = FULL_SPAN
    ) -> list[np.ndarray | Broken]:
        """Prepare pictures of the user: dark ink on light paper → (1, 28, 28) uint8, ink 255."""
        return [
            p if isinstance(p, Broken) else 255 - p
            for p in read_pictures(files, distortion.SIZE, False, span)
        ]

    @cached_property
    def key(self) -> str:
        """Cache key: versions and fonts on which the drawings depend."""
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
                "it is part of matplotlib: reinstall matplotlib"
            ) from error
        return "\n".join(parts)


def draw() -> Iterator[Class]:
    """Find the classes and draw each of them 20 times."""
    for point, (alphabet, faces) in find_classes().items():
        yield Class(f"{alphabet}/{point:04X}", drawings(point, faces)[:, None])


def find_classes() -> dict[int, tuple[str, list[Face]]]:
    """Code point of each class → alphabet and faces that draw it, sorted by code point."""
    folder = lettering.font_folder()
    first, *others = (Face(folder / name) for name in (FIRST, *OTHERS))
    scripts = lettering.letters(first.points)
    scripts = {point: script for point, script in scripts.items() if script in ALPHABETS}
    points, bitmaps = _inked(first, scripts)
    chosen = [points[i] for i in lettering.distinct(lettering.overlaps(bitmaps))]
    classes = {point: (ALPHABETS[scripts[point]], [first]) for point in chosen}
    for face in others:
        drawn, bitmaps = _inked(face, [point for point in chosen if point in face.points])
        overlap = lettering.overlaps(bitmaps)
        np.fill_diagonal(overlap, 0)
        for point, closest in zip(drawn, overlap.max(axis=1), strict=True):
            if closest < lettering.ALIKE:  # otherwise two classes look alike in this face
                classes[point][1].append(face)
    return classes


def drawings(point: int, faces: list[Face]) -> np.ndarray:
    """Draw a class, (20, 28, 28) uint8, with a random generator seeded by its code point."""
    rng = np.random.Generator(np.random.PCG64([PREPARATION, point]))
    sizes = [lettering.RASTER * LONGER / max(face.bitmap(point).shape) for face in faces]
    sources: dict[tuple[int, int], tuple[np.ndarray, int]] = {}
    images = []
    for _ in range(DRAWINGS):
        index = int(rng.integers(len(faces)))
        heavy = "Bold" in faces[index].path.name  # a stroke would fill the counters of bold letters
        stroke = 0 if heavy else STROKES[int(rng.integers(len(STROKES)))]
        if (index, stroke) not in sources:
            sources[index, stroke] = _source(faces[index], point, sizes[index], stroke)
        source, longer = sources[index, stroke]
        images.append(distortion.sample(source, *distortion.coordinates(rng, longer, USUAL)))
    return np.stack(images)


def _source(face: Face, point: int, size: float, stroke: int) -> tuple[np.ndarray, int]:
    """The letter centred in a (SOURCE, SOURCE) bitmap, and the length of its longer side in pixels.

    Each letter has its own font `size`, so that small and large letters are equally sharp.
    """
    bitmap = face.bitmap(point, size, stroke)
    height, width = bitmap.shape
    source = np.zeros((distortion.SOURCE, distortion.SOURCE), np.uint8)
    top, left = (distortion.SOURCE - height) // 2, (distortion.SOURCE - width) // 2
    source[top : top + height, left : left + width] = bitmap
    return source, max(height, width)


def _inked(face: Face, points: Iterable[int]) -> tuple[list[int], list[np.ndarray]]:
    """Code points of `points` whose bitmap in `face` is not empty, and their bitmaps."""
    bitmaps = {point: bitmap for point in points if (bitmap := face.bitmap(point)).size}
    return list(bitmaps), list(bitmaps.values())


def _splits(images: Images) -> dict[str, Split]:
    return {
        split: select(images, [n for n in images.names if n.split("/")[0] in alphabets])
        for split, alphabets in SPLITS.items()
    }
