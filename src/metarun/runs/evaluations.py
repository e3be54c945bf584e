"""A folder for each evaluation and audit of a run, in its folder `evaluations`."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from metarun.errors import Refused
from metarun.files import check_own


@contextlib.contextmanager
def new_folder(parent: Path, name: str | None, default: str) -> Iterator[Path]:
    """A context that creates a new folder in `parent`, and removes it if writing into it fails.

    An existing folder is never reused.

    Args:
        name: name of the folder; if `None`, `default`, or the first free of `default_2`, ….

    Raises:
        Refused: the folder cannot be created, e.g. `name` exists already or `parent` is a link, or
            it cannot be written to.
    """
    check_own(parent.parent, (), [parent.name])
    existed = parent.exists()
    try:
        folder = _create(parent, name, default)
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            if not existed:
                with contextlib.suppress(OSError):
                    parent.rmdir()  # only if it is empty
            raise
    except OSError as error:
        where = error.filename or parent
        raise Refused(f"{where}: cannot be written to ({error.strerror or error})") from error


def _create(parent: Path, name: str | None, default: str) -> Path:
    parent.mkdir(exist_ok=True)
    number = 1
    while True:
        numbered = default if number == 1 else f"{default}_{number}"
        folder = parent / (name or numbered)
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            if name is not None:
                raise
            number += 1
