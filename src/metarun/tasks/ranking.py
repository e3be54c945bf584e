"""Objective of ratings: how far a prediction is off, and how well it ranks the items."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from metarun.tasks.headline import Headline
from metarun.tasks.objectives import Objective

MAE = Headline("mae", higher_is_better=False, title="mean absolute error")
PLACES = (1, 3)  # of the ranking that count


def ndcg(outputs: Tensor, y: Tensor, places: int) -> Tensor:
    """Return the normalised discounted cumulative gain of a ranking by `outputs`, a scalar.

    Järvelin & Kekäläinen 2002, with the gain 2^y − 1 and the discount 1 / log₂(1 + place) (Lee et
    al. 2019, section 4.1). Items with equal outputs share the mean discount of their places, so
    constant outputs have the expected value of a random order.

    Args:
        outputs, y: (items) predicted and true ratings.
        places: number of places that count.
    """
    gain = (2**y - 1).clamp_min(0)
    discount = 1 / torch.arange(2, len(y) + 2, dtype=y.dtype, device=y.device).log2()
    discount[places:] = 0
    before = (outputs[None] > outputs[:, None]).sum(1)  # items that rank higher
    up_to = (outputs[None] >= outputs[:, None]).sum(1)
    total = F.pad(discount.cumsum(0), (1, 0))
    of_item = (total[up_to] - total[before]) / (up_to - before)
    return (gain * of_item).sum() / (gain.sort(descending=True).values * discount).sum()


def _scores(outputs: Tensor, y: Tensor) -> dict[str, Tensor]:
    ranking = {f"ndcg{k}": ndcg(outputs.flatten(), y.flatten(), k) for k in PLACES}
    return {"mae": F.l1_loss(outputs, y), **ranking}


RATINGS = Objective("ratings", MAE, F.mse_loss, _scores)
