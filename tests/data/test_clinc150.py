"""CLINC150: content hash, held-out intents or domains, and one-line errors."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from metarun.data import clinc150 as module
from metarun.data.classes import Facts
from metarun.data.clinc150 import CLINC150, DOMAINS, NAMES
from metarun.data.duplicates import shared_items
from metarun.data.ngrams import vectors
from metarun.data.sentences import content_hash
from metarun.errors import Refused

EACH = {"train": 3, "val": 1, "test": 2}  # sentences of an intent; the official: 100, 20, 30
TINY = ["debug=tiny", "queries=2", "threads=1"]


@pytest.fixture(scope="module")
def official() -> dict[str, list[list[str]]]:
    """All 150 intents with 6 sentences each, and some out of scope, in the official order."""
    parts = {"oos_val": [["what is the wifi password", "oos"]]}
    for part, count in EACH.items():
        parts[part] = [
            [f"about {intent.replace('_', ' ')} please, {part} number {k}", intent]
            for intent in reversed(NAMES)
            for k in range(count)
        ]
    return {**parts, "oos_train": [["how tall is it", "oos"]]}


@pytest.fixture
def small(official, monkeypatch) -> bytes:
    """A small file, with counts, content hash and checksum patched to match."""
    by_class: dict[str, list[str]] = {}
    for part in EACH:
        for sentence, intent in official[part]:
            by_class.setdefault(NAMES[intent], []).append(sentence)
    content = json.dumps(official, indent=4).encode()
    monkeypatch.setattr(CLINC150, "counts", dict.fromkeys(NAMES.values(), 6))
    monkeypatch.setattr(CLINC150, "content", content_hash(by_class))
    checksum = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(CLINC150, "files", {"data_full.json": checksum})
    return content


@pytest.fixture
def root(small, tmp_path) -> Path:
    return written(tmp_path / "Größe [1], a=b", small)


def written(root: Path, content: bytes) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "data_full.json").write_bytes(content)
    return root


def clinc(root: Path, cache: Path, **keys: object) -> CLINC150:
    """With a `url` that has no server."""
    return CLINC150(root=str(root), cache=str(cache), **{"url": "http://127.0.0.1:9", **keys})


def refusal(root: Path, cache: Path, **keys: object) -> str:
    with pytest.raises(Refused) as refused:
        clinc(root, cache, **keys).load()
    (line,) = refused.value.mistakes
    assert "\n" not in line
    return line


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


class TestPreparing:
    def test_items_are_the_pooled_sentences_in_scope(self, root, official, tmp_path):
        splits = clinc(root, tmp_path / "cache", features=64).load()
        assert {n: s.facts for n, s in splits.items()} == {
            "train": Facts(90, 6),
            "val": Facts(30, 6),
            "test": Facts(30, 6),
        }
        train = splits["train"]
        assert train.shape == (64,)
        assert len(train.items) == 900  # none of them out of scope
        name, first = train.names[17], train.first[17]
        rows = [r for part in EACH for r in official[part]]
        mine = sorted(s for s, intent in rows if NAMES[intent] == name)
        assert np.array_equal(train.items[first : first + 6], vectors(mine, 64, 0, [3, 4]))

    def test_layout_and_order_of_the_file_do_not_matter(self, root, official, tmp_path):
        shuffled = {part: list(reversed(rows)) for part, rows in reversed(official.items())}
        content = b"\xef\xbb\xbf" + json.dumps(shuffled).replace(" please", "\\n  please").encode()
        other = written(tmp_path / "other", content)
        one = clinc(root, tmp_path / "cache a").load()
        two = clinc(other, tmp_path / "cache b").load()
        assert {n: s.sha256 for n, s in one.items()} == {n: s.sha256 for n, s in two.items()}

    def test_other_features_are_prepared_anew(self, root, tmp_path):
        found = {}
        for keys in ({}, {"words": 1}, {"features": 512}, {"characters": [2, 5]}):
            splits = clinc(root, tmp_path / "cache", **keys).load()
            found[splits["test"].sha256] = splits["test"].shape
        assert list(found.values()) == [(2048,), (2048,), (512,), (2048,)]

    def test_the_second_start_does_not_need_the_file(self, root, tmp_path):
        first = clinc(root, tmp_path / "cache").load()
        (root / "data_full.json").unlink()
        again = clinc(root, tmp_path / "cache").load()
        assert again["test"].sha256 == first["test"].sha256


class TestSplits:
    def test_facts_do_not_touch_the_disk(self, tmp_path):
        for split in ("intents", "domains"):
            data = clinc(tmp_path / "none", tmp_path / "cache", split=split)
            assert data.facts() == {
                "train": Facts(90, 150),
                "val": Facts(30, 150),
                "test": Facts(30, 150),
            }
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("split", ["intents", "domains"])
    def test_every_intent_is_in_one_split(self, tmp_path, split):
        classes = clinc(tmp_path, tmp_path, split=split, split_seed=5).classes()
        names = [name for some in classes.values() for name in some]
        assert sorted(names) == sorted(f"{d}/{i}" for d, some in DOMAINS.items() for i in some)

    def test_domains_are_held_out_as_a_whole(self, tmp_path):
        for seed in range(5):
            classes = clinc(tmp_path, tmp_path, split="domains", split_seed=seed).classes()
            domains = {s: {name.split("/")[0] for name in some} for s, some in classes.items()}
            assert [len(some) for some in domains.values()] == [6, 2, 2]
            assert not domains["train"] & (domains["val"] | domains["test"])
            assert not domains["val"] & domains["test"]

    def test_intents_of_a_domain_may_be_in_several_splits(self, tmp_path):
        classes = clinc(tmp_path, tmp_path, split="intents").classes()
        assert {n.split("/")[0] for n in classes["test"]} & {
            n.split("/")[0] for n in classes["train"]
        }


class TestDownloading:
    def test_a_missing_file_is_downloaded(self, web, small, tmp_path):
        web.files["/data/data_full.json"] = small
        home = tmp_path / "home"
        data = clinc(home / "clinc150", home / "cache", url=f"{web.url}/data/")
        assert data.load()["train"].facts == Facts(90, 6)
        assert [p.name for p in (home / "clinc150").iterdir()] == ["data_full.json"]

    @pytest.mark.parametrize(
        ("served", "cut", "reason"),
        [
            (b"{}", False, "the download is not the expected file"),
            (None, False, "HTTP 404"),
            ("whole", True, "the connection was cut off"),
        ],
    )
    def test_a_failed_download_is_one_line_and_leaves_nothing(
        self, web, small, tmp_path, served, cut, reason
    ):
        if served is not None:
            web.files["/data_full.json"] = small if served == "whole" else served
        if cut:
            web.cut.add("/data_full.json")
        home = tmp_path / "home"
        line = refusal(home / "clinc150", home / "cache", url=web.url)
        assert reason in line and f"{web.url}/data_full.json" in line
        assert not (home / "clinc150").exists()
        assert not list((home / "cache").rglob("i*"))

    def test_without_network_the_error_names_file_and_folder(self, no_network, tmp_path):
        (tmp_path / "mine").mkdir()
        line = refusal(tmp_path / "mine", tmp_path / "else" / "cache", url=no_network)
        assert "no connection" in line
        assert f"put {no_network}/data_full.json into data.root={tmp_path / 'mine'}" in line

    def test_a_missing_root_is_refused(self, tmp_path):
        line = refusal(tmp_path / "nowhere", tmp_path / "else" / "cache")
        assert line.startswith(f"data.root={tmp_path / 'nowhere'}: no such folder")


def rows_of(**changes: object) -> bytes:
    return json.dumps({"train": [], "val": [], "test": [], **changes}).encode()


class TestRefusing:
    """Wrong files are refused in one line that names the file, and the cache is unchanged."""

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "the file is empty"),
            (b"<html>not found</html>", "not JSON"),
            (b'{"train": [', "not JSON"),
            (b"[" * 100_000, "not JSON (nested too deeply)"),
            (b'{"train": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
            (b"1" * 10_000, "not JSON"),
            (b"\xff\xfe{}", "not text in UTF-8"),
            (b"[]", 'no list of sentences under "train"'),
            (b"null", 'no list of sentences under "train"'),
            (b'{"train": [], "val": {}}', 'no list of sentences under "val"'),
            (rows_of(val=[["hello", "greeting"], "hello"]), 'item 1 of "val"'),
            (rows_of(test=[["hello"]]), 'item 0 of "test"'),
            (rows_of(test=[["hello", ["greeting"]]]), 'item 0 of "test"'),
            (rows_of(test=[[None, "greeting"]]), 'item 0 of "test"'),
            (rows_of(), "150 of 150 intents missing"),
            (rows_of(train=[["x", "a" * 10_000_000]]), "1 intents unknown ('aaa"),
            (rows_of(train=[["x", "\x1b[2J\n\ud800"]]), r"('\x1b[2J\n\ud800')"),
        ],
    )
    def test_another_file(self, small, tmp_path, content, reason):
        cache = tmp_path / "cache"
        clinc(written(tmp_path / "good", small), cache, features=32).load()
        before = snapshot(cache)
        root = written(tmp_path / "root", content)
        line = refusal(root, cache)
        assert reason in line and str(root) in line
        assert len(line) < 1000 and line.isprintable()
        assert snapshot(cache) == before

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda o: o["train"].pop(0), "1 intents with too many or too few sentences ("),
            (lambda o: o["val"].append(o["val"][0]), ": 7 instead of 6)"),
            (lambda o: o["test"].append(["x", "klingon"]), "1 intents unknown ('klingon')"),
            (lambda o: o["test"][5].__setitem__(0, "altered"), "some were altered"),
        ],
    )
    def test_an_altered_one(self, official, small, tmp_path, change, reason):
        altered = json.loads(json.dumps(official))
        change(altered)
        root = written(tmp_path / "root", json.dumps(altered).encode())
        assert reason in refusal(root, tmp_path / "cache")

    def test_an_intent_missing(self, official, small, tmp_path):
        left = {p: [r for r in rows if r[1] != "translate"] for p, rows in official.items()}
        root = written(tmp_path / "root", json.dumps(left).encode())
        line = refusal(root, tmp_path / "cache")
        assert "1 of 150 intents missing (travel/translate)" in line
        assert f"/data_full.json into data.root={root}" in line

    def test_a_folder_without_permission(self, small, tmp_path, monkeypatch):
        """Simulates a folder of mode 0 for a user other than root."""
        exists = Path.exists

        def forbidden(path: Path, **keys: bool) -> bool:
            if path.name == "data_full.json":
                raise PermissionError(13, "Permission denied", str(path))
            return exists(path, **keys)

        monkeypatch.setattr(Path, "exists", forbidden)
        (tmp_path / "root").mkdir()
        line = refusal(tmp_path / "root", tmp_path / "cache")
        assert line.endswith("data_full.json: cannot be read (Permission denied)")

    @pytest.mark.parametrize(
        ("keys", "message"),
        [
            ({"characters": None}, "data.words=0 data.characters=null: no n-grams are left"),
            ({"characters": []}, "data.characters=[]: should be the shortest and the longest"),
            ({"characters": [3]}, "data.characters=[3]: should be the shortest and the longest"),
            ({"characters": [4, 3], "words": 1}, "data.characters=[4,3]: should be"),
        ],
    )
    def test_invalid_combinations_of_keys(self, tmp_path, keys, message):
        assert refusal(tmp_path, tmp_path / "cache", **keys).startswith(message)


class TestRuns:
    """A run on vectors, from the command to its folder."""

    def test_train_and_evaluate(self, metarun, root, tmp_path):
        data = ["data=clinc150", f"data.root='{root}'", "data.features=64"]
        code, _, lines = metarun(*data, *TINY, "out=run")
        assert code == 0
        assert all(
            "are in another class too, to the byte" in line for line in lines
        )  # work's intents
        made = {p.name for p in Path("run").iterdir()}
        assert "result.json" in made and "episodes.png" not in made  # no pictures to be drawn
        result = json.loads(Path("run/result.json").read_text())
        assert result["protocol"]["data"] == "clinc150"
        assert result["protocol"]["backbone"]["_target_"].endswith("NGrams")
        code, _, lines = metarun("evaluate", "run=run", "shots=2", "episodes=4")
        assert code == 0

    def test_weights_and_biases_logs_it(self, metarun, root):
        data = ["data=clinc150", f"data.root='{root}'", "data.split=domains"]
        code, _, _ = metarun(*data, *TINY, "logger=wandb", "logger.mode=offline", "out=run")
        assert code == 0
        assert json.loads(Path("run/result.json").read_text())["status"] == "completed"

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["data.features=8"], "data.features=8: should be greater than or equal to 16"),
            (["data.features=1e9"], "data.features"),
            (["data.split=domain"], "data.split=domain: should be 'intents' or 'domains'"),
            (["data.split_seed=-1"], "data.split_seed=-1: should be"),
            (["data.characters=[0,3]"], "data.characters"),
            (["ways=31"], "ways=31: the val split of clinc150 has 30 classes"),
            (["shots=140"], "a class of clinc150 has 150 items"),
        ],
    )
    def test_an_invalid_value_is_one_line(self, metarun, words, message):
        """Refused before any file is read."""
        code, _, (line,) = metarun("data=clinc150", "data.root=nowhere", *words, "out=run")
        assert code == 2
        assert line.startswith("metarun: ") and message in line
        assert list(Path().iterdir()) == []

    def test_a_backbone_for_pictures_is_refused(self, metarun, root):
        data = ["data=clinc150", f"data.root='{root}'", "backbone=conv4", "queries=2"]
        code, _, (*_, line) = metarun(*data, "out=run")
        assert code == 2
        assert "takes pictures" in line
        assert not Path("run").exists()


@pytest.fixture(scope="module")
def real(real_data, tmp_path_factory) -> tuple[Path, str]:
    folder = real_data / "clinc150"
    if not (folder / "data_full.json").is_file():
        pytest.skip(f"no data_full.json in {folder}")
    return folder, str(tmp_path_factory.mktemp("real"))


class TestTheRealOne:
    def test_the_official_file_matches_content_hash_and_facts(self, real):
        folder, cache = real
        content = (folder / "data_full.json").read_bytes()
        assert hashlib.sha256(content).hexdigest() == CLINC150.files["data_full.json"]
        data = CLINC150(root=str(folder), cache=cache)
        splits = data.load()
        assert {n: s.facts for n, s in splits.items()} == data.facts()
        assert splits["train"].items.shape == (22_500, 2048)

    def test_the_domains_are_the_official_ones(self, real):
        path = real[0] / "domains.json"
        if not path.is_file():
            pytest.skip(f"no {path}")
        official = json.loads(path.read_text())
        assert {d: sorted(some) for d, some in official.items()} == module.DOMAINS

    def test_the_four_known_sentences_with_two_intents_are_found(self, real):
        """Each is in two intents; if these are in different splits, a run warns."""
        folder, cache = real
        data = CLINC150(root=str(folder), cache=cache)
        both = {
            tuple(sorted(name.rpartition("/")[0] for _, name in group))
            for group in data.load()["train"].copies
            if len({name.rpartition("/")[0] for _, name in group}) > 1
        }
        assert ("small_talk/how_old_are_you", "small_talk/where_are_you_from") in both
        assert ("home/reminder", "home/todo_list") in both
        assert shared_items(data.load())
