"""A frozen network with weights of its own as a classifier, without a run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch

from metarun.config.instantiate import target_of
from metarun.config.schema import RunConfig
from metarun.data.preparation.spectrograms import Scale
from metarun.errors import Mistakes, Refused
from metarun.predict.classifier import Classifier
from metarun.predict.inputs import own_data
from metarun.predict.support import Support
from metarun.predict.trained import scale_of
from metarun.tasks.objectives import CLASSIFICATION
from metarun.tasks.task import Spec
from metarun.training.learner import THREADS, build_learner, device_of, dtype_of, plan
from metarun.training.pretraining import read_weights, seen_by, start_of


class Untrained:
    """An algorithm that needs no training, on a frozen network with weights of its own.

    Args:
        config: the composed configuration; `data` says how items are prepared. Pictures have the
            size of the network, if it has one and `data.size` is not typed.
        typed: the keys that the user typed.
        folders: the user's config folders.

    Attributes:
        folder: where `predictions` is created: the working directory.

    Raises:
        Refused: the configuration is invalid.
    """

    folder = Path()
    known: Scale | None = None

    def __init__(
        self, config: RunConfig, typed: Collection[str], folders: Sequence[Path] = ()
    ) -> None:
        if config.backbone.get("frozen") is False:
            raise Refused("backbone.frozen=false: predict trains nothing; leave it out")
        mistakes = Mistakes()
        self.plans = plan(dict(config), folders, mistakes)
        self.device = mistakes.catch(device_of, config.device, config.precision)
        mistakes.settle()
        backbone = self.plans["backbone"]
        size_of = getattr(target_of(backbone), "picture_size", None)
        if size_of and "size" in config.data and "data.size" not in typed:
            size = max(size_of(**getattr(backbone, "keywords", {})))
            config = config.model_copy(update={"data": {**config.data, "size": size}})
        self.config = config
        self.data, self.kind = own_data(config, folders, f"data={config.choices.data}: it")
        weights = config.backbone.get("weights")
        if self.kind == "recordings" and weights and Path(weights).is_dir():
            self.known = scale_of(Path(weights))
        start = start_of(config, target_of(backbone))
        self.weights, self.pretraining = read_weights(start, config, None, folders)

    def classifier(self, support: Support, typed: str) -> Classifier:
        """The learner with its network.

        Raises:
            Refused: the algorithm needs training, or the network has random weights.
        """
        choices, classes = self.config.choices, len(support.names)
        torch.set_num_threads(self.config.threads or THREADS)
        spec = Spec(support.items.shape[1:], classes, CLASSIFICATION, min(support.counts), classes)
        learner = build_learner(self.config, self.plans, spec, self.weights)
        if any(p.requires_grad for p in learner.parameters()):
            raise Refused(
                f"algo={choices.algo}: has weights to train; train a run (metarun "
                f"algo={choices.algo} …) and name it with run=RUN_DIR, or choose an algorithm that "
                "needs no training: simpleshot, linear_probe, protonet, nearest_centroid"
            )
        self.pretraining = self.pretraining or seen_by(learner, self.config)
        if self.pretraining is None and any(True for _ in learner.parameters()):
            others = "wordllama" if self.kind == "sentences" else "efficientnet_lite0 or timm"
            raise Refused(
                f"backbone={choices.backbone}: its weights are random; name trained ones with "
                f"backbone.weights=RUN_DIR or FILE, or choose backbone={others}"
            )
        learner = learner.to(self.device).eval()
        return Classifier(
            *(learner, self.device, dtype_of(self.config), choices.algo, learner.batch_norm),
            untrained=True,
        )

    def record(self) -> dict[str, Any]:
        """What `prediction.json` says of the network, in place of a run."""
        weights = self.config.backbone.get("weights")
        return {"weights": weights, "pretraining": self.pretraining}
