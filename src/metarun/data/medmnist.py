"""MedMNIST: twelve sets of small medical images, from tissue slides to X-rays.

Yang et al., 2023, MedMNIST v2, https://medmnist.com, https://zenodo.org/records/10519652 (CC BY
4.0, dermamnist CC BY-NC 4.0).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BeforeValidator

from metarun.data.classes import Facts, Split, select
from metarun.data.preparation.cache import prepared
from metarun.data.preparation.checksums import Checksums, warn_of
from metarun.data.preparation.download import existing, fetch
from metarun.data.preparation.images import Class
from metarun.data.preparation.medmnist_files import classes_of, labels_of
from metarun.data.preparation.medmnist_members import MEMBERS, SAME_SCANS, unfit
from metarun.errors import Refused

PREPARATION = 1  # raise it when the prepared array changes for equal files
# one name stands for a list of one
Names = Annotated[list[str], BeforeValidator(lambda v: [v] if isinstance(v, str) else v)]


class MedMNIST:
    """Classes of several members of MedMNIST, pooled; each member's in one split only.

    Few-shot splits hold out classes, so a member's own three portions are put together. Its classes
    are named `pathmnist/adipose`. An episode draws its classes from all members of its split; where
    a split has several, telling their kinds of image apart is part of the task.

    The axial, coronal and sagittal organs come from the same CT scans and so go into one split.
    `retinamnist` can be named; its classes are grades of one disease. `chestmnist` has several
    labels an image, and the members in three dimensions have no images: neither can be named.

    Args:
        root, cache, url: as of any data set; `root` holds `pathmnist.npz`, ….
        train, val, test: names of members, or one name.
        size: height and width in pixels; above 28 the files are `pathmnist_64.npz` and so on.
        colour: (3, size, size), grey images being repeated; or (1, size, size), colours being
            weighed as in ITU-R BT.601.
    """

    def __init__(
        self,
        *,
        root: str,
        cache: str,
        train: Names = ("pathmnist", *SAME_SCANS),
        val: Names = ("tissuemnist",),
        test: Names = ("bloodmnist",),
        size: Literal[28, 64, 128, 224] = 28,
        colour: bool = True,
        url: str = "https://zenodo.org/records/10519652/files",
    ) -> None:
        self.root = Path(root).expanduser()
        self.folder = Path(cache).expanduser() / "medmnist"
        given = {"train": train, "val": val, "test": test}
        self.members = {k: [v] if isinstance(v, str) else list(v) for k, v in given.items()}
        if mistakes := unfit(self.members):
            raise Refused(*mistakes)
        self.size, self.colour = size, colour
        self.url = url.rstrip("/")

    def facts(self) -> dict[str, Facts | None]:
        """Classes of each split; of the smallest no more is known than that it is below the mean.

        How many images a class really has is known from the files.
        """
        facts = {}
        for split, members in self.members.items():
            known = [(len(MEMBERS[m]["labels"]), MEMBERS[m]["images"]) for m in members]
            facts[split] = Facts(sum(k for k, _ in known), min(n // k for k, n in known))
        return facts

    def load(self) -> dict[str, Split]:
        """The three splits; the first call reads the files, for a minute.

        Other files of the same form are taken too, with a warning.

        Raises:
            Refused: files are missing or broken, or the cache cannot be written to.
        """
        members = sorted(itertools.chain.from_iterable(self.members.values()))
        existing(self.root, self.folder.parent, self._by_hand(members))
        official = {m: MEMBERS[m]["md5"][str(self.size)] for m in members}
        files, sums = {m: self.root / self._file(m) for m in members}, Checksums(self.folder)
        present = {m: path for m, path in files.items() if self._there(path)}
        found = official | {m: sums.of(path) for m, path in present.items()}
        made = " ".join(f"{m}:{md5}" for m, md5 in sorted(found.items()))
        kind = "colour" if self.colour else "grey"
        key = f"medmnist {self.size} {kind} {made} {PREPARATION}"
        images = prepared(self.folder, key, lambda: self._prepare(files))
        sums.keep(present.values())
        if others := [present[m].name for m in members if found[m] != official[m]]:
            warn_of(self.root, f"{', '.join(others)} of MedMNIST")
        return {
            split: select(images, [f"{m}/{name}" for m in some for name in MEMBERS[m]["labels"]])
            for split, some in self.members.items()
        }

    def _file(self, member: str) -> str:
        return f"{member}.npz" if self.size == 28 else f"{member}_{self.size}.npz"

    def _there(self, path: Path) -> bool:
        try:
            return path.exists()
        except OSError as error:
            raise Refused(f"data.root={self.root}: cannot be read ({error.strerror})") from error

    def _by_hand(self, members: Sequence[str]) -> str:
        files = ", ".join(self._file(m) for m in members)
        return f"put {files} from {self.url} into data.root={self.root}"

    def _prepare(self, files: dict[str, Path]) -> Iterator[Class]:
        missing = [m for m, path in files.items() if not self._there(path)]
        labels = self._examined({m: p for m, p in files.items() if m not in missing})
        for member in missing:
            url, md5 = f"{self.url}/{self._file(member)}", MEMBERS[member]["md5"][str(self.size)]
            advice = self._by_hand(missing)
            fetch(f"{url}?download=1", files[member], f"md5:{md5}", by_hand=advice)
        labels |= self._examined({m: files[m] for m in missing})
        for member, path in files.items():
            yield from classes_of(member, path, labels[member], self.size, self.colour)

    def _examined(self, files: dict[str, Path]) -> dict[str, list[np.ndarray]]:
        """Labels of each member, portion by portion; all members' mistakes are said at once."""
        labels, mistakes = {}, []
        for member, path in files.items():
            try:
                labels[member] = labels_of(member, path, self.size)
            except Refused as refused:
                mistakes += refused.mistakes
        if mistakes:
            raise Refused(*mistakes)
        return labels
