"""`metarun.fit` and `metarun.load` do what the command line does, in the process of the caller."""

from __future__ import annotations

import builtins
import contextlib
import inspect
import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from rich.console import Console

import metarun as mr
from metarun import cli, interface
from tests.conftest import OWN, TINY, blank, signal_in_step

Metarun = Callable[..., tuple[int, str, list[str]]]
WORDS = (*TINY[2:], "logger=none")


def fit(*words: str | dict[str, Any], **keys: Any) -> mr.Run:
    return mr.fit(*WORDS, *words, config_dir=OWN, **keys)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with the run `line`, trained by the command line, and what it printed."""
    home = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        blank(patch)
        patch.chdir(home)
        with open("printed", "w") as printed, contextlib.redirect_stdout(printed):
            assert cli.main([*TINY, "logger=none", "out=line", "tags=[a b,'1']"]) == 0
        yield home


def test_trains_the_run_of_the_command_line_whatever_the_caller_has_set(folder: Path) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with torch.no_grad():
        run = fit({"tags": ["a b", "1"]}, out=folder / "python")
    assert torch.equal(torch.get_rng_state(), before)
    assert run.folder == folder / "python"
    line = mr.load(folder / "line").result
    assert run.result == json.loads((folder / "python" / "result.json").read_text())
    assert run.result["status"] == line["status"] == "completed"
    assert {**run.result["test"]} == line["test"]
    assert run.result["val"] == line["val"]
    for key in ("algo", "seed", "steps", "threads"):
        assert run.result["run"][key] == line["run"][key]
    # Its command can be typed.
    words = f"{' '.join(WORDS)} 'tags=[a b,'\"'\"'1'\"'\"']' out={folder / 'python'}"
    assert run.result["run"]["command"] == f"metarun --config-dir {OWN} {words}"


def test_curves_are_a_data_frame_where_pandas_is_installed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = mr.load(folder / "line")
    monkeypatch.setitem(sys.modules, "pandas", None)  # not installed
    lines = [json.loads(line) for line in (folder / "line/metrics.jsonl").read_text().splitlines()]
    assert run.curves == lines
    assert {"step", "split", "loss", "accuracy"} <= lines[0].keys()
    pandas = ModuleType("pandas")
    pandas.DataFrame = lambda rows: ("frame", rows)
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    assert run.curves == ("frame", lines)


def test_evaluates_under_another_protocol(folder: Path) -> None:
    run = mr.load(folder / "line", config_dir=OWN)
    result = run.evaluate("name=two", shots=2, episodes=3)
    assert result["protocol"]["shots"] == 2
    assert result == json.loads((folder / "line/evaluations/two/result.json").read_text())


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (("algo=mamml", "shots=none", "seed=1,2", "steps"), {"queries": -1}),
        ((), {"out": "line"}),
        ((), {"resume": "none"}),
    ],
)
def test_mistakes_are_those_of_the_command_line(
    folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], keys: dict[str, Any]
) -> None:
    before = sorted(folder.rglob("*"))
    with pytest.raises(mr.Refused) as refused:
        fit(*words, **keys)
    assert cli.main([*TINY, *words, *(f"{key}={value}" for key, value in keys.items())]) == 2
    printed = capsys.readouterr().err.splitlines()
    assert printed == [f"metarun: {line}" for line in str(refused.value).splitlines()]
    assert sorted(folder.rglob("*")) == before


def test_flags_are_for_the_command_line() -> None:
    with pytest.raises(mr.Refused, match=r"^-m: should be key=value"):
        fit("-m", "shots=1,5")


@pytest.mark.parametrize("place", ["none", "."])
def test_a_folder_without_a_run_is_refused(folder: Path, place: str) -> None:
    with pytest.raises(mr.Refused, match=f"^folder={place}: "):
        mr.load(place)
    with pytest.raises(mr.Refused, match=r"result.json: missing or damaged$"):
        mr.Run(folder).result  # noqa: B018


def test_an_interrupted_run_is_saved_and_can_be_resumed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        signal_in_step(patch, 3)
        with pytest.raises(KeyboardInterrupt) as stop:
            fit(out="stopped")
    assert isinstance(stop.value, mr.Interrupted)
    assert str(stop.value).endswith(f"go on with: metarun resume=stopped --config-dir {OWN}")
    assert mr.load("stopped").result["status"] == "interrupted"
    run = mr.fit(resume="stopped", config_dir=OWN)
    assert run.result["test"] == mr.load("line").result["test"]


def test_a_failed_run_is_an_exception(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("no luck")

    monkeypatch.setattr("metarun.train.meta_train", fail)
    with pytest.raises(mr.RunFailed, match=r"^ZeroDivisionError: no luck \(traceback in failed"):
        fit(out="failed")


def test_a_thread_trains_after_another_call_has_ended(folder: Path) -> None:
    """Signals cannot be handled in it. Random numbers and Hydra belong to the whole process."""
    found: list[mr.Run] = []
    thread = threading.Thread(target=lambda: found.append(fit(out="threaded")))
    with interface._ALONE:
        thread.start()
        thread.join(0.1)
        assert thread.is_alive() and not Path("threaded").exists()
    thread.join()
    assert found[0].result["test"] == mr.load("line").result["test"]


class ZMQInteractiveShell:
    """By the name of this class, rich knows a notebook."""


def test_a_notebook_shows_the_lines_of_a_pipe(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builtins, "get_ipython", ZMQInteractiveShell, raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)  # as ipykernel has it
    assert Console().is_jupyter
    fit(out="notebook")
    found = capsys.readouterr().out.replace("notebook", "line")
    without_times = [
        [word for word in text.split() if ":" not in word]
        for text in (found, Path("printed").read_text())
    ]
    assert without_times[0] == without_times[1]


def test_the_interface_has_type_hints() -> None:
    assert Path(mr.__file__).with_name("py.typed").exists()
    for function in (mr.fit, mr.load, mr.Run.evaluate):
        assert all(
            p.annotation is not p.empty or p.name == "self"
            for p in inspect.signature(function).parameters.values()
        )
    assert {"fit", "load", "Run"} <= set(dir(mr))
    assert interface.fit is mr.fit
