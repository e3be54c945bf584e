"""Reading archives from strangers: members go to memory, nothing is ever extracted to disk."""

from __future__ import annotations

import contextlib
import errno
import gzip
import io
import lzma
import struct
import tarfile
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
    with whole(path, "zip"), zipfile.ZipFile(path) as archive:
        entries = [e for e in archive.infolist() if not e.is_dir() and wanted(e.filename)]
        for entry in sorted(entries, key=lambda e: e.filename):
            with archive.open(entry) as stream:
                content = stream.read(min(member_limit, left) + 1)
            left -= len(content)
            if len(content) > member_limit or left < 0:
                raise Refused(f"{path}: {entry.filename} unpacks to more than is plausible")
            yield entry.filename, content


def tar_members(
    path: Path,
    wanted: Callable[[str], bool],
    *,
    member_limit: int = 16 * MEGABYTE,
    total_limit: int = 4096 * MEGABYTE,
) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file of a `.tar.gz` that is `wanted`, in the archive's order.

    As `members`: names are only compared. Links, devices and sparse files are passed over.

    Args:
        member_limit: most bytes that a wanted file may have.
        total_limit: most bytes that the archive may unpack to, whatever is wanted of it; counted
            while unpacking, the headers included.

    Raises:
        Refused: the file cannot be read, is not a tar.gz file, is damaged, or unpacks to too much.
    """
    with whole(path, "tar.gz"), gzip.open(path) as stream:
        bounded = _Bounded(stream, total_limit, path)
        with tarfile.open(fileobj=bounded, mode="r|") as archive:
            for entry in archive:
                if not entry.isreg() or entry.issparse() or not wanted(entry.name):
                    continue
                if entry.size > member_limit:
                    raise Refused(f"{path}: {entry.name} unpacks to more than is plausible")
                yield entry.name, archive.extractfile(entry).read()
        while bounded.read(MEGABYTE):  # to the end, where the checksum is
            pass


@contextlib.contextmanager
def whole(path: Path, kind: str) -> Iterator[None]:
    """Whatever is wrong with the archive `path` becomes one line that names it.

    Args:
        kind: what it should be: `zip`, `tar.gz`.

    Raises:
        Refused: in place of the many errors that reading an archive ends with.
    """
    try:
        yield
    except OSError as error:
        # without a number: a library's own, e.g. gzip's; the other: an offset before the beginning
        if error.errno in (None, errno.EINVAL):
            raise Refused(f"{path}: not a whole {kind} file ({_reason(error)})") from error
        raise Refused(f"{path}: cannot be read ({error.strerror or error})") from error
    except (
        *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError),
        *(EOFError, ValueError, OverflowError, struct.error),
        *(NotImplementedError, RuntimeError),  # how it is packed; a password, or headers in headers
    ) as error:
        raise Refused(f"{path}: not a whole {kind} file ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


class _Bounded(io.RawIOBase):
    """Passes on what `stream` unpacks to, `limit` bytes at most."""

    def __init__(self, stream: gzip.GzipFile, limit: int, path: Path) -> None:
        self.stream, self.left, self.path = stream, limit, path

    def read(self, size: int = -1) -> bytes:
        content = self.stream.read(min(size, self.left + 1) if size >= 0 else self.left + 1)
        self.left -= len(content)
        if self.left < 0:
            raise Refused(f"{self.path}: unpacks to more than is plausible")
        return content
