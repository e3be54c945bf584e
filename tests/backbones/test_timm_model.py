"""Networks of timm, with weights from a file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from metarun.backbones.timm_model import Timm
from metarun.errors import Refused

NAME = "test_efficientnet"  # timm's smallest network


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of the network with its classifier, in a file as timm's."""
    timm = pytest.importorskip("timm", reason="extra `timm`")
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "net.pth"
    torch.save(timm.create_model(NAME).state_dict(), file)
    return file


def test_features_are_those_of_timm_before_its_classifier(weights: Path) -> None:
    import timm

    net = Timm((3, 160, 160), name=NAME, weights=str(weights)).eval()
    reference = timm.create_model(NAME).eval()
    reference.load_state_dict(torch.load(weights, weights_only=True))
    transform = timm.data.resolve_data_config({}, model=reference)
    x = torch.rand(2, 3, *net.size)
    mean, std = (torch.tensor(transform[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        expected = reference.forward_head(
            reference.forward_features((x - mean) / std), pre_logits=True
        )
        torch.testing.assert_close(net(x), expected)
    assert net(x).shape == (2, net.features)
    assert net.pretraining == "unknown (net.pth)"


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"name": "resnet19"}, r"^backbone\.name=resnet19: should be a model of timm"),
        ({"name": NAME, "weights": "no.pth"}, r"^backbone\.weights=no\.pth: no such file"),
        (
            {"name": NAME, "weights": __file__},
            r"^backbone\.weights=.*: the weights cannot be loaded",
        ),
    ],
)
def test_wrong_requests_are_refused(weights: Path, keys: dict[str, str], line: str) -> None:
    with pytest.raises(Refused, match=line) as refused:
        Timm((3, 32, 32), **keys)
    assert len(refused.value.mistakes) == 1


def test_weights_of_another_network_do_not_leave_random_ones(weights: Path, capfd) -> None:
    line = r"^backbone\.weights=.*net\.pth: the weights do not fit test_vit: without cls_token$"
    with pytest.raises(Refused, match=line):
        Timm((3, 32, 32), name="test_vit", weights=str(weights))
    assert capfd.readouterr() == ("", "")


def test_the_size_of_its_pictures_is_known_before_it_is_built() -> None:
    pytest.importorskip("timm", reason="extra `timm`")
    assert Timm.picture_size(name=NAME) == (160, 160)
    with pytest.raises(Refused, match=r"^backbone\.name=resnet18\.none: "):
        Timm.picture_size(name="resnet18.none")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(Refused, match=r"pip install 'metarun\[timm\]'"):
        Timm((3, 32, 32), name=NAME)
