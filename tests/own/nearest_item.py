"""A learner of one's own, outside the package."""

import torch
import torch.nn.functional as F
from pydantic import PositiveFloat
from torch import Tensor, nn

from metarun.algorithms import Algorithm, Task
from metarun.tasks.objectives import score
from metarun.tasks.sampler import Episodes


class NearestItem(Algorithm):
    """1-nearest neighbour on raw inputs; a scale is learned so that there is something to learn."""

    def __init__(self, backbone: nn.Module, task: Task, *, power: PositiveFloat = 2.0) -> None:
        super().__init__()
        self.scale, self.power = nn.Parameter(torch.ones(())), power

    def accumulate(self, episodes: Episodes) -> dict[str, Tensor]:
        logits = self._logits(episodes.support_x, episodes.support_y, episodes.query_x)
        F.cross_entropy(logits.flatten(0, 1), episodes.query_y.flatten()).backward()
        return score(logits, episodes.query_y)

    @torch.no_grad()
    def predict(self, support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        return self._logits(support_x, support_y, query_x)

    def _logits(self, support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        distance = torch.cdist(query_x.flatten(2), support_x.flatten(2)) ** self.power
        ways = int(support_y.max()) + 1
        own = F.one_hot(support_y, ways).bool().unsqueeze(1)  # (T, 1, N·K, N)
        return -self.scale * distance.unsqueeze(-1).masked_fill(~own, torch.inf).amin(2)
