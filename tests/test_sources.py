"""Four kinds of tasks with one learner: classes, sine waves, users with ratings, an environment.

They differ only in the data set; learners, training loop, checkpoints, evaluation and report are
the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from metarun import Examples
from metarun.config.groups import choices
from metarun.runs import checkpoint, metrics
from metarun.tasks.gathered import source_of
from metarun.tasks.sampler import Sampler
from tests.algorithms.learners import OF_RATINGS, WITHOUT_TRAINING
from tests.conftest import OWN
from tests.faults.conftest import assert_same
from tests.faults.test_kill import killed_at, whole
from tests.own.point import Point
from tests.own.users import Users

Metarun = Callable[..., tuple[int, str, list[str]]]
SHORT = (
    "--config-dir",
    str(OWN),
    "steps=4",
    "meta_batch=2",
    "eval_every=2",
    "log_every=1",
    "val_episodes=4",
    "test_episodes=10",
    "logger=none",
    "threads=1",
)
SOURCES = {
    "glyphs": ("data=glyphs", "queries=2", "backbone.filters=8"),
    "sinusoid": ("data=sinusoid", "shots=5"),
    "users": ("data=users",),
    "point": ("data=point",),
}
HEADLINES = {"glyphs": "accuracy", "sinusoid": "mse", "users": "mae", "point": "return"}


def result(folder: str) -> dict:
    return json.loads(Path(folder, "result.json").read_text())


@pytest.mark.parametrize("name", SOURCES)
def test_training_evaluation_comparison_report_and_audit(metarun: Metarun, name: str) -> None:
    code, out, err = metarun(*SHORT, *SOURCES[name], "algo=maml", "out=run")
    assert (code, err) == (0, [])
    run, score = result("run"), HEADLINES[name]
    assert run["protocol"]["headline"]["score"] == score
    assert {"loss", score, "episodes"} <= run["test"].keys()
    lines = metrics.read_metrics(Path("run"))
    best = max if run["protocol"]["headline"]["higher_is_better"] else min
    validations = {line["step"]: line[score] for line in lines if line["split"] == "val"}
    assert validations[run["val"]["best_step"]] == best(validations.values())
    code, _, err = metarun("evaluate", "run=run", "episodes=6", "split=val", *SHORT[:2])
    assert (code, err) == (0, [])
    assert metarun(*SHORT, *SOURCES[name], "algo=maml", "seed=1", "out=other")[0] == 0
    code, out, err = metarun("compare", "run", "other")
    assert (code, err) == (0, [])
    assert score in out or name == "glyphs"
    code, out, err = metarun("report", "run", "other")
    assert (code, err) == (0, [])
    assert name in out
    assert metarun("audit", "run=run", "episodes=2", *SHORT[:2])[0] == 0


@pytest.mark.parametrize("name", SOURCES)
def test_a_killed_run_has_the_same_result_after_resume(tmp_path: Path, name: str) -> None:
    arguments = [*SHORT, *SOURCES[name], "algo=maml"]
    writes = whole(arguments, tmp_path / "whole")
    killed_at(arguments, tmp_path / "killed", len(writes) // 2)
    assert_same(tmp_path / "whole" / "run", tmp_path / "killed" / "run")


@pytest.mark.parametrize("algo", choices("algo"))
@pytest.mark.parametrize("name", ["users", "point"])
def test_all_learners_train_or_are_refused_in_one_line(
    metarun: Metarun, name: str, algo: str
) -> None:
    backbone = ["backbone=mlp"] if algo in WITHOUT_TRAINING else []  # whose keys point.yaml sets
    by_queries = ["algo.batch_norm=transductive"] if (algo, name) == ("lstm", "point") else []
    words = [f"algo={algo}", *backbone, *by_queries]
    code, _, err = metarun(*SHORT, *SOURCES[name], *words, "out=run")
    inner_loops = {"maml", "fomaml", "meta_sgd", "anil", "lstm", "reptile"}
    supported = {"users": inner_loops | {"user_mean"}, "point": inner_loops - {"anil", "reptile"}}
    if algo in supported[name]:
        assert (code, err) == (0, [])
        assert result("run")["status"] == "completed"
    else:
        assert (code, len(err)) == (2, 1)
        about = "algo" if algo in OF_RATINGS else f"algo={algo} data={name}: {algo} "
        assert err[0].startswith(f"metarun: {about}")
        assert not Path("run").exists()


def test_training_improves_the_scores_of_users_and_point(metarun: Metarun) -> None:
    for name, overrides in {
        "users": ("algo.inner_lr=0.5", "steps=200", "optimizer.lr=1e-2"),
        "point": ("algo.inner_lr=0.1", "steps=60", "optimizer.lr=1e-2", "meta_batch=8"),
    }.items():
        arguments = (*SHORT, *SOURCES[name], "algo=maml", "val_episodes=40", "test_episodes=60")
        metarun(*arguments, "eval_every=20", "steps=1", f"out={name}_untrained")
        metarun(*arguments, "eval_every=20", *overrides, f"out={name}")
        score = HEADLINES[name]
        before, after = (result(f)["test"][score] for f in (f"{name}_untrained", name))
        improvement = (after["mean"] - before["mean"]) * (1 if name == "point" else -1)
        assert improvement > 2 * (before["ci95"] + after["ci95"])


def test_sizes_that_a_source_does_not_take_are_refused(metarun: Metarun) -> None:
    code, _, err = metarun(*SHORT, *SOURCES["users"], "algo=maml", "shots=5", "train_ways=2")
    assert code == 2
    assert err == [
        "metarun: train_ways=2: tasks of users have sizes of their own; leave train_ways out",
        "metarun: shots=5: tasks of users have sizes of their own; leave shots out",
    ]
    code, _, err = metarun(*SHORT, *SOURCES["glyphs"], "ways=null")
    assert (code, len(err)) == (2, 2)
    assert err[1] == "metarun: ways=null: should be a number"


def test_users_have_different_sizes_and_disjoint_support_and_query() -> None:
    source = source_of(Users().load()["train"], (None, None, None))
    sizes = set()
    for task in Sampler.training(source, 0).tasks(range(100)):
        assert isinstance(task.support, Examples)
        items = torch.cat([task.support.x["item"], task.query.x["item"]])
        assert len(items.unique()) == len(items)
        sizes.add((len(task.support), len(task.query)))
    assert len(sizes) > 20
    assert min(min(pair) for pair in sizes) == 1


def test_each_call_of_a_walk_samples_new_but_reproducible_episodes() -> None:
    sampler = Sampler.frozen(source_of(Point().load()["test"], (None, None, None)), "test", 0)

    def stay(x: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x)

    (task,), (copy,) = sampler.tasks([3]), sampler.tasks([3])
    first, second = (float(task.support.judge(stay).scores["return"]) for _ in range(2))
    assert first != second
    assert [first, second] == [float(copy.support.judge(stay).scores["return"]) for _ in range(2)]
    assert float(task.query.judge(stay).scores["return"]) not in (first, second)


def test_custom_sources_support_float64(metarun: Metarun) -> None:
    for name in ("users", "point"):
        arguments = (*SHORT, *SOURCES[name], "algo=maml", "precision=float64")
        assert metarun(*arguments, f"out={name}")[0] == 0
        state = checkpoint.load_state(Path(name, "checkpoints/last.pt"))["learner"]
        assert {v.dtype for v in state.values() if v.is_floating_point()} == {torch.float64}


@pytest.mark.parametrize("algo", ["protonet", "matchingnet", "maml", "reptile", "lstm"])
def test_tasks_with_varying_classes_and_items_are_learned(metarun: Metarun, algo: str) -> None:
    """The data set has a custom objective with class labels."""
    small = ("algo.hidden=4",) if algo == "lstm" else ()
    code, _, err = metarun(*SHORT, "data=ragged", f"algo={algo}", *small, "out=run")
    assert (code, err) == (0, [])
    assert result("run")["protocol"]["headline"]["score"] == "accuracy"
    assert Path("run/episodes.png").is_file()


def test_tasks_with_varying_classes_and_items_are_audited(metarun: Metarun) -> None:
    code, out, _ = metarun("audit", *SHORT, "data=ragged", "algo=maml", "episodes=3")
    assert code == 0, out


def test_tasks_with_varying_classes_and_items_are_shown(metarun: Metarun) -> None:
    code, out, err = metarun("show", *SHORT[:2], "data=ragged")
    assert (code, err) == (0, [])
    assert Path(out.splitlines()[-1]).is_file()


def test_an_environment_is_evaluated_with_batch_norm(metarun: Metarun) -> None:
    arguments = (*SHORT, "data=point", "algo=maml", "backbone.batch_norm=true")
    assert metarun(*arguments, "out=run")[0] == 0
    assert metarun("evaluate", "run=run", *SHORT[:2])[0] == 0
    assert list(result("run/evaluations/test_10")["test_by_batch_norm"]) == ["transductive"]
    assert metarun("audit", "run=run", "episodes=2", *SHORT[:2])[0] == 0
    code, _, err = metarun(*arguments, "algo.batch_norm=inductive", "out=other")
    assert (code, len(err)) == (2, 1)
    assert err[0].startswith("metarun: algo.batch_norm=inductive: ")


def test_a_backbone_without_named_inputs_is_refused(metarun: Metarun) -> None:
    code, _, err = metarun(*SHORT, "data=users", "algo=maml", "backbone=mlp", "out=run")
    assert code == 2
    assert err == [
        "metarun: backbone=mlp: takes items that are one tensor, but items of users have "
        "several: item, genre"
    ]
    assert not Path("run").exists()


def test_sinusoid_without_shots_is_refused(metarun: Metarun) -> None:
    code, _, err = metarun(*SHORT, "data=sinusoid", "algo=maml", "shots=null", "out=run")
    assert (code, len(err)) == (2, 2)
    assert err[1] == "metarun: shots=null: should be a number"
