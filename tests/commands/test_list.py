"""The command `metarun list`: choices, and the location and size of data."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from metarun.data import locations
from metarun.data.preparation.cached_files import ARRAY, LOCK
from tests.conftest import OWN

Metarun = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "my data, [ä]"
    monkeypatch.setenv("METARUN_DATA", str(home))
    return home


def put(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))


def line_after(out: str, name: str) -> str:
    """Return the line after that of a choice."""
    lines = out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.split()[:1] == [name])
    return lines[at + 1].strip()


def test_list_creates_no_folders(metarun: Metarun, home: Path) -> None:
    code, out, err = metarun("list", "data")
    assert (code, err) == (0, [])
    assert line_after(out, "omniglot") == f"root {home}/omniglot: nothing yet"
    assert out.splitlines()[-1] == f"prepared, in {home}/cache: nothing yet"
    assert not home.exists()


def test_data_sets_are_listed_by_domain(metarun: Metarun, home: Path) -> None:
    """Those of a user state no domain; they are the last."""
    lines = metarun("list", "data", "--config-dir", str(OWN))[1].splitlines()
    titles = [line.strip() for line in lines if re.match(r" \S", line)]
    assert {"medicine", "regression", "text", "vision"} <= set(titles)
    assert titles == [*sorted(titles[:-1]), "other"]
    names = {line.split()[0]: at for at, line in enumerate(lines) if line[:2] == "  "}
    assert lines.index(" vision") < names["glyphs"] < lines.index(" other") < names["blobs"]


def test_the_sizes_of_files_are_added_up(metarun: Metarun, home: Path) -> None:
    put(home / "omniglot" / "a.zip", 1_200_000)
    put(home / "omniglot" / "deep" / "er" / "b.zip", 300_000)
    put(home / "cache" / "glyphs" / ARRAY, 2_000)
    put(home / "cache" / "image_folder" / "one" / ARRAY, 5)
    put(home / "cache" / "image_folder" / "two" / ARRAY, 6)
    put(home / "cache" / "image_folder" / "two" / "notes.txt", 100)
    put(home / "cache" / "omniglot" / LOCK, 0)
    _, out, _ = metarun("list", "data")
    assert line_after(out, "omniglot") == f"root {home}/omniglot: 1.5 MB"
    assert out.splitlines()[-4:] == [
        f"prepared, in {home}/cache: 2.0 kB",
        "  glyphs            2.0 kB   new",
        "  image_folder/one  5 bytes  new",
        "  image_folder/two  6 bytes  new",
    ]


def test_data_without_files_has_no_root(metarun: Metarun, home: Path) -> None:
    _, out, _ = metarun("list", "data", "--config-dir", str(OWN))
    for name in ("glyphs", "sinusoid", "blobs"):
        assert not line_after(out, name).startswith("root")
    for name in ("text_table", "vectors"):
        assert line_after(out, name) == "file: named by data.file=FILE"


def test_other_groups_list_only_names_and_descriptions(metarun: Metarun, home: Path) -> None:
    _, everything, _ = metarun("list")
    assert "data=\n" in everything and "root " not in everything and "prepared" not in everything
    _, out, _ = metarun("list", "logger")
    assert out.splitlines()[0] == "logger="
    assert all(line.startswith("  ") for line in out.splitlines()[1:])
    _, out, _ = metarun("list", "augmentation")
    assert [line.split()[0] for line in out.splitlines()] == ["augmentation=", "images", "none"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("root: null\n", "root: named by data.root=DIR"),
        ("root: ${data_home}/x\n", "root {home}/x: nothing yet"),
        ("# @package _global_\ndata:\n  root: ${data_home}/x\n", "root {home}/x: nothing yet"),
        ("root: ${nowhere}/x\n", None),
        ("root: ???\n", None),
        ("root: 7\n", "root: named by data.root=DIR"),
        ("root: [\n", None),
        ("- a\n- list\n", None),
        ("just words\n", None),
        ("", None),
        (b"# caf\xe9\nroot: x\n", None),
    ],
)
def test_a_data_file_of_the_user_can_hold_anything(
    metarun: Metarun, home: Path, tmp_path: Path, text: str | bytes, line: str | None
) -> None:
    (tmp_path / "own" / "data").mkdir(parents=True)
    (tmp_path / "own" / "data" / "aaa.yaml").write_bytes(
        text if isinstance(text, bytes) else text.encode()
    )
    (tmp_path / "own" / "data" / "aab.yaml").write_text("_target_: x.Y\n")
    code, out, err = metarun("list", "data", "--config-dir", str(tmp_path / "own"))
    assert (code, err) == (0, [])
    expected = "aab" if line is None else line.replace("{home}", str(home))
    assert line_after(out, "aaa") == expected


def test_the_size_of_a_file_a_link_and_a_loop(tmp_path: Path) -> None:
    put(tmp_path / "real" / "x", 10)
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    put(tmp_path / "file", 20)
    sizes = {n: locations.present(str(tmp_path / n)) for n in ("real", "link", "broken", "file")}
    assert sizes == {
        "real": "10 bytes",
        "link": "10 bytes",
        "broken": "nothing yet",
        "file": "20 bytes",
    }
    assert locations.present(str(tmp_path / "file" / "below")).startswith(
        "cannot be read (Not a dir"
    )


def test_the_size_of_very_many_files_is_a_lower_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locations, "MOST", 5)
    for i in range(9):
        put(tmp_path / str(i % 2) / str(i), 100)
    assert locations.present(str(tmp_path)) == "more than 500 bytes"


def test_a_folder_without_read_permission_is_reported(
    metarun: Metarun, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(home / "omniglot" / "a.zip", 1000)
    put(home / "omniglot" / "locked" / "b.zip", 1000)
    put(home / "cache" / "x", 1)
    original, unreadable = os.scandir, {"locked", "cache"}

    def scandir(path: str) -> object:
        if Path(path).name in unreadable:
            raise PermissionError(13, "Permission denied", path)
        return original(path)

    monkeypatch.setattr(os, "scandir", scandir)
    _, out, _ = metarun("list", "data")
    assert line_after(out, "omniglot") == f"root {home}/omniglot: more than 1.0 kB"
    denied = f"prepared, in {home}/cache: cannot be read (Permission denied)"
    assert out.splitlines()[-1] == denied
    unreadable.add("omniglot")
    _, out, _ = metarun("list", "data")
    assert (
        line_after(out, "omniglot") == f"root {home}/omniglot: cannot be read (Permission denied)"
    )


def test_the_home_folder_is_printed_as_a_tilde(
    metarun: Metarun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METARUN_DATA", "~/no such data")
    _, out, _ = metarun("list", "data")
    assert line_after(out, "omniglot") == "root ~/no such data/omniglot: nothing yet"


def test_list_does_not_import_torch(home: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from metarun.cli import main; main(['list', 'data']); "
        "sys.exit(bool({'torch', 'numpy', 'matplotlib', 'PIL', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0


def test_launchers_and_sweepers_are_listed(metarun: Metarun) -> None:
    code, out, _ = metarun("list", "hydra/launcher", "hydra/sweeper")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "hydra/launcher="
    assert "hydra/sweeper=" in lines
    for name in ("joblib", "slurm", "optuna"):
        assert any(line.split()[0] == name and len(line.split()) > 3 for line in lines)


def rows(out: str) -> dict[str, list[str]]:
    """The cells of each row of a table, by its first cell."""
    cells = [re.split(r" {2,}", line.strip()) for line in out.splitlines()]
    return {row[0]: row[1:] for row in cells}


def test_a_choice_is_listed_with_its_keys(metarun: Metarun) -> None:
    code, out, err = metarun("list", "algo", "maml")
    assert (code, err) == (0, [])
    table = rows(out)
    assert table["key"] == ["default", "allowed", "meaning"]
    assert table["algo.inner_lr"][:2] == ["0.4", "number > 0"]
    assert table["algo.batch_norm"][:2] == ["transductive", "transductive, inductive"]
    assert "recommended: backbone=conv4_strided steps=3000 meta_batch=16" in out.splitlines()
    assert "recommended on data=sinusoid: algo.inner_lr=0.01" in out


def test_a_preset_is_listed_with_its_cells_and_published_figures(metarun: Metarun) -> None:
    _, out, _ = metarun("list", "experiment", "maml/omniglot")
    assert rows(out)["meta_batch"][0] == "32"
    lines = out.splitlines()
    assert "20way_1shot: meta_batch=16 algo.inner_steps=5 algo.test_inner_steps=5" in lines
    assert any("20way_1shot=95.8 ± 0.3" in line for line in lines)
    assert "cells." not in out


def test_choices_and_groups_can_be_listed_together(metarun: Metarun) -> None:
    _, out, _ = metarun("list", "algo", "protonet", "anil", "optimizer", "debug", "tiny")
    for part in ("algo=protonet", "algo.distance", "algo=anil", "optimizer=", "debug=tiny"):
        assert part in out


def test_a_choice_of_ones_own_is_listed_with_the_keys_of_its_file(metarun: Metarun) -> None:
    table = rows(metarun("list", "data", "blobs", "--config-dir", str(OWN))[1])
    assert table["data.classes"][:2] == ["36", "integer > 0"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["algo", "mamml"], "list algo mamml: no such choice; did you mean maml?"),
        (["algos"], "list algos: no such group; did you mean algo?"),
        (["maml"], "list maml: no such group ("),
    ],
)
def test_a_wrong_word_is_refused(metarun: Metarun, words: list[str], line: str) -> None:
    code, out, err = metarun("list", *words)
    assert (code, out) == (2, "")
    assert err[0].startswith(f"metarun: {line}")


@pytest.mark.parametrize("content", ["[", "- 1", "_target_: 3", ""])
def test_a_malformed_file_is_refused_in_one_line(
    metarun: Metarun, tmp_path: Path, content: str
) -> None:
    (tmp_path / "algo").mkdir()
    (tmp_path / "algo" / "mine.yaml").write_text(content)
    code, _, err = metarun("list", "algo", "mine", "--config-dir", str(tmp_path))
    assert code == 2
    assert len(err) == 1
