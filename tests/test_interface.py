"""`metarun.fit` and `metarun.load` do what the command line does, in the process of the caller."""

from __future__ import annotations

import builtins
import contextlib
import csv
import inspect
import io
import json
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

import metarun as mr
from metarun import cli, interface
from metarun.config.compose import examine
from metarun.config.groups import hydra_for
from tests.commands.test_predict import SMALL
from tests.conftest import OWN, blank, signal_in_step
from tests.predict.material import picture, pictures

WORDS = (*SMALL, "data.root=photos", "algo=protonet", "logger=none")
DOCS = Path(__file__).parents[1] / "docs"
SUPPORT = {"ant": 2, "cow": 3, "dog": 4}


def fit(*words: str | dict[str, Any], **keys: Any) -> mr.Run:
    return mr.fit(*WORDS, *words, **keys)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The working directory: pictures, and the run `line` of the command line with its output."""
    home = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        blank(patch)
        patch.chdir(home)
        pictures(Path("photos"), dict.fromkeys("abcdef", 4))
        pictures(Path("support"), SUPPORT)
        pictures(Path("query"), {"ant": 3, "dog": 2}, first=10)
        with open("printed", "w") as printed, contextlib.redirect_stdout(printed):
            assert cli.main([*WORDS, "out=line", "tags=[a b,'1']"]) == 0
        yield home


@pytest.fixture(scope="module")
def run(folder: Path) -> mr.Run:
    return mr.load("line")


@pytest.fixture(scope="module")
def expected(run: mr.Run) -> mr.Prediction:
    """Labels of `query` by `support`."""
    return run.predict("support", "query")


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
    assert run.result["run"]["command"] == f"metarun {words}"


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
    result = mr.load("line").evaluate("name=two", shots=2, episodes=3)
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
    assert cli.main([*WORDS, *words, *(f"{key}={value}" for key, value in keys.items())]) == 2
    printed = capsys.readouterr().err.splitlines()
    assert printed == [f"metarun: {line}" for line in str(refused.value).splitlines()]
    assert sorted(folder.rglob("*")) == before


def test_flags_are_for_the_command_line() -> None:
    with pytest.raises(mr.Refused, match=r"^-m: should be key=value"):
        fit("-m", "shots=1,5")


def test_choices_of_the_caller_take_part() -> None:
    with pytest.raises(mr.Refused, match=r"^shots=-1: should be [^\n]*$"):
        mr.fit("data=blobs", config_dir=OWN, shots=-1)


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
        signal_in_step(patch, 1)
        with pytest.raises(KeyboardInterrupt) as stop:
            fit(out="stopped")
    assert isinstance(stop.value, mr.Interrupted)
    assert str(stop.value).endswith("go on with: metarun resume=stopped")
    assert mr.load("stopped").result["status"] == "interrupted"
    run = mr.fit(resume="stopped")
    assert run.result["test"] == mr.load("line").result["test"]


def test_a_failed_run_is_an_exception(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("no luck")

    monkeypatch.setattr("metarun.training.execution.meta_train", fail)
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
    _, _, printed = Path("printed").read_text().partition("\n")  # the data was prepared
    without_times = [
        [word for word in text.split() if ":" not in word] for text in (found, printed)
    ]
    assert without_times[0] == without_times[1]


def files(folder: str) -> dict[str, list[Path]]:
    return {f.name: sorted(f.iterdir()) for f in sorted(Path(folder).iterdir()) if f.is_dir()}


def arrays(paths: list[Path]) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)) for path in paths]


FORMS: dict[str, Callable[[list[Path]], Any]] = {
    "paths": list,
    "arrays": arrays,
    "array": lambda paths: np.stack(arrays(paths)),
    "with channels": lambda paths: [np.stack([a] * 3, axis=2) for a in arrays(paths)],
    "tensor": lambda paths: torch.from_numpy(np.stack(arrays(paths))[:, None]),
    "floats": lambda paths: [torch.from_numpy(a / 255) for a in arrays(paths)],
    "pictures": lambda paths: [Image.open(path) for path in paths],
}


@pytest.mark.parametrize("form", FORMS)
def test_scores_are_those_of_the_files(run: mr.Run, expected: mr.Prediction, form: str) -> None:
    convert = FORMS[form]
    support = {name: convert(paths) for name, paths in files("support").items()}
    query = convert([path for paths in files("query").values() for path in paths])
    found = run.predict(support, query)
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    assert found.labels.tolist() == expected.labels.tolist()
    assert (found.classes, found.left_out) == (["ant", "cow", "dog"], expected.left_out)


def test_what_is_returned_is_what_the_command_writes(run: mr.Run, expected: mr.Prediction) -> None:
    assert expected.folder is None and not (run.folder / "predictions").exists()
    words = ["run=line", "support=support", "query=query", "out=written"]
    assert cli.main(["predict", *words]) == 0
    text = Path("written/predictions.csv").read_text("utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["label"] for row in rows] == expected.labels.tolist()
    scores = [[float(row[f"score:{name}"]) for name in expected.classes] for row in rows]
    np.testing.assert_allclose(expected.scores, scores, rtol=1e-6)
    most = [float(row["probability"]) for row in rows]
    np.testing.assert_allclose(expected.probabilities.max(1), most, atol=1e-6)
    found = run.predict("support", "query", out="written too")
    assert found.folder is not None
    assert (found.folder / "predictions.csv").read_text("utf-8") == text
    assert repr(found) == "Prediction(5 items, 3 classes)"


def test_labels_are_those_of_the_caller(
    run: mr.Run, expected: mr.Prediction, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [path for of_class in files("support").values() for path in of_class]
    y = np.repeat([7, 8, 9], list(SUPPORT.values()))
    order = np.random.default_rng(0).permutation(len(paths))
    query = [np.zeros((4, 4), np.uint8), *sorted(Path("query").rglob("*.png")), "none.png"]
    found = run.predict(([paths[i] for i in order], y[order]), query, out="by number")
    likeliest = expected.scores.argmax(1) + 7
    assert found.classes == [7, 8, 9]
    assert found.labels.tolist()[1:] == [*likeliest, "unreadable"]
    np.testing.assert_allclose(found.scores[1:-1], expected.scores, rtol=1e-5)
    assert np.isnan(found.scores[-1]).all()
    assert "unreadable: none.png (cannot be read (" in capsys.readouterr().out
    assert "query[0]" in Path("by number/predictions.csv").read_text()


GREY = np.zeros((4, 4), np.uint8)
TWO = {"a": [GREY], "b": [GREY + 1]}


@pytest.mark.parametrize(
    ("support", "query", "line"),
    [
        ([GREY], [GREY], "support: is a list; should be a folder or a file, a mapping"),
        ({"a": [], "b": [GREY]}, [GREY], "support: the class a has no items"),
        ({"a": "photos", "b": [GREY]}, [GREY], "support['a']: is a str; should be a sequence"),
        (([GREY], [1, 2]), [GREY], "support: has 1 items and 2 labels"),
        ({1: [GREY], "1": [GREY]}, [GREY], "support: two classes have the same name"),
        ({"a": [GREY]}, [GREY], "support: has one class (a); a support needs 2 at least"),
        ({"a": [GREY], "b": [GREY]}, [GREY], "support: support['a'][0] and support['b'][0] are"),
        ({"a": [GREY], "unreadable": [GREY]}, [GREY], "support: a class is called unreadable"),
        ({"a": ["none.png"], "b": [GREY]}, [GREY], "none.png: cannot be read ("),
        (TWO, GREY, "query[0]: has the shape (4,); should be a path, a picture"),
        (TWO, Image.fromarray(GREY), "query: is a Image; should be a sequence of items"),
        (TWO, [], "query: has no items"),
        (TWO, [GREY[..., None, None]], "query[0]: has the shape (4, 4, 1, 1); should be a path"),
        (TWO, [GREY.astype(int)], "query[0]: has values of type int64; should be uint8"),
        (TWO, [GREY + 2.0], "query[0]: floating-point values should be from 0 (black) to 1"),
        (TWO, ["none.png"], "query: no item can be read"),
        (TWO, "none", "query=none: no such file or folder"),
    ],
)
def test_a_mistake_is_one_line(run: mr.Run, support: Any, query: Any, line: str) -> None:
    with pytest.raises(mr.Refused) as refused:
        run.predict(support, query)
    assert str(refused.value).startswith(line)


def test_options_are_those_of_the_command_line(run: mr.Run, expected: mr.Prediction) -> None:
    with pytest.raises(mr.Refused) as refused:
        run.predict("support", "query", unknown_below=60, shots=5)
    keys = [line.partition(":")[0] for line in refused.value.mistakes]
    assert keys == ["unknown_below=60", "shots"]
    confidence = expected.probabilities.max(1)
    limit = (confidence.min() + confidence.max()) / 2
    found = run.predict("support", "query", unknown_below=limit)
    assert ((found.labels == "unknown") == (confidence < limit)).all()


def cells() -> list[dict[str, Any]]:
    """The code cells of the notebook."""
    notebook = json.loads((DOCS / "example.ipynb").read_text("utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def printed_text(cell: dict[str, Any]) -> str:
    found = (output.get("text", []) for output in cell["outputs"])
    return "".join(line for lines in found for line in lines)


def executed(sources: Iterable[str]) -> dict[str, Any]:
    """Execute cells or listings one after another; returns their variables."""
    names: dict[str, Any] = {}
    for source in sources:
        exec(source, names)
    return names


@pytest.fixture
def without_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run: mr.Run) -> None:
    """`fit` and `evaluate` compose their configuration, but take a run that is there."""

    def composed(words: Any, keys: dict[str, Any]) -> None:
        loader = hydra_for(None).config_loader
        if mistakes := examine(loader, interface._overrides(words, keys))[1]:
            raise mr.Refused(*mistakes)

    def fit(*words: Any, resume: str | None = None, **keys: Any) -> mr.Run:
        assert resume in (None, "runs/maml")
        composed(words, keys)
        return run

    def evaluate(self: mr.Run, shots: int, episodes: int) -> dict[str, Any]:
        composed((), {"shots": shots, "test_episodes": episodes})
        return self.result

    monkeypatch.setattr(mr, "fit", fit)
    monkeypatch.setattr(mr.Run, "evaluate", evaluate)
    monkeypatch.chdir(tmp_path)


def test_the_cells_of_the_notebook_run(without_training: None) -> None:
    names = executed("".join(cell["source"]) for cell in cells())
    assert sorted(names["prediction"].classes) == sorted("∑∞♥♫")
    assert not list(Path().iterdir())


@pytest.mark.slow
def test_the_notebook_shows_what_its_cells_compute(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    names = executed("".join(cell["source"]) for cell in cells())
    (accuracy,) = re.findall(r"(\d+\.\d+) ±", printed_text(cells()[0]).split("glyphs")[1])[:1]
    found = names["run"].result["test"]["accuracy"]["mean"]
    assert 100 * found == pytest.approx(float(accuracy), abs=2)  # libraries may differ
    assert "".join(names["prediction"].labels) == "♥♫∞∑"


def test_the_listings_of_the_page_run(
    without_training: None, capsys: pytest.CaptureFixture[str]
) -> None:
    for level, name in enumerate(("cat", "dog", "1", "2", "another")):
        picture(Path(f"photos/{name}.jpg"), 40 * level, 0)
    names = executed([(OWN / "listings.py").read_text("utf-8")])
    assert set(names["prediction"].labels) <= {"cat", "dog"}


def test_the_page_names_what_there_is() -> None:
    page = (DOCS / "python.md").read_text("utf-8")
    for owner, name in re.findall(r"`(metarun|run|prediction|error)\.(\w+)", page):
        home = {"run": mr.Run, "prediction": mr.Prediction, "error": mr.Refused("")}.get(owner, mr)
        assert hasattr(home, name) or name in ("folder", "json")


def test_the_interface_has_type_hints() -> None:
    assert Path(mr.__file__).with_name("py.typed").exists()
    for function in (mr.fit, mr.load, mr.Run.evaluate):
        assert all(
            p.annotation is not p.empty or p.name == "self"
            for p in inspect.signature(function).parameters.values()
        )
    assert {"fit", "load", "Run"} <= set(dir(mr))
    assert interface.fit is mr.fit
