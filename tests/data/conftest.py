"""Data sets that several tests share."""

from __future__ import annotations

import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from metarun.data.classes import Split
from metarun.data.glyphs import Glyphs

HERE = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def glyphs_cache(data_home) -> str:
    cache = data_home / "glyphs cache, [ä]=1"
    Glyphs(cache=str(cache)).load()
    return str(cache)


@pytest.fixture(scope="session")
def glyphs(glyphs_cache) -> dict[str, Split]:
    return Glyphs(cache=glyphs_cache).load()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real data sets: METARUN_TEST_DATA, or beside the checkout."""
    return Path(os.environ.get("METARUN_TEST_DATA", HERE.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def real_omniglot(real_data) -> Path:
    root = real_data / "omniglot"
    for name in ("images_background.zip", "images_evaluation.zip"):
        if not (root / name).is_file():
            pytest.skip(f"no {name} in {root}")
    return root


class Web:
    """A local web server, with its files and the downloads that it cuts off half-way.

    Attributes:
        url: its address, without a slash at the end.
        files: path (`/name.zip`) → content; anything else is not found there.
        cut: paths whose answer stops half-way.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.files: dict[str, bytes] = {}
        self.cut: set[str] = set()


@pytest.fixture
def web():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = site.files.get(self.path)
            if body is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if self.path in site.cut else body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site = Web(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield site
        server.shutdown()


@pytest.fixture
def no_network() -> str:
    """An address without a server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"
