"""Your own sentences in a table: trained, tested, shown and labelled as sentences of a data set."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from metarun.data.classes import Facts
from metarun.data.text_table import TextTable
from metarun.errors import Refused

TOPICS = ["card", "cash", "loan", "rent", "ship", "taxi", "tree", "wine"]
TINY = ("debug=tiny", "threads=1", "ways=2", "shots=2", "queries=2", "data.features=64")


def rows() -> list[tuple[str, str]]:
    return [(f"{t} number {k} is {t}{k}", t.upper()) for k in range(6) for t in TOPICS]


@pytest.fixture
def file(tmp_path) -> Path:
    with (tmp_path / "bank.csv").open("w", newline="") as out:
        csv.writer(out).writerows([("question", "intent"), *rows()])
    return tmp_path / "bank.csv"


def data(file: Path, **keys: object) -> TextTable:
    keys = {"text": "question", "label": "intent", "cache": str(file.parent / "cache"), **keys}
    return TextTable(file=str(file), features=64, **keys)


def test_a_label_is_a_class_and_classes_are_split(file):
    splits = data(file).load()
    assert data(file).facts() == {"train": Facts(4, 6), "val": Facts(2, 6), "test": Facts(2, 6)}
    assert sorted(n for s in splits.values() for n in s.names) == [t.upper() for t in TOPICS]
    for split in splits.values():
        for name, first in zip(split.names, split.first, strict=True):
            own = data(file).prepare_own(sorted(text for text, label in rows() if label == name))
            np.testing.assert_array_equal(split.items[first : first + 6], own)


def test_another_table_of_the_same_sentences_is_the_same_data(file, tmp_path):
    lines = [json.dumps({"question": text, "intent": label}) for text, label in reversed(rows())]
    (tmp_path / "other.jsonl").write_text("\n".join(lines))
    one, two = data(file).load(), data(tmp_path / "other.jsonl").load()
    assert {n: s.sha256 for n, s in one.items()} == {n: s.sha256 for n, s in two.items()}


def test_a_file_may_define_the_split(file, tmp_path):
    split = {"train": ["CARD"], "val": ["CASH"], "test": ["LOAN", "WINE"]}
    (tmp_path / "split.json").write_text(json.dumps(split))
    assert data(file, split_file=str(tmp_path / "split.json")).classes == split


def test_two_labels_can_be_the_test(file, tmp_path):
    (tmp_path / "two.tsv").write_text("text\tlabel\na\tx\nb\tx\nc\ty\nd\ty\n")
    two = TextTable(file=str(tmp_path / "two.tsv"), cache=str(tmp_path), fractions=[0, 0, 1])
    assert two.facts()["test"] == Facts(2, 2)
    with pytest.raises(Refused, match=r"2 classes \(x, y\), and train, val and test need 2 each"):
        TextTable(file=str(tmp_path / "two.tsv"), cache=str(tmp_path)).facts()


def test_a_run_from_the_table_to_the_labels(metarun, file, tmp_path):
    typed = ("data=text_table", f"data.file={file}", "data.text=question", "data.label=intent")
    assert metarun(*typed, *TINY, "out=run")[0] == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["protocol"]["data_name"] == "bank"
    code, out, _ = metarun("show", *typed, *TINY)
    assert code == 0
    assert "vectors of 64 numbers" in out
    rows = [f"{t}\t{t} again {t}{k}" for t in TOPICS[:3] for k in "ab"]
    (tmp_path / "support.tsv").write_text("\n".join(["intent\tquestion", *rows]))
    (tmp_path / "query.txt").write_text("\n".join(f"my {t} {t}3" for t in TOPICS[:3]))
    code, _, err = metarun("predict", "run=run", "support=support.tsv", "query=query.txt", "out=p")
    assert (code, err) == (0, [])
    assert len((tmp_path / "p" / "predictions.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"question,label\na,b\n", "data.file={}: no column intent; its first line names"),
        ("question,intent\ncafé,b\n".encode("latin-1"), "{}: not text in UTF-8 (at byte 19)"),
        (b"", "{}: the file is empty"),
        (None, "{}: cannot be read (No such file"),
    ],
)
def test_a_wrong_request_is_one_line_and_writes_nothing(metarun, tmp_path, content, line):
    file = tmp_path / "data" / "bank.csv"
    file.parent.mkdir()
    if content is not None:
        file.write_bytes(content)
    typed = ("data=text_table", f"data.file={file}", "data.text=question", "data.label=intent")
    code, _, err = metarun(*typed, *TINY, "out=run", f"data.cache={tmp_path / 'cache'}")
    assert (code, len(err)) == (2, 1)
    assert err[0].startswith(f"metarun: {line.format(file)}")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data"]
