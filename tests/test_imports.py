"""Imports go one way: down the list of rooms, and never in a circle."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
# A module may import from its own room and from those below it.
FLOORS = (
    *("__main__", "cli", "interface", "commands", "sweeps", "testing", "predict", "report"),
    *("train", "evaluate"),
    *("checks", "challenges", "training", "plots", "runs", "loggers", "algorithms"),
    *("layerwise", "backbones"),
    *("data", "tasks", "config", "process", "stats", "files", "errors"),
)
MODULES = sorted((SOURCE / "metarun").rglob("*.py"))


def name_of(file: Path) -> str:
    parts = file.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(file) for file in MODULES}


def imports(file: Path) -> set[str]:
    """The modules of metarun that a file imports, those within its functions included."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "metarun":
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in NAMES else node.module for name in whole}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("metarun.")}
    return found - {name_of(file)}


def floor(name: str) -> int:
    return FLOORS.index(name.split(".")[1])


def test_every_room_has_its_floor() -> None:
    assert {name.split(".")[1] for name in NAMES if "." in name} == set(FLOORS)


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_a_module_imports_from_its_own_floor_or_below(file: Path) -> None:
    name = name_of(file)
    if name != "metarun":
        upward = {m for m in imports(file) if m != "metarun" and floor(m) < floor(name)}
        assert not upward


def test_there_is_no_circle() -> None:
    # A package's `__init__` may name what its modules define, which import nothing from it.
    graph = {name_of(file): imports(file) - {"metarun"} for file in MODULES}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_few_modules_are_in_no_room() -> None:
    assert len(list((SOURCE / "metarun").glob("*.py"))) <= 12


def test_only_the_engine_of_learn2learn_imports_it() -> None:
    """It is an extra, and takes a second to import."""
    code = "import sys, metarun.algorithms.maml; sys.exit('learn2learn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_package_imports_torch_only_when_a_name_of_it_is_used() -> None:
    code = (
        "import sys, metarun; assert 'torch' not in sys.modules; "
        "assert all(getattr(metarun, name) for name in metarun.__all__); "
        "assert 'torch' in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_name_finds_what_it_is_searched_for() -> None:
    """No top-level function name is defined in more than three modules; `run` is each command's."""
    where: dict[str, list[str]] = {}
    for file in MODULES:
        for node in ast.parse(file.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and file.parent.name != "commands":
                where.setdefault(node.name, []).append(name_of(file))
    assert {name: found for name, found in where.items() if len(found) > 3} == {}
