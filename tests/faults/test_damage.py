"""Truncated, changed or missing files are reported and never change a figure."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from metarun.runs import checkpoint
from tests.faults.conftest import assert_same
from tests.test_train import result

Metarun = Callable[..., tuple[int, str, list[str]]]


def flipped(where: float) -> Callable[[bytes], bytes]:
    def flip(data: bytes) -> bytes:
        at = int(where * (len(data) - 1))
        return data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]

    return flip


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    "one byte short": lambda data: data[:-1],
    "noise": lambda data: np.random.default_rng(0).bytes(len(data)),
    **{f"flipped at {where:.0%}": flipped(where) for where in (0.0, 0.37, 0.62, 1.0)},
}
READ = ("config.yaml", "metrics.jsonl", "result.json", "checkpoints/last.pt", "checkpoints/best.pt")


def damaged(path: Path, how: str) -> None:
    data = DAMAGE[how](path.read_bytes())
    assert data != path.read_bytes()
    path.unlink()  # the file may be hard-linked under another name
    path.write_bytes(data)


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", READ)
def test_a_run_resumes_to_the_same_figures_or_reports_the_damaged_file(
    metarun: Metarun, made: Path, part: Path, name: str, how: str
) -> None:
    damaged(part / name, how)
    code, out, err = metarun("resume=part", "--config-dir", str(Path(__file__).parents[1] / "own"))
    assert len(err) <= 1, err
    assert "Traceback" not in out + "".join(err)
    if code == 0:
        again, whole = result(part), result(made / "whole")
        assert [again[k] for k in ("test", "val", "protocol")] == [
            whole[k] for k in ("test", "val", "protocol")
        ]
        if name == "metrics.jsonl":  # the only file that cannot be restored
            assert err == [] or "metrics.jsonl: damaged" in err[0]
        else:
            assert_same(part, made / "whole")
    else:
        assert name == "config.yaml"
        assert (code, len(err)) == (2, 1)
        assert err[0].startswith("metarun: part/config.yaml: ")
    if name.endswith(".pt"):
        assert code == 0
        assert f"{Path(name).name}: damaged" in err[0]


@pytest.mark.parametrize("how", ["half", "noise", "flipped at 62%"])
@pytest.mark.parametrize("name", ["config.yaml", "checkpoints/best.pt"])
def test_an_evaluation_gives_the_same_figure_or_is_refused(
    metarun: Metarun, made: Path, name: str, how: str
) -> None:
    shutil.copytree(made / "whole", "whole")
    damaged(Path("whole", name), how)
    own = str(Path(__file__).parents[1] / "own")
    code, out, err = metarun("evaluate", "run=whole", "--config-dir", own)
    assert "Traceback" not in out + "".join(err)
    assert len(err) == 1
    assert Path(name).name in err[0]
    if code == 0:
        (folder,) = Path("whole/evaluations").iterdir()
        assert result(folder)["test"] == result("whole")["test"]
    else:
        assert code == 2
        assert not Path("whole/evaluations").exists()


def test_without_an_intact_checkpoint_nothing_is_overwritten(metarun: Metarun, part: Path) -> None:
    for name in ("last.pt", "previous.pt"):
        damaged(part / "checkpoints" / name, "half")
    before = {p: p.read_bytes() for p in part.rglob("*") if p.is_file()}
    code, _, err = metarun("resume=part")
    assert (code, len(err)) == (2, 1)
    for name in ("last.pt: damaged", "previous.pt: damaged", "resume starts from the beginning"):
        assert name in err[0]
    assert before == {p: p.read_bytes() for p in part.rglob("*") if p.is_file()}


def test_best_weights_are_restored_from_the_previous_checkpoint(
    metarun: Metarun, made: Path, part: Path
) -> None:
    for name in ("last.pt", "best.pt"):
        damaged(part / "checkpoints" / name, "noise")
    own = str(Path(__file__).parents[1] / "own")
    code, _, err = metarun("resume=part", "--config-dir", own)
    assert code == 0
    assert "going on from previous.pt, step 2" in err[0]
    assert_same(part, made / "whole")


def test_a_best_checkpoint_of_another_step_is_replaced(
    metarun: Metarun, made: Path, part: Path
) -> None:
    """A kill between the two writes could leave it."""
    best = checkpoint.load_state(part / "checkpoints/best.pt")
    for weights in best["learner"].values():
        weights.zero_()
    checkpoint.save(part / "checkpoints/best.pt", {**best, "step": 99})
    own = str(Path(__file__).parents[1] / "own")
    assert metarun("resume=part", "--config-dir", own)[0] == 0
    assert_same(part, made / "whole")


def test_an_edited_configuration_file_is_refused(metarun: Metarun, part: Path) -> None:
    """`steps` may be changed on the command line, but not in the file."""
    file = part / "config.yaml"
    text = file.read_text()
    file.write_text(text.replace("steps: 4\n", "steps: 6\n"))
    code, _, err = metarun("resume=part")
    assert (code, err) == (2, [f"metarun: {file}: steps=6: the run was trained with 4"])
    file.write_text("# mine\n" + text)  # a comment changes nothing
    code, _, err = metarun("resume=part")
    assert "config.yaml" not in err[0]
    shutil.rmtree(part / "checkpoints")
    code, _, err = metarun("resume=part")
    assert code == 2
    assert err == [
        f"metarun: {file}: damaged or edited: its checksum does not match; start a new run"
    ]


def test_a_checkpoint_with_other_content_is_replaced_by_the_previous_one(
    metarun: Metarun, made: Path, part: Path
) -> None:
    checkpoint.save(part / "checkpoints/last.pt", {"learner": {"w": torch.zeros(2)}})
    own = str(Path(__file__).parents[1] / "own")
    code, _, err = metarun("resume=part", "--config-dir", own)
    assert (code, len(err)) == (0, 1)
    assert "last.pt: not a checkpoint that metarun has written (step: Field required)" in err[0]
    assert err[0].endswith("; going on from previous.pt, step 2")
    assert_same(part, made / "whole")
    assert (part / "checkpoints/last.damaged.pt").exists()


def first_weights(state: dict) -> torch.Tensor:
    return next(iter(state["learner"].values()))


CHANGES: dict[str, Callable[[dict], object]] = {
    "without a step": lambda state: state.pop("step"),
    "without weights": lambda state: state.update(learner={}),
    "one weight more": lambda state: state["learner"].update(more=torch.zeros(1)),
    "weights of another shape": lambda state: first_weights(state).unsqueeze_(0),
    "weights of another type": lambda state: state.update(
        learner={name: weights.long() for name, weights in state["learner"].items()}
    ),
    "another run": lambda state: state["config"].update(seed=12345),
}
CHANGES_OF_LAST: dict[str, Callable[[dict], object]] = {
    "a larger head": lambda state: state["task"].update(outputs=7),
    "other weights of the best": lambda state: state.update(best_learner={"w": torch.zeros(1)}),
    "another score": lambda state: state["best"].update(x=state["best"].pop("accuracy")),
    "another split": lambda state: state["splits"].update(more="0"),
    "one split less": lambda state: state["splits"].pop("val"),
    "no parameters of the optimizer": lambda state: state["optimizer"]["param_groups"].clear(),
    "a rate that is a text": lambda state: state["optimizer"]["param_groups"][0].update(lr="x"),
    "a moment of another shape": lambda state: state["optimizer"]["state"][0].update(
        exp_avg=torch.zeros(3)
    ),
    "more steps than the run": lambda state: state.update(step=10**9),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_evaluation_refuses_a_checkpoint_that_does_not_fit(
    metarun: Metarun, made: Path, change: Callable[[dict], object]
) -> None:
    """Its checksum is right: anybody can write one. `tests/runs/test_content.py` has the types."""
    shutil.copytree(made / "part", "run")
    for name in ("last.pt", "previous.pt"):  # which have a copy of the best weights
        (Path("run/checkpoints") / name).unlink()
    state = checkpoint.load_state(Path("run/checkpoints/best.pt"))
    change(state)
    checkpoint.save(Path("run/checkpoints/best.pt"), state)
    own = str(Path(__file__).parents[1] / "own")
    code, out, err = metarun("evaluate", "run=run", "--config-dir", own)
    assert (code, len(err)) == (2, 1), (out, err)
    assert "Error" not in err[0]
    assert not Path("run/evaluations").exists()


@pytest.mark.parametrize(
    "change", (CHANGES | CHANGES_OF_LAST).values(), ids=CHANGES | CHANGES_OF_LAST
)
def test_resume_refuses_a_checkpoint_that_does_not_fit(
    metarun: Metarun, part: Path, change: Callable[[dict], object]
) -> None:
    (part / "checkpoints/previous.pt").unlink()
    state = checkpoint.load_state(part / "checkpoints/last.pt")
    change(state)
    checkpoint.save(part / "checkpoints/last.pt", state)
    before = {p: p.read_bytes() for p in part.rglob("*") if p.is_file()}
    own = str(Path(__file__).parents[1] / "own")
    code, out, err = metarun("resume=part", "--config-dir", own)
    assert code == 2, (out, err)
    assert err
    assert "Error" not in "".join(err)
    assert before == {p: p.read_bytes() for p in part.rglob("*") if p.is_file()}
