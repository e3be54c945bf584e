"""A backbone in bfloat16: its own products only, with weights and outputs in float32."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from metarun.algorithms.maml import MAML
from metarun.algorithms.protonet import ProtoNet
from metarun.backbones.bfloat16 import in_bfloat16
from metarun.backbones.conv4 import Conv4
from metarun.backbones.identity import Identity
from tests.algorithms.gradients import gradient
from tests.algorithms.learners import spec
from tests.conftest import TINY, tasks


def backbone(bfloat16: bool = True) -> Conv4:
    torch.manual_seed(0)
    net = Conv4((1, 28, 28), filters=8)
    return in_bfloat16(net) if bfloat16 else net


def types_of_products(net: nn.Module, x: Tensor) -> set[torch.dtype]:
    types = set()
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(lambda module, args, out: types.add(out.dtype))
    net(x)
    return types


def test_products_are_in_bfloat16_and_features_and_weights_in_float32() -> None:
    net, x = backbone(), torch.rand(3, 1, 28, 28)
    assert types_of_products(net, x) == {torch.bfloat16}
    assert net(x).dtype == torch.float32
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    torch.testing.assert_close(net(x), backbone(bfloat16=False)(x), rtol=0.05, atol=0.05)
    assert not torch.equal(net(x), backbone(bfloat16=False)(x))


def test_a_head_after_the_backbone_stays_in_float32() -> None:
    learner = MAML(backbone(), spec())
    assert learner.net(torch.rand(3, 1, 28, 28)).dtype == torch.float32
    assert not torch.is_autocast_enabled("cpu")


def test_a_copy_and_a_checkpoint_have_the_names_of_the_backbone() -> None:
    net = backbone()
    assert list(net.state_dict()) == list(backbone(bfloat16=False).state_dict())
    other = copy.deepcopy(net)
    with torch.no_grad():
        other.blocks[0].weight.zero_()
    x = torch.rand(2, 1, 28, 28)
    assert not torch.equal(net(x), other(x))
    assert types_of_products(other, x) == {torch.bfloat16}


def test_in_double_precision_autocast_does_nothing() -> None:
    """So that `metarun audit` can check gradients in double precision."""
    x = torch.rand(3, 1, 28, 28, dtype=torch.float64)
    assert torch.equal(backbone().double()(x), backbone(bfloat16=False).double()(x))


def test_a_backbone_without_weights_stays_as_it_is() -> None:
    net = Identity((1, 4, 4))
    assert type(in_bfloat16(net)) is Identity


@pytest.mark.parametrize(("kind", "cosine"), [(ProtoNet, 0.9), (MAML, 0.7)])
@pytest.mark.parametrize("shots", [2, 6])
def test_meta_gradients_point_in_the_direction_of_float32(
    kind: type, cosine: float, shots: int
) -> None:
    """Rounding moves units across the kink of ReLU, the more so with second derivatives."""
    batch = tasks(4, ways=3, shots=shots, queries=4)
    pair = [gradient(kind(backbone(b), spec()), batch) for b in (False, True)]
    assert torch.nn.functional.cosine_similarity(*pair, dim=0) > cosine


def test_a_run_in_bfloat16(metarun: Callable[..., tuple[int, str, list[str]]]) -> None:
    assert metarun(*TINY, "precision=bfloat16", "out=run")[0] == 0
    state = torch.load(Path("run/checkpoints/last.pt"), weights_only=True)["learner"]
    assert {w.dtype for w in state.values() if w.is_floating_point()} == {torch.float32}
    assert '"precision": "bfloat16"' in Path("run/result.json").read_text()
    assert metarun("resume=run", "steps=5", *TINY[:2])[0] == 0
    assert metarun("evaluate", "run=run", *TINY[:2])[0] == 0
