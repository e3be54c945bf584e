"""The networks of timm, PyTorch Image Models."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from torch import Tensor

from metarun.backbones.pretrained import Pretrained
from metarun.config.schema import Place
from metarun.errors import Refused


class Timm(Pretrained):
    """A model of timm (https://github.com/huggingface/pytorch-image-models) without its classifier.

    Args:
        shape: (C, H, W) of one item, with 1 or 3 channels.
        name: of the model, as in `timm.list_models()`, with an optional tag: `resnet18.a1_in1k`.
        weights: a file with the model's weights, as timm writes and reads them; `None`: timm
            downloads them, or takes them from its cache.

    Raises:
        Refused: timm is not installed or has no such model, the weights cannot be read or
            downloaded or do not fit, or items are not pictures.
    """

    def __init__(self, shape: tuple[int, ...], *, name: str, weights: Place | None = None) -> None:
        timm = _timm_with(name)
        file = None if weights is None else Path(weights).expanduser()
        if file is not None and not file.is_file():
            raise Refused(f"backbone.weights={weights}: no such file")
        overlay = {} if file is None else {"pretrained_cfg_overlay": {"file": str(file)}}
        try:
            with _log_of_loading() as lines:
                net = timm.create_model(name, pretrained=True, num_classes=0, **overlay)
        except Exception as error:  # of the model hub, of torch, or of timm
            source = f"weights={weights}" if weights else f"name={name}"
            line = str(error).partition("\n")[0]
            raise Refused(f"backbone.{source}: the weights cannot be loaded ({line})") from error
        # Without a classifier, timm accepts any file: what it lacks would stay random.
        if missing := [m[1] for line in lines if (m := re.match(r"Missing keys \(([^,)]*)", line))]:
            raise Refused(
                f"backbone.weights={weights}: the weights do not fit {name}: without {missing[0]}"
            )
        config = net.pretrained_cfg
        super().__init__(
            *(shape, net.num_features, tuple(config["input_size"][1:])),
            *(config["mean"], config["std"]),
        )
        self.net = net
        self.pretraining = f"timm {name}" if file is None else f"unknown ({file.name})"

    @classmethod
    def picture_size(cls, *, name: str, weights: Place | None = None) -> tuple[int, int]:
        """Height and width of the pictures of the model's training.

        Raises:
            Refused: timm is not installed or has no such model or tag.
        """
        try:
            return tuple(_timm_with(name).get_pretrained_cfg(name).input_size[1:])
        except RuntimeError as error:  # an unknown tag
            raise Refused(f"backbone.name={name}: {error}") from error

    def embed(self, x: Tensor) -> Tensor:
        return self.net(x)


@contextmanager
def _log_of_loading() -> Iterator[list[str]]:
    """The lines that timm logs while it loads weights; they are not printed."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = logging.getLogger("timm.models._builder")
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def _timm_with(name: str) -> ModuleType:
    """The package timm, which has this model."""
    try:
        import timm
    except ImportError as error:
        raise Refused("backbone=timm: needs pip install 'metarun[timm]'") from error
    if name.partition(".")[0] not in timm.list_models():
        raise Refused(
            f"backbone.name={name}: should be a model of timm, e.g. resnet18; "
            "python -c 'import timm; print(*timm.list_models())' lists them"
        )
    return timm
