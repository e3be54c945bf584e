"""Build learn2learn's wheel for this Python into .wheels/, from its published source archive.

Why: 0.2.0 is the last release, and there is no wheel of it. The C files in the source archive were
generated for older versions of Python and do not compile on 3.11 or newer, and the package requires
others that it never imports. This script generates the C files again with a current Cython and
requires only the packages that are imported. The Python and Cython sources are not changed.

Usage: python scripts/build_learn2learn.py   (`make setup` runs it; it does nothing the second time)
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path

VERSION = "0.2.0"
SHA256 = "69f1d7cb0d0a6be7a2c6ad8e83e2ebbe70fb05e51d61e45e63078b40c75ea419"
WHEELS = Path(__file__).resolve().parent.parent / ".wheels"

PYPROJECT = """\
[build-system]
requires = ["setuptools>=77", "Cython>=3.1"]
build-backend = "setuptools.build_meta"
"""
# As in the original setup.py, without `tests`, gsutil and qpth.
SETUP = f"""\
from setuptools import Extension, find_packages, setup

setup(
    name="learn2learn",
    version="{VERSION}",
    description="PyTorch Library for Meta-Learning Research",
    author="Debajyoti Datta, Ian Bunner, Seb Arnold, Praateek Mahajan",
    url="https://github.com/learnables/learn2learn",
    license="MIT",
    packages=find_packages(include=["learn2learn*"]),
    ext_modules=[
        Extension("learn2learn.data." + name, ["learn2learn/data/" + name + ".pyx"])
        for name in ("meta_dataset", "task_dataset", "transforms")
    ],
    install_requires=["torch", "torchvision", "numpy", "scipy", "requests", "tqdm", "gym"],
)
"""


class CannotBuild(Exception):
    """A requirement is missing; the message says how to install it."""


def is_built() -> bool:
    """Return whether a wheel for this Python and machine exists and is newer than this script."""
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    machine = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    wheel = WHEELS / f"learn2learn-{VERSION}-{tag}-{tag}-{machine}.whl"
    return wheel.exists() and wheel.stat().st_mtime >= Path(__file__).stat().st_mtime


def find_compiler() -> str:
    """Return the command of a C compiler that works and finds Python.h."""
    configured = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    commands = [configured] if os.environ.get("CC") else [configured, "cc", "gcc", "clang"]
    compiler = next((c for c in commands if compiles(c, "#include <stdio.h>")), None)
    if compiler is None:
        raise CannotBuild(
            "learn2learn has a C extension: install a C compiler "
            "(Debian/Ubuntu: apt install gcc libc6-dev; macOS: xcode-select --install)"
        )
    if not compiles(compiler, "#include <Python.h>"):
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise CannotBuild(
            f"learn2learn has a C extension and Python.h is missing: install the headers of "
            f"Python {version} (Debian/Ubuntu: apt install python{version}-dev; "
            f"Fedora: dnf install python{version}-devel)"
        )
    return compiler


def compiles(compiler: str, source: str) -> bool:
    """Return whether the compiler accepts the C source."""
    include = sysconfig.get_path("include")
    platform_include = sysconfig.get_path("platinclude")
    command = [*shlex.split(compiler), "-I", include, "-I", platform_include]
    try:
        result = subprocess.run(
            [*command, "-fsyntax-only", "-xc", "-"],
            input=source,
            text=True,
            capture_output=True,
        )
    except OSError:
        return False
    return result.returncode == 0


def pip(*arguments: str | Path, compiler: str) -> subprocess.CompletedProcess[str]:
    """Run pip with this C compiler."""
    return subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *map(str, arguments)],
        env={**os.environ, "CC": compiler},
        text=True,
        capture_output=True,
    )


def fetch(folder: Path, compiler: str) -> Path:
    """Download the source archive with pip, which knows the user's index and proxy; check it."""
    result = pip(
        "download",
        "--no-deps",
        "--no-binary",
        "learn2learn",
        "--retries",
        "2",
        "--dest",
        folder,
        f"learn2learn=={VERSION}",
        compiler=compiler,
    )
    if result.returncode != 0:
        errors = [line.strip() for line in result.stderr.splitlines() if "ERROR: " in line] or [""]
        raise CannotBuild(
            f"cannot download learn2learn {VERSION}: is there a network? pip says: {errors[-1]}"
        )
    archive = folder / f"learn2learn-{VERSION}.tar.gz"
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    if sha256 != SHA256:
        raise CannotBuild(f"learn2learn's archive has sha256 {sha256}; expected: {SHA256}")
    return archive


def build(archive: Path, folder: Path, compiler: str) -> Path:
    """Build the wheel in `folder`, in a temporary environment of pip; return its path."""
    with tarfile.open(archive) as tar:
        # The first releases of Python 3.11 have no extraction filters.
        tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
        tar.extractall(folder)
    source = folder / f"learn2learn-{VERSION}"
    for generated in (source / "learn2learn" / "data").glob("*.c"):
        generated.unlink()
    (source / "setup.py").write_text(SETUP)
    (source / "pyproject.toml").write_text(PYPROJECT)
    result = pip("wheel", "--no-deps", "--wheel-dir", folder, source, compiler=compiler)
    if result.returncode != 0:
        print(result.stdout + result.stderr, file=sys.stderr)
        raise CannotBuild(f"learn2learn {VERSION} did not compile; see the output above")
    return next(folder.glob("*.whl"))


def main() -> None:
    """Build the wheel if it does not exist."""
    if is_built():
        return
    compiler = find_compiler()
    print("building learn2learn's wheel takes about half a minute", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build(fetch(folder, compiler), folder, compiler)
        WHEELS.mkdir(exist_ok=True)
        part = WHEELS / f"{wheel.name}.part"
        shutil.copyfile(wheel, part)
        part.replace(WHEELS / wheel.name)  # atomic: an interrupted copy leaves no wheel


if __name__ == "__main__":
    try:
        main()
    except CannotBuild as error:
        sys.exit(f"metarun: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
