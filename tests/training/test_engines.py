"""The engine of a run: chosen from the configuration, kept by it, refused where it cannot work."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from metarun.algorithms import Learner
from metarun.algorithms.anil import ANIL
from metarun.algorithms.maml import MAML
from metarun.algorithms.protonet import ProtoNet
from metarun.algorithms.reptile import Reptile
from metarun.backbones.norm import BatchNorm
from metarun.config.compose import checked, compose
from metarun.config.schema import RunConfig
from metarun.errors import Refused
from metarun.training.engines import set_engine
from tests.algorithms.learners import spec


@cache
def composed() -> RunConfig:
    return checked(compose(["algo=maml", "shots=1", "train_queries=1", "meta_batch=32"]))


def engine_of(learner: Learner, device: str = "cpu", kind: str = "examples", **keys: Any) -> str:
    config = composed().model_copy(update=keys)
    engine = set_engine(learner, config, replace(spec(), kind=kind), device).engine
    assert learner.engine == engine
    return engine


def maml(*layers: nn.Module, **keys: float) -> MAML:
    net = nn.Sequential(nn.Linear(6, 4), *layers)
    net.features = 4
    return MAML(net, spec(), **keys)


class OwnLayer(nn.Identity):
    """A layer that is not metarun's or torch's."""


NO_LAYERS = (
    nn.Tanh(),
    nn.Conv2d(4, 4, 3, padding="same"),
    nn.Conv2d(4, 4, 3, dilation=2),
    nn.Conv2d(4, 4, 3, groups=2),
    BatchNorm(4, affine=False),
    nn.Flatten(2),
)


def partly_frozen() -> MAML:
    learner = maml()
    learner.net[0][0].bias.requires_grad_(False)
    return learner


def anil(*layers: nn.Module) -> ANIL:
    return ANIL(maml(*layers).net[0], spec())


def test_auto_chooses_layerwise_for_a_chain_of_layers_and_vmap_on_a_gpu() -> None:
    assert engine_of(maml(BatchNorm(4))) == "layerwise"
    assert engine_of(maml(), meta_batch=4, train_queries=15) == "layerwise"
    assert engine_of(maml(), meta_batch=3) == "loop"
    assert engine_of(maml(nn.Tanh())) == "vmap"  # no layer that layerwise knows
    assert engine_of(maml(), "cuda", meta_batch=4, train_queries=15) == "vmap"


def test_auto_chooses_vmap_for_many_small_tasks() -> None:
    assert engine_of(anil(BatchNorm(4))) == "vmap"
    assert engine_of(anil(), train_queries=5) == "loop"  # 30 items in a task
    assert engine_of(anil(), meta_batch=4) == "loop"


def test_reptile_whose_training_is_in_sequence_uses_vmap_for_evaluation_only() -> None:
    """On a CPU, where its first-order steps gain nothing, `auto` chooses the loop."""
    reptile = Reptile(maml(BatchNorm(4)).net[0], spec())
    assert engine_of(reptile) == "loop"
    assert engine_of(reptile, "cuda") == "vmap"
    assert engine_of(reptile, engine="vmap") == "vmap"
    assert reptile.tasks_at_once == 1
    with pytest.raises(Refused, match="tasks_at_once=4: maml trains on one task after another"):
        engine_of(reptile, engine="vmap", tasks_at_once=4)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_auto_chooses_the_loop_for_what_others_may_not_compute(device: str) -> None:
    assert engine_of(ProtoNet(nn.Linear(6, 4), spec()), device) == "loop"
    assert engine_of(maml(nn.Dropout(0.1)), device) == "loop"
    assert engine_of(maml(nn.BatchNorm1d(4)), device) == "loop"
    assert engine_of(maml(OwnLayer()), device) == "loop"
    assert engine_of(maml(), device, precision="bfloat16") == "loop"


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_auto_lets_policies_act_in_several_environments_at_once(device: str) -> None:
    assert engine_of(maml(), device, kind="environments") == "vmap"


@pytest.mark.parametrize(
    ("learner", "keys", "message"),
    [
        (maml(nn.Dropout(0.1)), {}, "engine=vmap: Dropout in the network draws random numbers"),
        (maml(nn.BatchNorm1d(4)), {}, "engine=vmap: BatchNorm1d in the network keeps running"),
        (maml(), {"precision": "bfloat16"}, "engine=vmap: autocast to bfloat16 has no effect"),
        (
            maml(),
            {"kind": "environments", "engine": "layerwise"},
            "engine=layerwise: supports of glyphs are environments",
        ),
        (
            maml(later_inner_lr=0.1),
            {"engine": "layerwise"},
            "engine=layerwise: the inner steps have several sizes",
        ),
        (
            maml(later_inner_lr=0.1),
            {"engine": "learn2learn"},
            "engine=learn2learn: has one step size; leave algo.later_inner_lr out",
        ),
        (anil(), {"engine": "layerwise"}, "engine=layerwise: maml has no inner loop"),
        *(
            (maml(layer), {"engine": "layerwise"}, "engine=layerwise: the network is no chain of")
            for layer in NO_LAYERS
        ),
        (partly_frozen(), {"engine": "layerwise"}, "engine=layerwise: some weights of the network"),
        (ProtoNet(nn.Linear(6, 4), spec()), {}, "engine=vmap: maml has no inner loop"),
        (
            ProtoNet(nn.Linear(6, 4), spec()),
            {"engine": "learn2learn"},
            "engine=learn2learn: maml has no inner loop that it could compute; engine=loop takes",
        ),
        (
            maml(),
            {"engine": "loop", "tasks_at_once": 4},
            "tasks_at_once=4: engine=loop takes one task after another",
        ),
    ],
)
def test_what_an_engine_cannot_compute_is_refused(
    learner: Learner, keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(Refused, match=re.escape(message)):
        engine_of(learner, **{"engine": "vmap", **keys})


def test_auto_leaves_a_network_that_begins_with_relu_to_others() -> None:
    """Layerwise would overwrite the inputs."""
    net = nn.Sequential(nn.ReLU(), nn.Linear(6, 4))
    net.features = 4
    assert engine_of(MAML(net, spec())) == "vmap"


def test_learn2learn_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    assert engine_of(maml(), engine="learn2learn") == "learn2learn"
    monkeypatch.setattr("metarun.training.engines.find_spec", lambda name: None)
    with pytest.raises(Refused, match="learn2learn: learn2learn is not installed; engine=loop"):
        engine_of(maml(), engine="learn2learn")
    assert engine_of(maml(), engine="loop") == "loop"


def test_the_user_may_choose_a_network_of_ones_own_for_vmap() -> None:
    assert engine_of(maml(OwnLayer()), engine="vmap") == "vmap"


def test_tasks_at_once() -> None:
    learner = maml()
    engine_of(learner, engine="vmap", tasks_at_once=3)
    assert learner.tasks_at_once == 3
    engine_of(learner, engine="vmap")
    assert learner.tasks_at_once == 16
    for meta_batch, at_once in ((1, 1), (4, 2), (5, 3), (32, 16), (100, 16)):
        engine_of(learner, engine="layerwise", meta_batch=meta_batch)
        assert learner.tasks_at_once == at_once
    engine_of(learner, "cuda", engine="vmap")
    assert learner.tasks_at_once == 128


def test_a_run_names_its_engine_and_keeps_it(metarun: Callable[..., Any]) -> None:
    """The engine is resolved in config.yaml; `resume` cannot change it, `evaluate` can."""
    tiny = ("algo=maml", "data=sinusoid", "shots=5", "queries=5", "backbone.hidden=[8]")
    short = ("steps=2", "meta_batch=16", "val_episodes=4", "test_episodes=10", "out=run")
    assert metarun(*tiny, *short)[0] == 0
    out = Path("run")
    assert "\nengine: layerwise\n" in (out / "config.yaml").read_text()
    result = json.loads((out / "result.json").read_text())
    assert result["protocol"]["engine"] == "layerwise"
    code, _, (line,) = metarun("resume=run", "steps=3", "engine=loop")
    assert (code, "engine" in line) == (2, True)
    assert metarun("resume=run", "steps=3")[0] == 0
    assert "\nengine: layerwise\n" in (out / "config.yaml").read_text()
    assert metarun("evaluate", "run=run", "engine=loop")[0] == 0
    (evaluation,) = set(out.glob("evaluations/*/result.json")) - set(out.glob("*/after*/*"))
    tested = json.loads(evaluation.read_text())
    assert tested["protocol"]["engine"] == "loop"
    again = json.loads((out / "result.json").read_text())["test"]["mse"]
    assert tested["test"]["mse"]["mean"] == pytest.approx(again["mean"], rel=1e-4)


def test_vmap_and_loop_train_the_same_weights_to_rounding(metarun: Callable[..., Any]) -> None:
    losses = []
    for engine in ("loop", "vmap"):
        tiny = ("algo=maml", "data=sinusoid", "shots=5", "queries=5", "backbone.hidden=[8]")
        short = ("steps=5", "meta_batch=4", "val_episodes=4", "test_episodes=10", f"out={engine}")
        assert metarun(*tiny, *short, "precision=float64", f"engine={engine}")[0] == 0
        lines = (Path(engine) / "metrics.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["loss"] for line in lines])
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)
