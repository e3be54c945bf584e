"""Logistic regression on the features of each support."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import PositiveFloat
from torch import Tensor, nn

from metarun.algorithms import BatchNormKind
from metarun.algorithms.classifier import LinearClassifier
from metarun.tasks.task import Examples, Model, Spec

STEPS = 1000  # of L-BFGS, which needs fewer


class LinearProbe(LinearClassifier):
    """A classifier of all meta-train classes; then logistic regression on each support.

    With normalised features, this is the base model of RFS (Tian et al. 2020, "Rethinking Few-Shot
    Image Classification: a Good Embedding Is All You Need?"). With a frozen backbone nothing is
    trained. The regression is scikit-learn's, with an L2 penalty.

    Args:
        backbone: maps (B, *shape) to (B, features).
        spec: sets the number of classes of the training head.
        c: inverse strength of the penalty (scikit-learn's `C`).
        normalise: whether features are divided by their Euclidean norm.
        batch_norm: `inductive`: running averages in evaluation; `transductive`: the queries by the
            statistics of the query batch, the support by its own.

    Raises:
        Refused: the data has no classes.
    """

    exportable = False  # the head is fitted to each support

    def __init__(
        self,
        backbone: nn.Module,
        spec: Spec,
        *,
        c: PositiveFloat = 1.0,
        normalise: bool = True,
        batch_norm: BatchNormKind = "inductive",
    ) -> None:
        super().__init__(backbone, spec, "linear_probe", batch_norm)
        self.c, self.normalise = c, normalise

    def adapt(self, support: Examples) -> Model:
        from sklearn.linear_model import LogisticRegression  # imported late: it takes a second

        z = self._features(support.x).detach()
        regression = LogisticRegression(C=self.c, max_iter=STEPS)
        regression.fit(z.cpu().numpy(), support.y.cpu().numpy())
        weight, bias = (
            torch.as_tensor(values).to(z) for values in (regression.coef_, regression.intercept_)
        )
        if len(weight) == 1:  # of two classes: the log-odds of the second one
            weight, bias = (torch.cat([torch.zeros_like(v), v]) for v in (weight, bias))
        return lambda x: self._features(x) @ weight.mT + bias

    def _features(self, x: Tensor) -> Tensor:
        z = self.embed(x)
        return F.normalize(z, dim=-1) if self.normalise else z
