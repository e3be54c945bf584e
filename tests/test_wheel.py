"""The built wheel, installed elsewhere, carries its own conf/ and runs from any folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def files_under(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def python(*arguments: str | Path, cwd: Path, **environment: str) -> str:
    """What `python ARGUMENTS` prints in the folder `cwd`; its stderr is the test's on failure."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **environment},
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    python("-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=REPOSITORY)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's own folder; everything else comes from the environment that runs the tests."""
    folder = tmp_path_factory.mktemp("installed")
    python("-m", "pip", "install", "-q", "--no-deps", "--target", folder, wheel, cwd=folder)
    return folder


def test_holds_the_package_conf_and_figures_and_nothing_else(wheel: Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    conf = {f"metarun/conf/{name}" for name in files_under(REPOSITORY / "conf")}
    assert "metarun/conf/config.yaml" in conf
    figures = {f"metarun/figures/{name}" for name in files_under(REPOSITORY / "docs" / "figures")}
    assert inside == files_under(REPOSITORY / "src") | conf | figures


def test_runs_from_any_folder_with_its_own_conf(installed: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        return python(*arguments, cwd=tmp_path, PYTHONPATH=str(installed))

    where = run("-c", "import metarun; print(metarun.__file__)").strip()
    assert Path(where) == installed / "metarun" / "__init__.py"

    # A choice that exists in the installed conf/ alone: found there, or nowhere.
    algorithms = installed / "metarun" / "conf" / "algo"
    shutil.copyfile(algorithms / "protonet.yaml", algorithms / "only_here.yaml")
    assert "only_here" in run("-m", "metarun", "list")
    assert "only_here" in run(str(installed / "bin" / "metarun"), "list", "algo")
    assert "algo" in run("-m", "metarun", "--help")
    assert not list(tmp_path.iterdir())
