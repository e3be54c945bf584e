"""Verified downloads; an error is one line that tells how to get the file by hand."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path

from metarun.errors import Refused, refusing_os_errors

log = logging.getLogger(__name__)

TIMEOUT = 30.0  # seconds without data
_allowed = ContextVar("downloads are allowed", default=True)


@contextlib.contextmanager
def no_downloads() -> Iterator[None]:
    """A context in which missing files are refused instead of downloaded."""
    token = _allowed.set(False)
    try:
        yield
    finally:
        _allowed.reset(token)


def fetch(
    url: str, target: Path, checksum: str, *, by_hand: str = "", timeout: float = TIMEOUT
) -> Path:
    """Download `url` to `target` unless `target` exists.

    The file is written to a temporary folder beside `target` and renamed after its checksum is
    verified. After a failure, the temporary folder and a new, empty parent folder are removed.

    Args:
        checksum: `md5:…` or `sha256:…` of the file.
        by_hand: advice for a failed download; by default, to put the file at `target`.

    Raises:
        Refused: one line with the URL, the reason and the advice.
    """
    with refusing_os_errors(target):
        if target.exists():
            return target
    if not _allowed.get():
        raise Refused(f"{target}: missing; {by_hand}")
    # slow imports, and most runs download nothing
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.WARNING)
    advice = by_hand or f"put it at {target} by hand"
    progress = _Progress(target.name) if sys.stderr.isatty() else False
    responses: list[requests.Response] = []  # pooch does not close the response if it fails
    new_folder = not target.parent.exists()
    log.info("downloading %s to %s", url, target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as part:
            pooch.retrieve(
                url,
                known_hash=checksum,
                path=part,
                fname=target.name,
                downloader=pooch.HTTPDownloader(
                    progressbar=progress,
                    chunk_size=1 << 16,
                    timeout=timeout,
                    hooks={"response": lambda response, **_: responses.append(response)},
                ),
            )
            os.replace(Path(part) / target.name, target)
    except requests.RequestException as error:
        raise Refused(f"{url}: {_reason(error)}; {advice}") from error
    except ValueError as error:  # raised by pooch for a wrong checksum
        kind, _, expected = checksum.rpartition(":")
        raise Refused(
            f"{url}: the download is not the expected file ({kind.upper()} is not {expected}); "
            f"{advice}"
        ) from error
    except OSError as error:
        reason = error.strerror or error
        raise Refused(f"{target.parent}: cannot write there ({reason}); {advice}") from error
    finally:
        for response in responses:
            response.close()
        if progress:
            progress.close()
        if new_folder and not target.exists():
            with contextlib.suppress(OSError):
                target.parent.rmdir()
    return target


def put_advice(root: Path, urls: Iterable[str]) -> str:
    """Advice to put the files at `urls` into `root` by hand."""
    return f"put {' and '.join(urls)} into data.root={root}"


def require_root(root: Path, cache: Path, by_hand: str) -> None:
    """Refuse a missing `data.root`, even if the data set is cached.

    The default root, beside the cache, may be missing: a download creates it.

    Raises:
        Refused: `root` is missing or cannot be read.
    """
    advice = f"{by_hand}, or leave data.root out to have them downloaded"
    is_default = root.absolute().parent == cache.absolute().parent
    try:
        allowed = is_default or root.is_dir()
    except OSError as error:  # e.g. a name that is too long, or no permission
        raise Refused(f"data.root={root}: {error.strerror or error}; {advice}") from error
    if not allowed:
        raise Refused(f"data.root={root}: no such folder; {advice}")


def _reason(error: Exception) -> str:
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        missing = "not found there" if error.response.status_code in (404, 410) else "refused"
        return f"{missing} (HTTP {error.response.status_code})"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return "no secure connection (certificate or TLS error)"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection was cut off"
    if isinstance(error, requests.ConnectionError):
        return "no connection (is there a network?)"
    return f"not a URL that can be fetched ({error})"


class _Progress:
    """Progress line on the terminal, updated a few times per second; called by pooch."""

    total = 0

    def __init__(self, name: str) -> None:
        self.name, self.done, self.updated, self.open = name, 0, 0.0, True

    def update(self, count: int) -> None:
        self.done += count
        if time.monotonic() - self.updated > 0.2 or self.done == self.total:
            self.updated = time.monotonic()
            done = min(self.done, self.total) if self.total else self.done
            of = f" of {self.total / 1e6:.1f}" if self.total else ""
            print(f"\r{self.name}: {done / 1e6:.1f}{of} MB", end="", file=sys.stderr, flush=True)

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        if self.open:
            self.open = False
            print(file=sys.stderr)
