"""A learner of one's own, outside the package."""

import torch
import torch.nn.functional as F
from pydantic import PositiveFloat
from torch import nn

from metarun import Examples, Learner, Model, Spec


class NearestItem(Learner):
    """1-nearest neighbour on raw inputs; a scale is learned so that there is something to learn."""

    def __init__(self, backbone: nn.Module, spec: Spec, *, power: PositiveFloat = 2.0) -> None:
        super().__init__()
        self.scale, self.power = nn.Parameter(torch.ones(())), power

    def adapt(self, support: Examples) -> Model:
        others = F.one_hot(support.y, support.labels) == 0  # (N·K, N)

        def logits(x: torch.Tensor) -> torch.Tensor:
            distance = torch.cdist(x.flatten(1), support.x.flatten(1)) ** self.power
            return -self.scale * distance.unsqueeze(-1).masked_fill(others, torch.inf).amin(1)

        return logits
