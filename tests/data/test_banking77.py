"""BANKING77: content hash, held-out intents, and one-line errors for damaged files."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest

from metarun.data.banking77 import BANKING77
from metarun.data.classes import Facts
from metarun.data.ngrams import vectors
from metarun.data.sentences import content_hash
from metarun.errors import Refused

INTENTS = list(BANKING77.counts)
FILES = ("train.csv", "test.csv")
TINY = ["debug=tiny", "queries=2", "threads=1"]


def table(rows: list[list[str]], line_end: str = "\n") -> bytes:
    file = io.StringIO()
    csv.writer(file, lineterminator=line_end).writerows([["text", "category"], *rows])
    return file.getvalue().encode()


@pytest.fixture(scope="module")
def rows() -> dict[str, list[list[str]]]:
    """Four sentences of each of the 77 intents, with characters that CSV has to quote."""
    return {
        "train.csv": [
            [f'My "{i.lower()}", number {k},\n\nwhy £?', i] for i in INTENTS for k in range(3)
        ],
        "test.csv": [[f"What about {i}?", i] for i in reversed(INTENTS)],
    }


@pytest.fixture
def small(rows, monkeypatch) -> dict[str, bytes]:
    """Small files, with counts, content hash and checksums patched to match."""
    files = {file: table(rows[file]) for file in FILES}
    by_class: dict[str, list[str]] = {}
    for sentence, intent in (row for file in FILES for row in rows[file]):
        by_class.setdefault(intent, []).append(sentence.replace("\n\n", " "))
    checksums = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
    monkeypatch.setattr(BANKING77, "counts", dict.fromkeys(INTENTS, 4))
    monkeypatch.setattr(BANKING77, "content", content_hash(by_class))
    monkeypatch.setattr(BANKING77, "files", checksums)
    return files


def written(root: Path, files: dict[str, bytes]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        (root / file).write_bytes(content)
    return root


def banking(root: Path, cache: Path, **keys: object) -> BANKING77:
    """With a `url` that has no server."""
    return BANKING77(root=str(root), cache=str(cache), **{"url": "http://127.0.0.1:9", **keys})


def refusal(root: Path, cache: Path, **keys: object) -> str:
    with pytest.raises(Refused) as refused:
        banking(root, cache, **keys).load()
    (line,) = refused.value.mistakes
    assert "\n" not in line
    return line


class TestPreparing:
    def test_items_are_the_sentences_of_both_files(self, small, rows, tmp_path):
        root = written(tmp_path / "root", small)
        splits = banking(root, tmp_path / "cache", words=1).load()
        assert {n: s.facts for n, s in splits.items()} == {
            "train": Facts(40, 4),
            "val": Facts(12, 4),
            "test": Facts(25, 4),
        }
        test = splits["test"]
        name, first = test.names[3], test.first[3]
        mine = sorted(s for file in FILES for s, intent in rows[file] if intent == name)
        assert np.array_equal(test.items[first : first + 4], vectors(mine, 2048, 1, [3, 4]))

    def test_line_ends_and_order_do_not_matter(self, small, rows, tmp_path):
        turned = {
            file: b"\xef\xbb\xbf" + table(rows[file][::-1], "\r\n").replace(b"\n\n", b"\r\n\r\n")
            for file in FILES
        }
        one = banking(written(tmp_path / "one", small), tmp_path / "cache 1").load()
        two = banking(written(tmp_path / "two", turned), tmp_path / "cache 2").load()
        assert one["test"].sha256 == two["test"].sha256

    def test_the_split_depends_on_its_seed_alone(self, tmp_path):
        tests = {
            tuple(banking(tmp_path, tmp_path, split_seed=seed).classes()["test"])
            for seed in (0, 1, 2, 0)
        }
        assert len(tests) == 3
        dealt = banking(tmp_path, tmp_path, split_seed=7).classes()
        assert sorted(name for some in dealt.values() for name in some) == INTENTS


class TestDownloading:
    def test_only_missing_files_are_downloaded(self, web, small, tmp_path):
        web.files["/train.csv"] = small["train.csv"]
        home = tmp_path / "home"
        root = written(home / "banking77", {"test.csv": small["test.csv"]})
        banking(root, home / "cache", url=web.url).load()
        assert sorted(p.name for p in root.iterdir()) == ["test.csv", "train.csv"]

    @pytest.mark.parametrize(
        ("served", "cut", "reason"),
        [
            (b"text,category\n", False, "the download is not the expected file"),
            (None, False, "HTTP 404"),
            ("whole", True, "the connection was cut off"),
        ],
    )
    def test_a_failed_download_of_the_second_file_is_one_line(
        self, web, small, tmp_path, served, cut, reason
    ):
        web.files["/train.csv"] = small["train.csv"]
        if served is not None:
            web.files["/test.csv"] = small["test.csv"] if served == "whole" else served
        if cut:
            web.cut.add("/test.csv")
        home = tmp_path / "home"
        line = refusal(home / "banking77", home / "cache", url=web.url)
        assert reason in line and f"{web.url}/test.csv" in line
        assert [p.name for p in (home / "banking77").iterdir()] == ["train.csv"]
        assert not list((home / "cache").rglob("i*"))

    def test_without_network_the_error_names_both_files(self, no_network, tmp_path):
        (tmp_path / "mine").mkdir()
        line = refusal(tmp_path / "mine", tmp_path / "else" / "cache", url=no_network)
        assert "no connection" in line
        assert f"put {no_network}/train.csv and {no_network}/test.csv into data.root=" in line


class TestRefusing:
    """Wrong files are refused in one line that names the file, and the cache is unchanged."""

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "the file is empty"),
            (b"\x00" * 100, "no column text and category; its first line names"),
            (b"My card?,card_arrival\n", "its first line names My card?, card_arrival"),
            (b"<html>not found</html>", "no column text and category"),
            (b"text,category\nMy card?\n", "line 2 has no category"),
            (
                b"text,category\nMy, card?,card_arrival\n",
                "line 2 has 3 columns, and the first",
            ),
            (b'text,category\n"My card?,card_arrival\n', "not CSV (line 2: "),
            (b'text,category\n"My" card?,card_arrival\n', "not CSV (line 2: "),
            (b"text,category\n" + b"a" * 200_000 + b",card_arrival\n", "not CSV (line 2: "),
            ("text,category\ncafé,card_arrival\n".encode("latin-1"), "not text in UTF-8"),
            (b"text,category\nMy\x00card?,card_arrival\n", "card_arrival: 4 instead of 3"),
            (b"text,category\n", "77 intents with too many or too few sentences"),
            (b"text,category\nMy card?,\x1b[2J\n", r"1 intents unknown ('\x1b[2J')"),
        ],
    )
    def test_another_file(self, small, tmp_path, monkeypatch, content, reason):
        cache = tmp_path / "cache"
        banking(written(tmp_path / "good", small), cache, features=32).load()
        before = {p.name: p.read_bytes() for p in cache.rglob("*") if p.is_file()}
        if b"\x00card" in content:  # one row too many for the three of train.csv
            monkeypatch.setattr(BANKING77, "counts", dict.fromkeys(INTENTS, 3))
        root = written(tmp_path / "root", {**small, "test.csv": content})
        line = refusal(root, cache)
        assert reason in line and str(root) in line
        assert line.isprintable()
        assert {p.name: p.read_bytes() for p in cache.rglob("*") if p.is_file()} == before

    def test_a_letter_altered(self, small, tmp_path):
        altered = small["train.csv"].replace(b"number 2", b"number 3", 1)
        root = written(tmp_path / "root", {**small, "train.csv": altered})
        assert "some were altered" in refusal(root, tmp_path / "cache")

    def test_the_two_files_swapped_are_the_same_data(self, small, tmp_path):
        swapped = dict(zip(FILES, [small["test.csv"], small["train.csv"]], strict=True))
        banking(written(tmp_path / "root", swapped), tmp_path / "cache").load()


def test_a_run_on_vectors(metarun, small, tmp_path):
    root = written(tmp_path / "files", small)
    code, _, lines = metarun("data=banking77", f"data.root='{root}'", *TINY, "out=run")
    assert (code, lines) == (0, [])
    assert json.loads(Path("run/result.json").read_text())["protocol"]["data"] == "banking77"
    assert metarun("evaluate", "run=run", "split=val", "episodes=4")[0] == 0


@pytest.fixture(scope="module")
def real(real_data) -> Path:
    folder = real_data / "banking77"
    if not all((folder / file).is_file() for file in FILES):
        pytest.skip(f"no {' and '.join(FILES)} in {folder}")
    return folder


class TestTheRealOne:
    def test_the_official_files_match_content_hash_and_facts(self, real, tmp_path):
        for file in FILES:
            checksum = hashlib.sha256((real / file).read_bytes()).hexdigest()
            assert checksum == BANKING77.files[file]
        data = BANKING77(root=str(real), cache=str(tmp_path))
        splits = data.load()
        assert {n: s.facts for n, s in splits.items()} == data.facts()
        assert splits["train"].items.shape == (10_003 + 3_080, 2048)

    def test_the_intents_are_the_official_ones(self, real):
        path = real / "categories.json"
        if not path.is_file():
            pytest.skip(f"no {path}")
        assert set(json.loads(path.read_text())) == set(INTENTS)
