"""The nearest mean support item, a baseline without training."""

from __future__ import annotations

from metarun.algorithms.nearest_neighbour import NearestNeighbour, similarity
from metarun.algorithms.protonet import prototypes
from metarun.tasks.task import Examples, Model


class NearestCentroid(NearestNeighbour):
    """Assigns a query to the class whose support items have the nearest mean.

    Nothing is trained: it is a prototypical network with raw inputs (`backbone=identity`) or with
    the features of initial weights (another backbone). With 1 shot it equals `NearestNeighbour`.

    Args:
        backbone: maps (B, *shape) to (B, features).
        spec: not used: there is no head.
        distance: `squared_euclidean`, or `cosine`, which is a similarity.
    """

    def adapt(self, support: Examples) -> Model:
        centroids = prototypes(self.backbone(support.x), support.y, support.labels)
        return lambda x: similarity(self.backbone(x), centroids, self.distance)
