"""Mean ratings, baselines without training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import nn

from metarun.algorithms import Learner
from metarun.errors import Refused
from metarun.tasks.task import Examples, Inputs, Model, Spec


class MeanRating(Learner):
    """Predicts the mean rating of the user or of the item. Nothing is trained.

    Args:
        backbone: not used.
        spec: describes the tasks.
        of: `user`: the mean target of the support, so that all queries rank equally: its nDCG is
            that of a random order. `item`: the mean rating of the item by the training users, the
            input `item_mean`.

    Raises:
        Refused: the targets are classes, or the items have no mean rating.
    """

    learns = needs_labels = False

    def __init__(self, backbone: nn.Module, spec: Spec, *, of: Literal["user", "item"]) -> None:
        super().__init__()
        has_means = isinstance(spec.inputs, Mapping) and "item_mean" in spec.inputs
        if spec.objective.labels:
            raise Refused(f"algo={of}_mean: predicts ratings; algo=nearest_centroid classifies")
        if of == "item" and not has_means:
            raise Refused(
                "algo=item_mean: the items have no mean rating, as those of data=movielens and "
                "data=ratings_world have; algo=user_mean needs none"
            )
        self.of = of

    def adapt(self, support: Examples) -> Model:
        if self.of == "item":
            return lambda x: x["item_mean"].unsqueeze(1)
        mean = support.y.mean(0)
        return lambda x: mean.expand(_items(x), *mean.shape)


def _items(x: Inputs) -> int:
    return len(next(iter(x.values())) if isinstance(x, Mapping) else x)
