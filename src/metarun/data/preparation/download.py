"""Fetching a file: whole and as expected, or one line that says what to do by hand."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from metarun.errors import Refused

log = logging.getLogger(__name__)

TIMEOUT = 30.0  # seconds without a byte


def fetch(
    url: str, target: Path, checksum: str, *, by_hand: str = "", timeout: float = TIMEOUT
) -> Path:
    """Download `url` to `target` unless something is there already.

    The file appears under its name only when it is complete and its checksum fits; until then it
    lives in a folder of its own beside, which is removed whatever happens, as is a folder that was
    made for nothing.

    Args:
        checksum: of the file, as `md5:…` or `sha256:…`.
        by_hand: what to do without the download; default: put the file at `target`.

    Raises:
        Refused: one line with the URL, the reason, and what to do by hand.
    """
    try:
        there = target.exists()
    except OSError as error:
        raise Refused(f"{target}: cannot be read ({error.strerror or error})") from error
    if there:
        return target
    # pooch and requests take a quarter of a second to import, and most runs download nothing
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.WARNING)
    advice = by_hand or f"put it at {target} by hand"
    progress = _Progress(target.name) if sys.stderr.isatty() else False
    answers: list[requests.Response] = []  # pooch leaves the answer open when it fails
    ours = not target.parent.exists()
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
                    hooks={"response": lambda answer, **_: answers.append(answer)},
                ),
            )
            os.replace(Path(part) / target.name, target)
    except requests.RequestException as error:
        raise Refused(f"{url}: {_reason(error)}; {advice}") from error
    except ValueError as error:  # pooch's word for a hash that does not match
        kind, _, expected = checksum.rpartition(":")
        raise Refused(
            f"{url}: what arrived is not the expected file ({kind.upper()} is not {expected}); "
            f"{advice}"
        ) from error
    except OSError as error:
        reason = error.strerror or error
        raise Refused(f"{target.parent}: cannot write there ({reason}); {advice}") from error
    finally:
        for answer in answers:
            answer.close()
        if progress:
            progress.close()
        if ours and not target.exists():
            with contextlib.suppress(OSError):
                target.parent.rmdir()
    return target


def put(root: Path, urls: Iterable[str]) -> str:
    """What to do by hand instead of downloading `urls`."""
    return f"put {' and '.join(urls)} into data.root={root}"


def existing(root: Path, cache: Path, by_hand: str) -> None:
    """Refuse a `data.root` that somebody typed and that is not there, whatever the cache holds.

    Our own place, beside the cache, may be made by a download.
    """
    advice = f"{by_hand}, or leave data.root out to have them downloaded"
    ours = root.absolute().parent == cache.absolute().parent
    try:
        there = ours or root.is_dir()
    except OSError as error:  # a name that is too long, or a folder above without rights
        raise Refused(f"data.root={root}: {error.strerror or error}; {advice}") from error
    if not there:
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
    """One line on the terminal, rewritten a few times a second; pooch calls these methods."""

    total = 0

    def __init__(self, name: str) -> None:
        self.name, self.done, self.shown, self.open = name, 0, 0.0, True

    def update(self, count: int) -> None:
        self.done += count
        if time.monotonic() - self.shown > 0.2 or self.done == self.total:
            self.shown = time.monotonic()
            done = min(self.done, self.total) if self.total else self.done
            of = f" of {self.total / 1e6:.1f}" if self.total else ""
            print(f"\r{self.name}: {done / 1e6:.1f}{of} MB", end="", file=sys.stderr, flush=True)

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        if self.open:
            self.open = False
            print(file=sys.stderr)
