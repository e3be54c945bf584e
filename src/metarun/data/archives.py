"""Reading zip files from strangers: members go to memory, nothing is ever extracted to disk."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from metarun.errors import Refused

MEGABYTE = 1 << 20


def members(
    path: Path,
    wanted: Callable[[str], bool],
    *,
    member_limit: int = 16 * MEGABYTE,
    total_limit: int = 4096 * MEGABYTE,
) -> Iterator[tuple[str, bytes]]:
    """Name and content of each member of a zip file that is `wanted`, sorted by name.

    A name is only ever compared, never used as a path, so one that climbs out (`../x`) is harmless.

    Args:
        member_limit, total_limit: most bytes that one member, and all together, may unpack to;
            counted while unpacking, as the sizes in the file may lie.

    Raises:
        Refused: the file cannot be read, is not a zip file, is damaged, or unpacks to too much.
    """
    left = total_limit
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [e for e in archive.infolist() if not e.is_dir() and wanted(e.filename)]
            for entry in sorted(entries, key=lambda e: e.filename):
                with archive.open(entry) as stream:
                    content = stream.read(min(member_limit, left) + 1)
                left -= len(content)
                if len(content) > member_limit or left < 0:
                    raise Refused(f"{path}: {entry.filename} unpacks to more than is plausible")
                yield entry.filename, content
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise Refused(f"{path}: not a whole zip file ({error})") from error
    except OSError as error:
        raise Refused(f"{path}: cannot be read ({error.strerror or error})") from error
