"""The real W&B client: offline runs are read back, and its errors do not affect the run."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from metarun.loggers import Run, weights_and_biases
from metarun.loggers.weights_and_biases import WandbLogger
from tests.conftest import TINY

Metarun = Callable[..., tuple[int, str, list[str]]]


def records(run: Path) -> list[dict]:
    """The records of the offline run, read by wandb."""
    (folder,) = (run / "wandb").glob("offline-run-*")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_an_offline_run_read_back(metarun: Metarun) -> None:
    code, _, err = metarun(*TINY, "logger=wandb", "tags=[a,b]", "out=run")
    assert (code, err) == (0, [])
    text = json.dumps(records(Path("run")))
    for name in ("train/loss", "train/accuracy", "val/accuracy", "test/accuracy", "meta_batch"):
        assert name in text
    media = {p.name.split("_")[0] for p in Path("run/wandb").rglob("*.png")}
    assert media == {"curves", "episodes"}


def test_a_resumed_run_keeps_its_id(metarun: Metarun) -> None:
    metarun(*TINY, "logger=wandb", "out=run")
    metarun("resume=run", "steps=6", *TINY[:2])
    ids = [p.name.split("-")[3] for p in Path("run/wandb").glob("offline-run-*")]
    assert len(ids) == 2
    assert len(set(ids)) == 1


def test_wandb_mode_is_used_unless_the_config_sets_a_mode(
    metarun: Metarun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    metarun(*TINY, "logger=wandb", "out=quiet")
    assert not list(Path("quiet").glob("wandb/offline-run-*"))
    metarun(*TINY, "logger=wandb", "logger.mode=offline", "out=loud")
    assert list(Path("loud").glob("wandb/offline-run-*"))


@pytest.fixture
def started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., dict[str, object]]]:
    """Starts an offline run of W&B in `tmp_path / "run"`; returns what W&B knows of it."""
    import wandb

    def start(
        keys: dict[str, object], environment: dict[str, str], tags: Sequence[str] = ()
    ) -> dict[str, object]:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        wandb.teardown()  # it reads the environment once
        (tmp_path / "run").mkdir()
        run = WandbLogger(Run(tmp_path / "run", "id", "run", {}, list(tags)), **keys).run
        run.finish()
        names = ("project", "entity", "group", "name", "notes", "tags")
        folder = Path(run.dir).parents[2].relative_to(tmp_path)
        return {**{name: getattr(run, name) or None for name in names}, "folder": str(folder)}

    yield start
    monkeypatch.undo()
    wandb.teardown()


ENVIRONMENT = {
    "WANDB_PROJECT": "their-project",
    "WANDB_ENTITY": "their-entity",
    "WANDB_RUN_GROUP": "their-group",
    "WANDB_NAME": "their-name",
    "WANDB_NOTES": "their-notes",
    "WANDB_TAGS": "t1,t2",
}
THEIRS = {name: f"their-{name}" for name in ("project", "entity", "group", "name", "notes")}
OWN = {name: f"own-{name}" for name in THEIRS}


@pytest.mark.parametrize(
    ("keys", "environment", "tags", "expected"),
    [
        pytest.param(
            {},
            {},
            [],
            {"project": "metarun", "name": "run", "tags": None, "notes": None, "folder": "run"},
            id="neither",
        ),
        pytest.param({}, ENVIRONMENT, [], {**THEIRS, "tags": ("t1", "t2")}, id="environment"),
        pytest.param(OWN, ENVIRONMENT, ["a"], {**OWN, "tags": ("a",)}, id="typed"),
        pytest.param(
            {},
            {"WANDB_PROJECT": "", "WANDB_NAME": "", "WANDB_DIR": ""},
            [],
            {"project": "metarun", "name": "run", "folder": "run"},
            id="empty",
        ),
    ],
)
def test_a_typed_key_wins_over_the_environment_and_that_over_the_default(
    started: Callable[..., dict[str, object]],
    keys: dict[str, object],
    environment: dict[str, str],
    tags: list[str],
    expected: dict[str, object],
) -> None:
    found = started(keys, environment, tags)
    assert {name: found[name] for name in expected} == expected


def test_wandb_dir_holds_the_offline_run(
    started: Callable[..., dict[str, object]], tmp_path: Path
) -> None:
    """W&B creates the folder."""
    assert started({}, {"WANDB_DIR": str(tmp_path / "new" / "logs")})["folder"] == "new/logs"
    assert not (tmp_path / "run" / "wandb").exists()


@pytest.mark.parametrize("home", [None, "/dev/null/none"], ids=["unset", "unusable"])
def test_without_a_home_folder_nothing_is_printed(tmp_path: Path, home: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "HOME"}
    code = (
        "from pathlib import Path; from metarun.loggers import Run;"
        "from metarun.loggers.weights_and_biases import WandbLogger;"
        f"WandbLogger(Run(Path({str(tmp_path)!r}), 'id', 'run', {{}})).finish({{}}, {{}}, False)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment if home is None else {**environment, "HOME": home},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.glob("wandb/offline-run-*"))


@pytest.mark.parametrize(
    ("words", "environment", "named"),
    [
        (["logger.project=a/b"], {}, "logger.project=a/b: Invalid project name 'a/b'"),
        (["tags=['']"], {}, "tags=['']: Tag at index 0 is empty"),
        ([], {"WANDB_PROJECT": "a/b"}, "WANDB_PROJECT: Invalid project name 'a/b'"),
        ([], {"WANDB_TAGS": "x" * 65}, "WANDB_TAGS: Tag 'xxx"),
        ([], {"WANDB_MODE": "of"}, "WANDB_MODE: Input should be 'online'"),
        ([], {"WANDB_INIT_TIMEOUT": "soon"}, "WANDB_INIT_TIMEOUT: Input should be a valid number"),
        ([], {"WANDB_API_KEY": " secret"}, "WANDB_API_KEY: API key cannot start"),
    ],
)
def test_what_wandb_does_not_accept_is_refused_before_the_run(
    metarun: Metarun,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    environment: dict[str, str],
    named: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    code, _, (line,) = metarun(*TINY, "logger=wandb", *words, "out=run")
    assert code == 2
    assert line.startswith(f"metarun: {named}")
    assert line.endswith("; or leave W&B out: logger=none")
    assert "secret" not in line
    assert not Path("run").exists()


@pytest.mark.parametrize("moment", ["init", "log", "finish"])
def test_an_error_is_reported_once_and_does_not_affect_the_run(
    metarun: Metarun, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    def broken(*_: object, **__: object) -> None:
        raise OSError("the disk is full")

    if moment == "init":
        monkeypatch.setattr(wandb, "init", broken)
    else:
        monkeypatch.setattr(wandb.Run, moment, broken)
    code, _, err = metarun(*TINY, "logger=wandb", "out=run")
    assert code == 0
    assert err == ["metarun: W&B is off for the rest of this run: the disk is full"]
    assert json.loads(Path("run/result.json").read_text())["status"] == "completed"


def test_online_without_a_key_does_not_prompt_and_logs_offline(tmp_path: Path) -> None:
    """On a terminal, where W&B would prompt and wait."""
    script = str(Path(sys.executable).with_name("metarun"))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    primary, secondary = pty.openpty()
    process = subprocess.Popen(
        [script, *TINY, "logger=wandb", "logger.mode=online", "out=run"],
        cwd=tmp_path,
        stdin=secondary,
        stdout=secondary,
        stderr=secondary,
        env={**environment, "HOME": str(tmp_path), "NETRC": str(tmp_path / "netrc")},
    )
    os.close(secondary)
    shown = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while chunk := os.read(primary, 65536):
            shown += chunk
    os.close(primary)
    assert process.wait(60) == 0
    assert b"W&B has no key here, so it logs offline" in shown
    assert list(tmp_path.glob("run/wandb/offline-run-*"))


@pytest.mark.slow
def test_online_without_a_network_logs_offline_and_does_not_hang(
    metarun: Metarun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closed port: W&B tries to log in for ten seconds."""
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setattr(weights_and_biases, "START_TIMEOUT", 5.0)
    words = [*TINY, "logger=wandb", "logger.mode=online", "out=run"]
    code, _, err = metarun(*words)
    assert code == 0
    assert [line for line in err if line.startswith("metarun: ")] == err[-1:]
    assert "W&B cannot be reached, so it logs offline; `wandb sync` uploads it: " in err[-1]
    assert list(Path("run").glob("wandb/offline-run-*"))


