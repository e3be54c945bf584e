import torch
import torch.nn.functional as F
from pydantic import PositiveFloat
from torch import nn

import metarun


class Ridge(metarun.Learner):
    """Ridge regression from embeddings to labels (R2-D2; Bertinetto et al. 2019)."""

    def __init__(
        self, backbone: nn.Module, spec: metarun.Spec, *, penalty: PositiveFloat = 1.0
    ) -> None:
        super().__init__()
        self.backbone, self.penalty = backbone, penalty
        self.scale = nn.Parameter(torch.tensor(5.0))

    def adapt(self, support: metarun.Examples) -> metarun.Model:
        z = self.backbone(support.x)  # (items, features)
        y = F.one_hot(support.y, support.labels).to(z.dtype)  # (items, labels)
        gram = z @ z.mT + self.penalty * torch.eye(len(z), dtype=z.dtype, device=z.device)
        weights = z.mT @ torch.linalg.solve(gram, y)  # (features, labels)
        return lambda x: self.scale * (self.backbone(x) @ weights)
