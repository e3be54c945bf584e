"""Safe reading of untrusted archives: into memory only, with limits on the unpacked size."""

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
    accepts: Callable[[str], bool],
    *,
    member_limit: int = 16 * MEGABYTE,
    total_limit: int = 4096 * MEGABYTE,
) -> Iterator[tuple[str, bytes]]:
    """Name and content of each member of a zip file whose name is accepted, sorted by name.

    Names are only compared and never used as paths, so path traversal (`../x`) is harmless.

    Args:
        accepts: whether to read the member of a given name.
        member_limit, total_limit: maximum unpacked bytes of one member and of all together;
            counted while unpacking, as the sizes in the file may be wrong.

    Raises:
        Refused: the file cannot be read, is not a zip file, is damaged, or unpacks to too much.
    """
    left = total_limit
    with archive_errors(path, "zip"), zipfile.ZipFile(path) as archive:
        entries = [e for e in archive.infolist() if not e.is_dir() and accepts(e.filename)]
        for entry in sorted(entries, key=lambda e: e.filename):
            with archive.open(entry) as stream:
                content = stream.read(min(member_limit, left) + 1)
            left -= len(content)
            if len(content) > member_limit or left < 0:
                raise Refused(f"{path}: {entry.filename} unpacks to more than is plausible")
            yield entry.filename, content


def tar_members(
    path: Path,
    accepts: Callable[[str], bool],
    *,
    member_limit: int = 16 * MEGABYTE,
    total_limit: int = 4096 * MEGABYTE,
) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file of a `.tar.gz` whose name is accepted, in archive order.

    Names are only compared, as in `members`. Links, devices and sparse files are skipped.

    Args:
        accepts: whether to read the file of a given name.
        member_limit: maximum bytes of one file.
        total_limit: maximum unpacked bytes of the whole archive, including headers and files that
            are not read; counted while unpacking.

    Raises:
        Refused: the file cannot be read, is not a tar.gz file, is damaged, or unpacks to too much.
    """
    with archive_errors(path, "tar.gz"), gzip.open(path) as stream:
        bounded = _Bounded(stream, total_limit, path)
        with tarfile.open(fileobj=bounded, mode="r|") as archive:
            for entry in archive:
                if not entry.isreg() or entry.issparse() or not accepts(entry.name):
                    continue
                if entry.size > member_limit:
                    raise Refused(f"{path}: {entry.name} unpacks to more than is plausible")
                yield entry.name, archive.extractfile(entry).read()
        while bounded.read(MEGABYTE):  # read to the end, so that the checksum is verified
            pass


@contextlib.contextmanager
def archive_errors(path: Path, kind: str) -> Iterator[None]:
    """Convert the errors of reading an archive to one line that names it.

    Args:
        kind: expected format, e.g. `zip` or `tar.gz`.

    Raises:
        Refused: in place of the various exceptions of the archive libraries.
    """
    try:
        yield
    except OSError as error:
        # None: raised by a library such as gzip; EINVAL: an offset before the start of the file
        if error.errno in (None, errno.EINVAL):
            raise Refused(f"{path}: not a whole {kind} file ({_reason(error)})") from error
        raise Refused(f"{path}: cannot be read ({error.strerror or error})") from error
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        ValueError,
        OverflowError,
        struct.error,
        NotImplementedError,  # unsupported compression
        RuntimeError,  # a password, or nested headers
    ) as error:
        raise Refused(f"{path}: not a whole {kind} file ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


class _Bounded(io.RawIOBase):
    """Reads from `stream`, and raises `Refused` after `limit` bytes."""

    def __init__(self, stream: gzip.GzipFile, limit: int, path: Path) -> None:
        self.stream, self.left, self.path = stream, limit, path

    def read(self, size: int = -1) -> bytes:
        content = self.stream.read(min(size, self.left + 1) if size >= 0 else self.left + 1)
        self.left -= len(content)
        if self.left < 0:
            raise Refused(f"{self.path}: unpacks to more than is plausible")
        return content