def test_a_network_failure_after_the_login_switches_to_offline(
    metarun: Metarun, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    original = wandb.init

    def init(*, mode: str, **keys: object) -> object:
        if mode == "online":
            raise wandb.errors.CommError("timed out")
        return original(mode=mode, **keys)

    monkeypatch.setattr(wandb, "login", lambda **_: True)
    monkeypatch.setattr(wandb, "init", init)
    code, _, err = metarun(*TINY, "logger=wandb", "logger.mode=online", "out=run")
    assert (code, err) == (
        0,
        ["metarun: W&B cannot be reached, so it logs offline; `wandb sync` uploads it: timed out"],
    )
    assert list(Path("run").glob("wandb/offline-run-*"))


def test_an_unusable_folder_does_not_affect_the_run(
    metarun: Metarun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is a file in place of the W&B folder, and of its fallback."""
    metarun(*TINY, "out=run")
    for name in ("run/wandb", "elsewhere"):
        Path(name).write_text("mine")
    monkeypatch.setenv("TMPDIR", str(Path("elsewhere").absolute()))
    monkeypatch.setattr(tempfile, "tempdir", str(Path("elsewhere").absolute()))
    code, _, err = metarun("resume=run", "steps=6", "logger=wandb", *TINY[:2])
    assert code == 0
    assert len([line for line in err if line.startswith("metarun: W&B is off")]) == 1, err
    assert json.loads(Path("run/result.json").read_text())["status"] == "completed"
    assert Path("run/wandb").read_text() == "mine"
