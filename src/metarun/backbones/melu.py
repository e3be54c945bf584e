"""The network of MeLU: embeddings of categories and fully connected decision layers."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from metarun.errors import Refused


class MeLU(nn.Module):
    """Embeds the categories of a user and an item, and joins them by fully connected layers.

    Lee, Im, Jang, Cho & Chung 2019, "MeLU: Meta-Learned User Preference Estimator for Cold-Start
    Recommendation", section 3.1. With the head of a learner, the layers of `decision` are the
    "decision-making layers", which alone adapt to a user (`algo=melu`).

    Args:
        inputs: shape of each field of an item. Fields (categories) are embedded: rows of weights
            with sum 1 have the weighted mean of the embeddings. Single numbers are not used.
        embedding: length of the embedding of each field.
        hidden: width of each layer of `decision`; the last width is the number of features.

    Raises:
        Refused: items have no fields with names.
    """

    named_inputs = True

    def __init__(
        self,
        inputs: Mapping[str, tuple[int, ...]],
        *,
        embedding: PositiveInt = 32,
        hidden: list[PositiveInt] = [64, 64],  # noqa: B006 (read only)
    ) -> None:
        super().__init__()
        sizes = {}
        if isinstance(inputs, Mapping):
            sizes = {name: shape[0] for name, shape in inputs.items() if len(shape) == 1}
        if not sizes:
            raise Refused(
                "backbone=melu: embeds items with named categories, such as those of "
                "data=ratings_world"
            )
        self.embedding = nn.ModuleDict(
            {name: nn.Linear(size, embedding, bias=False) for name, size in sizes.items()}
        )
        for table in self.embedding.values():
            nn.init.normal_(table.weight)  # as nn.Embedding
        layers, width = [], embedding * len(sizes)
        for n in hidden:
            layers += [nn.Linear(width, n), nn.ReLU()]
            width = n
        self.decision, self.features = nn.Sequential(*layers), width

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        """(B, categories) of each field → (B, features)."""
        return self.decision(torch.cat([e(x[name]) for name, e in self.embedding.items()], 1))
