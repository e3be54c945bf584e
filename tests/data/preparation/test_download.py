"""Downloads are atomic, and a failure is one line with advice."""

from __future__ import annotations

import hashlib
import io
import logging
import socket
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from metarun.data.preparation.archives import members
from metarun.data.preparation.download import fetch
from metarun.errors import Refused

BODY = bytes(range(256)) * 700
SHA256 = "sha256:" + hashlib.sha256(BODY).hexdigest()
MD5 = "md5:" + hashlib.md5(BODY).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path not in ("/good", "/cut"):
            self.send_error(404 if self.path == "/missing" else 503)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY if self.path == "/good" else BODY[: len(BODY) // 2])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("checksum", [SHA256, MD5], ids=["sha256", "md5"])
def test_a_download_leaves_only_its_file(server, tmp_path, checksum, caplog, capsys):
    caplog.set_level(logging.DEBUG, logger="pooch")
    folder = tmp_path / "Größe [1], a=b"
    target = fetch(f"{server}/good", folder / "file.zip", checksum)
    assert target.read_bytes() == BODY
    assert [p.name for p in folder.iterdir()] == ["file.zip"]
    assert capsys.readouterr() == ("", ""), "no progress where there is no terminal"
    assert not [r for r in caplog.records if r.name == "pooch"]


def test_an_existing_file_is_not_downloaded_again(tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    fetch("http://nowhere.invalid/file", tmp_path / "file", SHA256)
    assert (tmp_path / "file").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("path", "checksum", "reason"),
    [
        ("/cut", SHA256, "cut off"),
        ("/good", "md5:" + "0" * 32, "not the expected file"),
        ("/missing", SHA256, "not found there (HTTP 404)"),
        ("/broken", SHA256, "HTTP 503"),
    ],
)
def test_a_failed_download_is_one_line_and_leaves_nothing(server, tmp_path, path, checksum, reason):
    with pytest.raises(Refused) as refused:
        fetch(server + path, tmp_path / "file.zip", checksum)
    (line,) = refused.value.mistakes
    assert "\n" not in line
    assert line.startswith(server + path + ": ")
    assert reason in line
    assert str(tmp_path / "file.zip") in line, "where to put it by hand"
    assert list(tmp_path.iterdir()) == []
    fetch(f"{server}/good", tmp_path / "file.zip", SHA256)  # the next attempt starts afresh


def test_no_network_is_one_line(closed_port, tmp_path):
    url = f"http://127.0.0.1:{closed_port}/file.zip"
    with pytest.raises(Refused, match="no connection") as refused:
        fetch(url, tmp_path / "file.zip", SHA256, by_hand="put both files into X")
    (line,) = refused.value.mistakes
    assert line.startswith(url)
    assert line.endswith("put both files into X")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(Refused):
        fetch(url, tmp_path / "new" / "file.zip", SHA256)
    assert list(tmp_path.iterdir()) == [], "nor a folder made for it"


def test_a_silent_server_times_out(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/file"
        with pytest.raises(Refused, match="no answer in time"):
            fetch(url, tmp_path / "file", SHA256, timeout=0.2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["not-a-url", "http://"])
def test_an_invalid_url_is_one_line(url, tmp_path):
    with pytest.raises(Refused, match=url):
        fetch(url, tmp_path / "file", SHA256)


def test_a_target_that_cannot_be_written_is_one_line(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="cannot write there"):
        fetch(f"{server}/good", tmp_path / "file" / "x.zip", SHA256)


def test_an_interrupt_leaves_nothing(server, tmp_path, monkeypatch):
    import pooch

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(pooch.hashes, "hash_matches", interrupted)
    monkeypatch.setattr(pooch.core, "hash_matches", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(f"{server}/good", tmp_path / "file.zip", SHA256)
    assert list(tmp_path.iterdir()) == []


def test_progress_is_shown_on_a_terminal(server, tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    fetch(f"{server}/good", tmp_path / "file.zip", SHA256)
    assert terminal.getvalue().endswith("file.zip: 0.2 of 0.2 MB\n")


def a_zip(path, contents: dict[str, bytes]):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def test_accepted_members_come_sorted(tmp_path):
    path = a_zip(tmp_path / "a.zip", {"b.png": b"2", "d/": b"", "a.png": b"1", "c.txt": b"3"})
    found = list(members(path, lambda name: name.endswith(".png")))
    assert found == [("a.png", b"1"), ("b.png", b"2")]


def test_path_traversal_writes_nothing(tmp_path):
    path = a_zip(tmp_path / "a.zip", {"../../evil": b"x", "/abs": b"y"})
    before = sorted(tmp_path.rglob("*"))
    assert dict(members(path, lambda name: True)) == {"../../evil": b"x", "/abs": b"y"}
    assert sorted(tmp_path.rglob("*")) == before


def test_a_bomb_is_refused(tmp_path):
    path = a_zip(tmp_path / "a.zip", {"one": bytes(10_000), "two": bytes(10_000)})
    with pytest.raises(Refused, match=r"one unpacks to more"):
        list(members(path, lambda name: True, member_limit=9_999))
    with pytest.raises(Refused, match=r"two unpacks to more"):
        list(members(path, lambda name: True, total_limit=19_999))
    assert len(list(members(path, lambda name: True, member_limit=10_000, total_limit=20_000))) == 2


def test_a_damaged_zip_is_refused_by_name(tmp_path):
    path = a_zip(tmp_path / "a.zip", {"one": b"content" * 100})
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[40] ^= 0xFF
    for content in (b"", b"not a zip", whole[:-30], bytes(damaged)):
        path.write_bytes(content)
        with pytest.raises(Refused) as refused:
            list(members(path, lambda name: True))
        assert str(path) in str(refused.value)
        assert len(refused.value.mistakes) == 1
    with pytest.raises(Refused, match="cannot be read"):
        list(members(tmp_path, lambda name: True))
