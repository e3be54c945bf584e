"""The nearest support item, a baseline without training."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.algorithms import Learner
from metarun.algorithms.embedding import members
from metarun.tasks.task import Examples, Model, Spec

Distance = Literal["squared_euclidean", "cosine"]


def similarity(query: Tensor, references: Tensor, distance: Distance) -> Tensor:
    """The negative distance, or the cosine, of each query and each reference: (Q, R).

    A distance does not depend on the other rows, unlike that of `torch.cdist` by default, which
    subtracts squared norms and rounds small distances.

    Args:
        query: (Q, D).
        references: (R, D).
    """
    if distance == "cosine":
        return F.normalize(query, dim=-1) @ F.normalize(references, dim=-1).mT
    exact = "donot_use_mm_for_euclid_dist"
    return -torch.cdist(query, references, compute_mode=exact).square()


class NearestNeighbour(Learner):
    """Assigns a query to the class of the nearest support item.

    Nothing is trained: with `backbone=identity` raw inputs are compared, with another backbone the
    features of its initial weights. A learner is useful only if its accuracy is higher. The logit
    of a class is the similarity of its nearest item.

    Args:
        backbone: maps (B, *shape) to (B, features).
        spec: not used: there is no head.
        distance: `squared_euclidean`, or `cosine`, which is a similarity.
    """

    learns = False

    def __init__(
        self, backbone: nn.Module, spec: Spec, *, distance: Distance = "squared_euclidean"
    ) -> None:
        super().__init__()
        self.backbone, self.distance = backbone, distance

    def adapt(self, support: Examples) -> Model:
        references = self.backbone(support.x)
        other_class = ~members(support.y, support.labels)  # (N·K, N)

        def logits(x: Tensor) -> Tensor:
            of_items = similarity(self.backbone(x), references, self.distance)  # (Q, N·K)
            return of_items.unsqueeze(-1).masked_fill(other_class, -torch.inf).amax(1)

        return logits
