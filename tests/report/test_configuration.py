"""Configurations are read by dotted key, hostile ones in bounded time."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metarun.report.configuration import MAX_ENTRIES, settings


def read(folder: Path, text: str) -> dict[str, str]:
    (folder / "config.yaml").write_text(text)
    return settings(folder)


def test_values_are_formatted_as_typed_on_a_command_line(tmp_path: Path) -> None:
    text = """
        seed: 3
        tags: [a, b]
        algo: {_target_: some.Class, inner_lr: 1.0e-05, first_order: true, name: null}
        choices: {algo: maml}
    """
    assert read(tmp_path, text) == {
        "seed": "3",
        "tags": "[a,b]",
        "algo.inner_lr": "1e-05",
        "algo.first_order": "true",
        "algo.name": "null",
        "algo": "maml",
    }


def doubled(last: str, line: str, times: int) -> str:
    """YAML in which each line refers to the line before several times."""
    lines = [f"a0: &a0 {last}"]
    for i in range(1, times):
        lines.append(f"a{i}: &a{i} " + line.replace("*", f"*a{i - 1}"))
    return "\n".join(lines)


BOMBS = {
    "merges": doubled("{x: 1}", "{<<: [*, *]}", 40),
    "empty mappings": doubled("{}", "{" + ", ".join(f"k{i}: *" for i in range(40)) + "}", 9),
    "a number to the base of 60": "a: 1" + 300_000 * ":1",
    "a fraction to the base of 60": "a: 1" + 300_000 * ":1" + ".5",
    "a hexadecimal number": "a: 0x" + 300_000 * "f",
    "a key that is a number": "0x" + 300_000 * "f" + ": 1",
    "a number of many digits": "a: " + 300_000 * "9",
    "many keys": "".join(f"k{i}: 1\n" for i in range(50_000)),
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_yaml_bombs_are_read_in_bounded_time(tmp_path: Path, text: str) -> None:
    values = read(tmp_path, text)
    assert len(values) < MAX_ENTRIES
    assert all(len(key) <= 80 and len(value) <= 2000 for key, value in values.items())


@pytest.mark.parametrize("text", ["a: !!bool maybe", "a: !!timestamp noon", "a: 2001-13-01"])
def test_a_malformed_value_makes_the_file_unreadable(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == {}


@given(st.text(st.sampled_from("ab0159:.,-&*<!?|>{}[]'\"#\n _xe"), max_size=60))
def test_arbitrary_file_content(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    values = read(tmp_path_factory.mktemp("run"), text)
    assert all(key.isprintable() and value.isprintable() for key, value in values.items())
