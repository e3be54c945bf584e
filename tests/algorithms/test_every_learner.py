"""What holds for every learner, the ones in `conf/algo` and those of one's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from metarun import testing
from metarun.testing import Make, build, episodes
from tests.algorithms.learners import SHIPPED, STATISTICS
from tests.conftest import OWN

test_ones_own = testing.of("nearest_item", config_dir=str(OWN))


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("batch_norm", STATISTICS)
@pytest.mark.parametrize("check", testing.CHECKS, ids=lambda check: check.__name__)
def test_shipped(check: Callable[[Make, str], None], batch_norm: str, name: str) -> None:
    check(partial(build, name), batch_norm)


def test_a_metric_learner_does_not_care_which_label_a_class_has() -> None:
    learner, e = build("protonet", "inductive"), episodes(seed=1)
    logits = learner.predict(e.support_x, e.support_y, e.query_x)
    new = torch.tensor([2, 0, 1])  # label 0 becomes 2, …
    relabelled = learner.predict(e.support_x, new[e.support_y], e.query_x)
    torch.testing.assert_close(relabelled[..., new], logits)


class Faulty(nn.Module):
    """A learner with a defect for each check to find."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.inner, self.fault = build("protonet", "inductive"), fault
        self.register_buffer("seen", torch.zeros((), dtype=torch.float64))

    def accumulate(self, e: object) -> dict[str, Tensor]:
        scores = self.inner.accumulate(e)
        if self.fault == "learns nothing":
            self.inner.zero_grad()
        return scores

    def predict(self, sx: Tensor, sy: Tensor, qx: Tensor) -> Tensor:
        logits = self.inner.predict(sx, sy, qx)
        if self.fault == "remembers":
            self.seen += 1
        if self.fault == "mixes tasks":
            logits = logits + logits.mean(0)
        if self.fault == "looks at other queries":
            logits = logits - logits.mean(1, keepdim=True)
        if self.fault == "looks at the order":
            logits = logits + sx[:, :1].flatten(1).sum(1)[:, None, None] * torch.arange(3)
        return logits


FAULTS = (
    "remembers",
    "mixes tasks",
    "looks at other queries",
    "looks at the order",
    "learns nothing",
)


@pytest.mark.parametrize(("check", "fault"), list(zip(testing.CHECKS, FAULTS, strict=True)))
def test_each_check_finds_its_defect(check: Callable[[Make, str], None], fault: str) -> None:
    with pytest.raises(AssertionError):
        check(lambda _: Faulty(fault), "inductive")
    check(lambda _: Faulty("none"), "inductive")
