"""What `make setup` says when something is missing: one line that names the remedy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SCRIPT = Path("scripts") / "build_learn2learn.py"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that is not set up yet, in a folder with a space in its name."""
    folder = tmp_path / "my checkout"
    (folder / "scripts").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", SCRIPT):
        shutil.copy(REPOSITORY / name, folder / name)
    return folder


def stub(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def refusal(command: list[str], checkout: Path, **environment: str) -> str:
    """The one line on stderr with which `command` refuses (make adds its own line to it)."""
    # A make that runs these tests hands its flags down through the environment.
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    done = subprocess.run(
        command, cwd=checkout, env={**inherited, **environment}, text=True, capture_output=True
    )
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert not (checkout / ".venv").exists()
    assert not (checkout / ".wheels").exists()
    return line


@pytest.mark.parametrize("version", ["(3, 10, 13)", "(3, 14, 0)", "(2, 7, 18)"])
def test_a_python_too_old_or_too_new(checkout: Path, version: str) -> None:
    pretend = f"import sys; sys.version_info = {version}; exec(sys.argv[1])"
    old = stub(
        checkout / "old python",
        '[ "$1" = --version ] && echo Python 9.9.9 && exit\n'
        f'exec "{sys.executable}" -c "{pretend}" "$2"',
    )
    line = refusal(["make", "setup", f"PYTHON={old}"], checkout)
    assert line.startswith("metarun: Python 9.9.9 does not do")
    assert "make PYTHON=python3.12 setup" in line


def test_no_such_python(checkout: Path) -> None:
    line = refusal(["make", "setup", "PYTHON=python0"], checkout)
    assert line.startswith("metarun: 'python0' does not run")


def test_a_python_without_venv(checkout: Path) -> None:
    bare = stub(
        checkout / "bare", f'case "$2" in *ensurepip*) exit 1;; esac\nexec "{sys.executable}" "$@"'
    )
    assert "apt install python3-venv" in refusal(["make", "setup", f"PYTHON={bare}"], checkout)


def test_no_c_compiler(checkout: Path) -> None:
    line = refusal([sys.executable, str(SCRIPT)], checkout, CC="no-such-compiler")
    assert line == (
        "metarun: learn2learn has a C extension: install a C compiler "
        "(Debian/Ubuntu: apt install gcc libc6-dev; macOS: xcode-select --install)"
    )


def test_no_python_headers(checkout: Path) -> None:
    compiler = stub(checkout / "cc", "! grep -q Python.h")
    line = refusal([sys.executable, str(SCRIPT)], checkout, CC=f"'{compiler}'")
    assert "Python.h is missing" in line and "-dev" in line
