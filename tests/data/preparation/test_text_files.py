"""Tables of named columns: three forms with the same content, and one line for each mistake."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metarun.data.preparation.text_files import table
from metarun.errors import Refused

words = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1).filter(
    str.strip
)


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
        return path
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(
            file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ","
        )
        writer.writeheader()
        writer.writerows(rows)
    return path


@given(st.lists(st.tuples(words, words), min_size=1, max_size=5))
def test_three_forms_hold_the_same_rows(tmp_path_factory, pairs):
    folder = tmp_path_factory.mktemp("tables")
    rows = [{"id": 1, "label": label, "text": text} for text, label in pairs]
    expected = [[" ".join(text.split()), " ".join(label.split())] for text, label in pairs]
    for name in ("a.csv", "a.tsv", "a.jsonl"):
        assert list(table(write(folder / name, rows), ("text", "label"), "file")) == expected


def test_numbers_are_labels_as_text(tmp_path):
    rows = write(tmp_path / "a.jsonl", [{"text": "hi", "label": 3}, {"text": "a", "label": 0}])
    assert list(table(rows, ("text", "label"), "file")) == [["hi", "3"], ["a", "0"]]


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.csv", "text,intent\na,b\n", "f=a: no column label; its first line names text, intent"),
        ("a.csv", "text,label\na,\n", "f=a: line 2 has no label"),
        ("a.csv", "text,label\na, b,c\n", "f=a: line 2 has 3 columns, and the first line 2"),
        ("a.csv", 'text,label\n"a,b\n', "f=a: not CSV (line "),
        (
            "a.tsv",
            "text,label\na,b\n",
            "f=a: no column text and label; its first line names text,l",
        ),
        ("a.jsonl", '{"text": "a"}\n', "f=a: line 1 has no label"),
        ("a.jsonl", '{"text": "a", "label": "b"}\n[1]\n', "f=a: line 2 is no JSON object"),
        ("a.jsonl", "text,label\n", "f=a: line 1 is not JSON ("),
        ("a.jsonl", '{"text": "a", "label": null}', "f=a: line 1 has no label"),
        ("a.xlsx", "PK", "f=a: should be a table: .csv, .tsv, .tab, .jsonl, .ndjson, not .xlsx"),
        ("a.csv", "", "/a.csv: the file is empty"),
    ],
)
def test_a_wrong_table_is_one_line(tmp_path, name, content, line):
    (tmp_path / name).write_text(content)
    with pytest.raises(Refused) as refused:
        list(table(tmp_path / name, ("text", "label"), "f=a"))
    (found,) = refused.value.mistakes
    assert found.removeprefix(str(tmp_path)).startswith(line)


def test_another_encoding_is_one_line(tmp_path):
    (tmp_path / "a.csv").write_bytes("text,label\ncafé,x\n".encode("latin-1"))
    with pytest.raises(Refused, match=r"a.csv: not text in UTF-8 \(at byte 14\)"):
        list(table(tmp_path / "a.csv", ("text", "label"), "f=a"))
