"""Build learn2learn's wheel for this Python into .wheels/, from its published source archive.

Why: release 0.2.0 is the last one and a source archive only. The C files in it were generated
for older Pythons and do not compile on 3.11 or newer, and it asks for packages that it never
imports. So the C files are generated anew by a current Cython, and only what an import really
needs is asked for. The Python and Cython sources stay as published.

Use: python scripts/build_learn2learn.py   (done by `make setup`; nothing to do the second time)
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
# The same package as upstream's setup.py describes, less `tests`, gsutil and qpth.
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
    """One line for the user: what is missing and how to get it."""


def is_built() -> bool:
    """Whether there is a wheel for this Python and machine that is not older than this script."""
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    machine = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    wheel = WHEELS / f"learn2learn-{VERSION}-{tag}-{tag}-{machine}.whl"
    return wheel.exists() and wheel.stat().st_mtime >= Path(__file__).stat().st_mtime


def find_compiler() -> str:
    """The C compiler's command, once it has compiled a line and a line with Python.h in it."""
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
    include = sysconfig.get_path("include")
    platform_include = sysconfig.get_path("platinclude")
    command = [*shlex.split(compiler), "-I", include, "-I", platform_include]
    try:
        done = subprocess.run(
            [*command, "-fsyntax-only", "-xc", "-"],
            input=source,
            text=True,
            capture_output=True,
        )
    except OSError:
        return False
    return done.returncode == 0


def pip(*arguments: str | Path, compiler: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *map(str, arguments)],
        env={**os.environ, "CC": compiler},
        text=True,
        capture_output=True,
    )


def fetch(folder: Path, compiler: str) -> Path:
    """learn2learn's source archive in `folder`, checked; pip knows the user's index and proxy."""
    done = pip(
        *("download", "--no-deps", "--no-binary", "learn2learn", "--retries", "2"),
        *("--dest", folder, f"learn2learn=={VERSION}"),
        compiler=compiler,
    )
    if done.returncode != 0:
        said = [line.strip() for line in done.stderr.splitlines() if "ERROR: " in line] or [""]
        raise CannotBuild(
            f"cannot download learn2learn {VERSION}: is there a network? pip says: {said[-1]}"
        )
    archive = folder / f"learn2learn-{VERSION}.tar.gz"
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != SHA256:
        raise CannotBuild(f"learn2learn's archive has sha256 {found}, not {SHA256} as expected")
    return archive


def build(archive: Path, folder: Path, compiler: str) -> Path:
    """The wheel, made in `folder` in an environment that pip throws away afterwards."""
    with tarfile.open(archive) as tar:
        # Python 3.11's first releases have no filters yet.
        tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
        tar.extractall(folder)
    source = folder / f"learn2learn-{VERSION}"
    for generated in (source / "learn2learn" / "data").glob("*.c"):
        generated.unlink()
    (source / "setup.py").write_text(SETUP)
    (source / "pyproject.toml").write_text(PYPROJECT)
    done = pip("wheel", "--no-deps", "--wheel-dir", folder, source, compiler=compiler)
    if done.returncode != 0:
        print(done.stdout + done.stderr, file=sys.stderr)
        raise CannotBuild(f"learn2learn {VERSION} did not compile: see above")
    return next(folder.glob("*.whl"))


def main() -> None:
    if is_built():
        return
    compiler = find_compiler()
    print("building learn2learn's wheel: about half a minute", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build(fetch(folder, compiler), folder, compiler)
        WHEELS.mkdir(exist_ok=True)
        part = WHEELS / f"{wheel.name}.part"
        shutil.copyfile(wheel, part)
        part.replace(WHEELS / wheel.name)  # at once or not at all, however this is interrupted


if __name__ == "__main__":
    try:
        main()
    except CannotBuild as error:
        sys.exit(f"metarun: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
