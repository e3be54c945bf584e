"""MedMNIST: twelve sets of small medical images, from tissue slides to X-rays.

Yang et al., 2023, MedMNIST v2, https://medmnist.com, https://zenodo.org/records/10519652 (CC BY
4.0, dermamnist CC BY-NC 4.0).
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BeforeValidator

from metarun.config.schema import Place
from metarun.data.class_splits import SPLITS
from metarun.data.classes import Facts, Split, select
from metarun.data.preparation.cache import prepared, stored
from metarun.data.preparation.checksums import Checksums, warn_of
from metarun.data.preparation.download import fetch, require_root
from metarun.data.preparation.images import Class
from metarun.data.preparation.medmnist_files import classes_of, labels_of
from metarun.data.preparation.medmnist_members import MEMBERS, SAME_SCANS, unfit
from metarun.data.preparation.pictures import read_pictures
from metarun.data.preparation.pixels import FULL_SPAN, Broken, Span
from metarun.data.preparation.unpacked import unpacked
from metarun.errors import Mistakes, Refused, refusing_os_errors

PREPARATION = 1  # increase it when the array prepared from the same files changes
# a single name is accepted as a list
Names = Annotated[list[str], BeforeValidator(lambda v: [v] if isinstance(v, str) else v)]


class MedMNIST:
    """Classes of several MedMNIST members; all classes of a member are in the same split.

    Few-shot splits hold out classes, so the three portions of a member are pooled. Classes have
    names such as `pathmnist/adipose`. The classes of an episode are drawn from all members of its
    split; if a split has several, an episode may mix different kinds of images.

    The axial, coronal and sagittal organ members show the same CT scans and must be in one split.
    The classes of `retinamnist` are grades of one disease. `chestmnist`, with several labels per
    image, and the 3D members are not available.

    Args:
        root, cache, url: see `metarun.data`; `root` holds `pathmnist.npz`, ….
        train, val, test: names of members, or a single name.
        size: height and width in pixels; files of sizes above 28 are named `pathmnist_64.npz`.
        colour: items of (3, size, size), with the channel of grey images repeated, or of
            (1, size, size), with colours converted to grey by ITU-R BT.601.
    """

    own_items = "pictures"
    splits_apart = True

    def __init__(
        self,
        *,
        root: Place,
        cache: Place,
        train: Names = ("pathmnist", *SAME_SCANS),
        val: Names = ("tissuemnist",),
        test: Names = ("bloodmnist",),
        size: Literal[28, 64, 128, 224] = 28,
        colour: bool = True,
        url: str = "https://zenodo.org/records/10519652/files",
    ) -> None:
        self.root = unpacked(root)
        self.folder = Path(cache).expanduser() / "medmnist"
        names = {"train": train, "val": val, "test": test}
        self.members = {k: [v] if isinstance(v, str) else list(v) for k, v in names.items()}
        if mistakes := unfit(self.members):
            raise Refused(*mistakes)
        self.size, self.colour = size, colour
        self.url = url.rstrip("/")

    def facts(self) -> dict[str, Facts | None]:
        """Classes of each split, and an upper bound of the size of its smallest class.

        The bound is the smallest mean class size of a member; exact sizes require the files.
        """
        facts = {}
        for split, members in self.members.items():
            sizes = [(len(MEMBERS[m]["labels"]), MEMBERS[m]["images"]) for m in members]
            facts[split] = Facts(sum(k for k, _ in sizes), min(n // k for k, n in sizes))
        return facts

    def load(self, used: Collection[str] = SPLITS) -> dict[str, Split]:
        """The three splits; the first call reads the files, which takes a minute.

        Files of the same form with other content are accepted with a warning.

        Args:
            used: the splits that are needed. The others are empty if they are not prepared and
                their files are not there.

        Raises:
            Refused: files are missing or damaged, or the cache is not writable.
        """
        members = sorted(itertools.chain.from_iterable(self.members.values()))
        official = {m: MEMBERS[m]["md5"][str(self.size)] for m in members}
        files, sums = {m: self.root / self._file(m) for m in members}, Checksums(self.folder)
        present = {m: path for m, path in files.items() if self._exists(path)}
        md5s = official | {m: sums.of(path) for m, path in present.items()}
        folder, needed = self.folder, {m for split in used for m in self.members[split]}
        others = set(members) - needed
        if not others <= present.keys() and stored(folder, self._key(md5s)) is None:
            members, folder = sorted(needed), folder / "_".join(sorted(needed))
        require_root(self.root, self.folder.parent, self._by_hand(members))
        sources = {m: files[m] for m in members}
        key = self._key({m: md5s[m] for m in members})
        images = prepared(folder, key, lambda: self._prepare(sources), root=self.root)
        sums.keep(present.values())
        if altered := [present[m].name for m in present if md5s[m] != official[m]]:
            warn_of(self.root, f"{', '.join(altered)} of MedMNIST")
        return {
            split: select(
                images,
                [f"{m}/{n}" for m in names if m in members for n in MEMBERS[m]["labels"]],
            )
            for split, names in self.members.items()
        }

    def _key(self, md5s: Mapping[str, str]) -> str:
        """The key of the arrays that are prepared from files with these checksums."""
        sources = " ".join(f"{m}:{md5}" for m, md5 in sorted(md5s.items()))
        kind = "colour" if self.colour else "grey"
        return f"medmnist {self.size} {kind} {sources} {PREPARATION}"

    def prepare_own(
        self, files: Sequence[str], span: Span = FULL_SPAN
    ) -> list[np.ndarray | Broken]:
        """Prepare pictures of the user: (C, size, size) uint8."""
        return read_pictures(files, self.size, self.colour, span)

    def _file(self, member: str) -> str:
        return f"{member}.npz" if self.size == 28 else f"{member}_{self.size}.npz"

    def _exists(self, path: Path) -> bool:
        with refusing_os_errors(f"data.root={self.root}"):
            return path.exists()

    def _by_hand(self, members: Sequence[str]) -> str:
        files = ", ".join(self._file(m) for m in members)
        return f"put {files} from {self.url} into data.root={self.root}"

    def _prepare(self, files: dict[str, Path]) -> Iterator[Class]:
        missing = [m for m, path in files.items() if not self._exists(path)]
        labels = self._labels({m: p for m, p in files.items() if m not in missing})
        for member in missing:
            url, md5 = f"{self.url}/{self._file(member)}", MEMBERS[member]["md5"][str(self.size)]
            advice = self._by_hand(missing)
            fetch(f"{url}?download=1", files[member], f"md5:{md5}", by_hand=advice)
        labels |= self._labels({m: files[m] for m in missing})
        for member, path in files.items():
            yield from classes_of(member, path, labels[member], self.size, self.colour)

    def _labels(self, files: dict[str, Path]) -> dict[str, list[np.ndarray]]:
        """Labels of each member by portion; raises the mistakes of all members together."""
        mistakes = Mistakes()
        labels = {m: mistakes.catch(labels_of, m, path, self.size) for m, path in files.items()}
        mistakes.settle()
        return labels
