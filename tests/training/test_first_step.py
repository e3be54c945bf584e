"""A run that cannot take its first step, or cannot be validated, is refused before any write."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from metarun import train
from metarun.config.groups import choices
from tests.conftest import TINY
from tests.data.test_banking77 import rows, small, written  # noqa: F401
from tests.test_train import result

Metarun = Callable[..., tuple[int, str, list[str]]]
OWN = TINY[:2]
SINUSOID = ["data=sinusoid", "backbone=mlp", "debug=tiny", "threads=1", "out=run"]
INNER_LOOPS = ["anil", "fomaml", "lstm", "maml", "meta_sgd", "reptile"]
ALONE = "metarun: backbone: batch normalisation cannot normalise one item by itself; use larger "


def assert_refused(metarun: Metarun, *words: str) -> str:
    """Assert that a request is refused in one line and writes nothing; returns the line."""
    code, out, err = metarun(*words)
    assert (code, out, len(err)) == (2, "", 1), err
    assert not Path("run").exists()
    return err[0]


@pytest.mark.parametrize("net", ["mlp", "ngrams"])
@pytest.mark.parametrize("algo", INNER_LOOPS)
def test_batch_norm_of_one_support_item_is_refused(metarun: Metarun, algo: str, net: str) -> None:
    sizes = ["shots=1", "train_shots=1", *SINUSOID, f"backbone={net}"]
    assert assert_refused(metarun, *sizes, f"algo={algo}").startswith(ALONE)


@pytest.mark.parametrize(
    "words",
    [
        ["algo=maml", "shots=5", "train_shots=5", "train_queries=1"],
        ["algo=maml", "shots=5", "train_shots=5", "queries=1"],
        ["algo=maml", "train_shots=5", "shots=1"],
        ["algo=reptile", "shots=5", "train_shots=10", "algo.inner_batch=1"],
        ["algo=reptile", "shots=5", "train_shots=10", "algo.test_inner_batch=1"],
    ],
    ids=" ".join,
)
def test_other_batches_of_one_item_are_refused(metarun: Metarun, words: list[str]) -> None:
    assert assert_refused(metarun, *SINUSOID, *words).startswith(ALONE)


def test_batch_norm_of_two_items_is_accepted(metarun: Metarun) -> None:
    sizes = ["shots=2", "train_shots=2", "queries=2", "train_queries=2"]
    assert metarun(*SINUSOID, "algo=maml", *sizes, "steps=1")[0] == 0


def test_an_evaluation_that_a_backbone_cannot_do_is_refused(metarun: Metarun) -> None:
    words = [*SINUSOID, "algo=maml", "shots=2", "train_shots=2", "train_queries=2", "steps=1"]
    assert metarun(*words)[0] == 0
    code, _, err = metarun("evaluate", "run=run", "shots=1")
    assert (code, len(err)) == (2, 1)
    assert err[0].startswith(ALONE)
    assert not Path("run/evaluations").exists()


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")  # of torch, for that backbone
def test_a_backbone_of_the_user_that_takes_other_items_is_refused(metarun: Metarun) -> None:
    code, _, err = metarun(*OWN, "data=blobs", "backbone=ratings", "debug=tiny", "out=run")
    assert code == 2
    assert not Path("run").exists()
    assert err[-1].startswith(
        "metarun: algo=protonet data=blobs backbone=ratings: a step fails: Type"
    )


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")
def test_a_traceback_leaves_no_folder(metarun: Metarun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METARUN_TRACEBACK", "1")
    with pytest.raises(TypeError):
        metarun(*OWN, "data=blobs", "backbone=ratings", "debug=tiny", "out=run")
    assert not Path("run").exists()


def test_the_first_try_changes_no_weight_and_no_random_number(
    metarun: Metarun, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert metarun(*TINY, "algo=reptile", "out=tried")[0] == 0
    monkeypatch.setattr(train, "try_first_step", lambda parts: None)
    assert metarun(*TINY, "algo=reptile", "out=untried")[0] == 0
    states = [
        torch.load(Path(run, "checkpoints/last.pt"), weights_only=True)["learner"]
        for run in ("tried", "untried")
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])
    assert result("tried")["test"] == result("untried")["test"]


DATA = {  # data → overrides; pictures, sentences, and tasks of other kinds
    "blobs": ["shots=1"],
    "banking77": ["shots=1", "queries=1", "data.root=sentences"],
    "sinusoid": ["shots=1"],
    "ragged": ["queries=null"],
    "users": ["queries=null"],
    "point": ["queries=null"],
}
BACKBONES = [*sorted(choices("backbone")), "ratings"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")
@pytest.mark.parametrize("data", DATA)
def test_every_combination_is_refused_or_completes(
    metarun: Metarun, data: str, request: pytest.FixtureRequest
) -> None:
    outcomes = {}
    if data == "banking77":
        written(Path("sentences"), request.getfixturevalue("small"))
    for algo, net in itertools.product(sorted(choices("algo")), BACKBONES):
        narrow = {"resnet12": ["backbone.filters=[4,4,4,4]"], "conv": ["backbone.filters=4"]}
        filters = narrow.get("conv" if net.startswith("conv4") else net, [])
        sizes = ["meta_batch=1", "val_episodes=2", "test_episodes=2", "threads=1", *DATA[data]]
        steps = [] if algo.startswith("nearest") else ["steps=1"]
        out = f"{algo}_{net}"
        choice = [f"data={data}", f"algo={algo}", f"backbone={net}", *filters]
        code, _, err = metarun(*OWN, *choice, "debug=tiny", *sizes, *steps, f"out={out}")
        completed = code == 0 and result(out)["status"] == "completed"
        refused = code == 2 and not Path(out).exists()
        assert completed or (refused and err), (algo, net, err)
        outcomes[algo, net] = "completes" if completed else err
    for (algo, net), err in outcomes.items():  # a network is tried, not refused for others' keys
        assert not any("no such key" in line for line in err), (algo, net, err)
    assert "completes" in outcomes.values()
