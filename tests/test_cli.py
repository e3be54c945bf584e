"""All commands, run with the console script."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import OWN, TINY

Metarun = Callable[..., tuple[int, str, list[str]]]
SCRIPT = Path(sys.executable).with_name("metarun")


def shell(folder: Path, *argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPT, *argv],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
    )


def test_train_and_list(tmp_path: Path) -> None:
    trained = shell(tmp_path, "train", *TINY, "algo=maml", "out=run", "logger=wandb")
    assert (trained.returncode, trained.stderr) == (0, "")
    assert "step 4/4" in trained.stdout
    assert "5-way 1-shot" in trained.stdout
    (log,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    assert log.stat().st_size > 1000

    listed = shell(tmp_path, "list", "algo", *TINY[:2])
    assert listed.returncode == 0
    for name in ("maml", "protonet", "nearest_item"):
        assert f"  {name} " in listed.stdout
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]


def test_flags_of_a_sweep_can_stand_anywhere(metarun: Metarun) -> None:
    code, out, err = metarun("shots=1,5", "-m", *TINY, "hydra.sweep.dir=s w,e")
    assert (code, err) == (0, [])
    rows = [line.split()[:2] for line in out.splitlines() if line.endswith(" completed ")]
    assert sorted(rows) == [["0", "1"], ["1", "5"]]
    assert Path("s w,e", "1", "result.json").is_file()


@pytest.mark.parametrize(
    "argv",
    [["--help"], ["list"], ["--version"], ["algo=mamml"], ["shots=-1"], ["+algo.foo=1"], ["lst"]],
)
def test_commands_without_training_do_not_import_torch(tmp_path: Path, argv: list[str]) -> None:
    code = (
        "import sys; from metarun.cli import main; main(sys.argv[1:]); "
        "sys.exit(bool({'torch', 'learn2learn', 'wandb', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, *argv], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["algo=mamml"], "algo=mamml: no such choice; did you mean maml? ("),
        (["shots=-1"], "shots=-1: should be greater than or equal to 1"),
        (
            ["shots=30", "data=omniglot"],
            "shots=30 queries=15: a class of omniglot has 20 items; shots + queries can be 20",
        ),
        (["+algo.foo=1"], "algo.foo: no such key (algo has "),
        (["trian"], "trian: no such command; did you mean train? ("),
        (["--bogus"], "unrecognized arguments: --bogus; see metarun --help"),
        (["list", "alg"], "list alg: no such group; did you mean algo? ("),
        (["evaluate", "shots=5"], "evaluate: name the run: metarun evaluate run=RUN_DIR"),
        (["evaluate", "run=x", "split=tset"], "split=tset: should be train, val or test"),
        (["evaluate", "run=x", "name=../y"], "name=../y: should be the name of a folder"),
        (["-m", "out=x", "shots=1,5"], "out: with -m each job has its own folder"),
        (["evaluate", "-m", "run=x", "shots=1,2"], "-m: this command does not take it"),
        (["--config-name", "x"], "--config-name: this command does not take it"),
        (["resume="], "resume=: should be a path: resume=PATH"),
        (["resume", "x"], "resume: name the folder with =: metarun resume=RUN_DIR"),
        (["--cfg", "job", "shots=0"], "shots=0: should be greater than or equal to 1"),
        (["--config-dir", "nowhere"], "--config-dir nowhere: no such folder"),
    ],
)
def test_an_invalid_request_is_reported_in_one_line_and_writes_nothing(
    metarun: Metarun, argv: list[str], line: str
) -> None:
    code, out, err = metarun(*argv)
    assert (code, out, len(err)) == (2, "", 1)
    assert err[0].startswith(f"metarun: {line}")
    assert list(Path().iterdir()) == []


def test_a_refused_command_prints_to_standard_error_only(tmp_path: Path) -> None:
    done = shell(tmp_path, "shots=-1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "metarun: shots=-1: should be greater than or equal to 1\n"


def test_wrong_keys_of_a_choice_are_reported_with_other_mistakes(metarun: Metarun) -> None:
    code, _, err = metarun("shots=0", "algo.temperature=-1", "optimizer.lr=0", "algo.x=1")
    assert code == 2
    assert [line.split(":")[1].strip() for line in err] == [
        "algo.x",
        "shots=0",
        "algo.temperature=-1",
        "optimizer.lr=0",
    ]


@pytest.mark.parametrize("name", ["mit Umläuten", "[b] {c}", "a=b,1 it's"])
def test_folder_names_can_contain_any_characters(metarun: Metarun, name: str) -> None:
    assert metarun(*TINY, f"out={name}/run")[0] == 0
    assert Path(name, "run", "result.json").is_file()
    assert metarun("evaluate", f"run={name}/run", *TINY[:2])[0] == 0
    assert metarun(f"resume={name}/run", "steps=5", *TINY[:2])[0] == 0


def test_ctrl_c_finishes_the_step_and_exits_130(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [SCRIPT, *TINY, "steps=100000", "eval_every=100000", "out=run"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "run" / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.startswith("metarun: interrupted; step ")
    assert err.count("\n") == 1
    assert json.loads((tmp_path / "run/result.json").read_text())["status"] == "interrupted"


def test_a_terminal_shows_a_progress_line(tmp_path: Path) -> None:
    primary, secondary = pty.openpty()
    process = subprocess.Popen(
        [SCRIPT, *TINY, "steps=30", "out=run"],
        cwd=tmp_path,
        stdin=secondary,
        stdout=secondary,
        stderr=secondary,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"},
    )
    os.close(secondary)
    output = b""
    while True:
        try:
            chunk = os.read(primary, 65536)
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
        output += chunk
    os.close(primary)
    assert process.wait(60) == 0
    text = output.decode()
    assert "train" in text
    assert "/30" in text
    assert "\x1b[2K" in text  # the line is cleared and drawn again
    assert "5-way 1-shot" in text


def test_a_terminal_with_ascii_only_still_shows_scores(run: Metarun, tmp_path: Path) -> None:
    done = shell(tmp_path, "report", "run", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"\d\d\.\d\d \? \d+\.\d\d %", done.stdout)


def test_the_flags_of_hydra(metarun: Metarun) -> None:
    code, out, _ = metarun("--cfg", "job", "algo=maml", "shots=5")
    assert code == 0
    assert "shots: 5" in out
    assert "inner_lr: 0.4" in out
    assert metarun("algo=maml", "--cfg", "job", "--resolve", "-p", "algo")[0] == 0
    assert metarun("--cfg", "job", "algo=mamml")[0] == 2
    code, out, _ = metarun("--info", "defaults")
    assert code == 0
    assert list(Path().iterdir()) == []


def test_tab_completion(tmp_path: Path) -> None:
    installed = shell(tmp_path, "-sc", "install=bash")
    assert installed.returncode == 0
    assert "complete" in installed.stdout

    (tmp_path / "runs" / "one").mkdir(parents=True)
    line = "metarun compare runs/o"
    script = (
        f'{installed.stdout}\nCOMP_LINE="{line}" COMP_POINT={len(line)} COMP_CWORD=2\n'
        'hydra_bash_completion\necho "${COMPREPLY[@]}"'
    )
    path = f"{SCRIPT.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": path},
    )
    assert (done.stdout, done.stderr) == ("runs/one/\n", "")


def test_a_closed_pipe_is_not_an_error(tmp_path: Path) -> None:
    done = subprocess.run(
        f"'{SCRIPT}' list | head -1", shell=True, cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("algo=\n", "")


def test_a_config_folder_of_the_user_adds_a_learner_and_data(metarun: Metarun) -> None:
    code, _, err = metarun(
        "--config-dir", str(OWN), "data=blobs", "algo=nearest_item", "debug=tiny", "out=run"
    )
    assert (code, err) == (0, [])
    assert json.loads(Path("run/result.json").read_text())["run"]["algo"] == "nearest_item"
    code, _, err = metarun("evaluate", "run=run")
    assert code == 2
    assert all("--config-dir" in line for line in err)


def test_training_continues_after_its_output_is_closed(metarun: Metarun, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "metarun", *TINY, "out=run"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        err = process.stderr.read()
    assert (process.returncode, err) == (0, b"")
    assert json.loads(Path("run/result.json").read_text())["status"] == "completed"
