"""What a user names as support and query, in folders, lists, tables and text files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metarun.data.preparation.kinds import PICTURES
from metarun.errors import Refused
from metarun.predict.files import file_classes, file_query
from metarun.predict.sentences import sentence_classes, sentence_query
from tests.predict.material import picture, pictures


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refusal(call: Callable[..., Any], *args: Any) -> list[str]:
    with pytest.raises(Refused) as refused:
        call(*args)
    return refused.value.mistakes


class TestPictures:
    def test_a_class_is_a_folder_with_all_pictures_below_it(self) -> None:
        pictures(Path("s"), {"cat": 2, "dog/puppies": 1, "dog": 1, ".hidden": 1})
        Path("s/cat/notes.txt").touch()
        found = file_classes(PICTURES, Path("s"), "support")
        assert found == {
            "cat": ["s/cat/00.png", "s/cat/01.png"],
            "dog": ["s/dog/00.png", "s/dog/puppies/00.png"],
        }

    def test_a_query_is_a_folder_a_picture_or_a_list(self) -> None:
        pictures(Path("q"), {"b": 2, "a/below": 1})
        files = ["q/a/below/00.png", "q/b/00.png", "q/b/01.png"]
        assert file_query(PICTURES, Path("q")) == (files, {})
        assert file_query(PICTURES, Path("q/b/01.png")) == (["q/b/01.png"], {})
        Path("q/list.txt").write_text("q/b/01.png\n\nb/00.png\nmissing.png\n", "utf-8")
        listed = ["q/b/01.png", "q/b/00.png", "missing.png"]
        reason = {"missing.png": "cannot be read (No such file or directory)"}
        assert file_query(PICTURES, Path("q/list.txt")) == (listed, reason)

    def test_files_that_cannot_be_read_are_listed_with_the_reason(self) -> None:
        picture(Path("q/a.png"), 0, 0)
        Path("q/empty.png").touch()
        os.mkfifo("q/pipe.png")
        expected = {"q/empty.png": "empty", "q/pipe.png": "not a file"}
        assert file_query(PICTURES, Path("q")) == (["q/a.png", *expected], expected)
        Path("list").write_text("q/pipe.png\nq/empty.png")
        assert file_query(PICTURES, Path("list")) == (["q/pipe.png", "q/empty.png"], expected)

    def test_a_wrong_place_is_one_line(self) -> None:
        pictures(Path("s"), {"cat": 1})
        for name in ("s/dog", "s/.hidden", "empty"):
            Path(name).mkdir()
        (line,) = refusal(file_classes, PICTURES, Path("s"), "support")
        assert line.startswith("support=s: the class dog has no pictures (.jpg")
        assert refusal(file_classes, PICTURES, Path("none"), "truth")[0].startswith(
            "truth=none: no such f"
        )
        assert refusal(file_classes, PICTURES, Path("empty"), "support")[0].startswith(
            "support=empty: no c"
        )
        assert refusal(file_query, PICTURES, Path("empty"))[0].startswith(
            "query=empty: no pictures (.jpg"
        )
        assert refusal(file_query, PICTURES, Path("none")) == ["query=none: no such file or folder"]
        Path("odd.bin").write_bytes(b"\xff\xfe\x00")
        (line,) = refusal(file_query, PICTURES, Path("odd.bin"))
        assert line.startswith("query=odd.bin: should be a picture, a folder, or a text file with")
        Path("s/dog/0.png").touch()
        assert refusal(file_classes, PICTURES, Path("s"), "support")[0] == "s/dog/0.png: empty"


class TestSentences:
    def test_classes_are_labels_of_a_table_or_text_files(self) -> None:
        Path("s.csv").write_text('label,text\nhi,"good\nday"\nbye,see you\nhi, hello \n', "utf-8")
        expected = {"bye": ["see you"], "hi": ["good day", "hello"]}
        assert sentence_classes(Path("s.csv"), "support") == expected
        Path("s").mkdir()
        for name, sentences in expected.items():
            Path(f"s/{name}.txt").write_text("\n\n".join(sentences), "utf-8")
        assert sentence_classes(Path("s"), "support") == expected

    def test_a_query_has_a_sentence_on_each_line(self) -> None:
        Path("q.txt").write_text(" where is\tit \n\nhere\n", "utf-8")
        assert sentence_query(Path("q.txt")) == (["where is it", "here"], {})

    @pytest.mark.parametrize(
        ("content", "line"),
        [
            ("text,category\na,b\n", "no column label; its first line names text, category"),
            ("text,label\na,b\nc,\n", "line 3 has no label"),
            ("text,label\n,b\n", "line 2 has no text"),
            ("text,label\nc\n", "line 2 has no label"),
            ('text,label\n"a,b\n', "not CSV (line "),
            ("text,label\n", "no classes; it should be a CSV, TSV or JSONL file"),
        ],
    )
    def test_a_wrong_table_is_one_line(self, content: str, line: str) -> None:
        Path("s.csv").write_text(content, "utf-8")
        (found,) = refusal(sentence_classes, Path("s.csv"), "support")
        assert found.startswith(f"support=s.csv: {line}")

    def test_a_wrong_query_is_one_line(self) -> None:
        Path("q.csv").write_text("text\na\n")
        expected = "should be a text file with a sentence on each line"
        assert refusal(sentence_query, Path("q.csv")) == [f"query=q.csv: {expected}"]
        assert refusal(sentence_query, Path("none")) == [f"query=none: {expected}"]
        Path("empty.txt").write_text(" \n")
        assert refusal(sentence_query, Path("empty.txt")) == ["empty.txt: the file is empty"]
        assert refusal(sentence_classes, Path("none"), "truth")[0].startswith("truth=none: no such")
