"""What holds for every learner, the ones in `conf/algo` and those of one's own."""

from __future__ import annotations

import pytest
import torch

from tests.algorithms.learners import SHIPPED, STATISTICS, build
from tests.conftest import episodes

both = pytest.mark.parametrize("batch_norm", STATISTICS)
every = pytest.mark.parametrize("name", SHIPPED)


@every
@both
def test_evaluation_leaves_parameters_and_buffers_alone(name: str, batch_norm: str) -> None:
    learner, e = build(name, batch_norm), episodes(seed=1, dtype=torch.float64)
    before = {k: v.clone() for k, v in learner.state_dict().items()}
    first = learner.predict(e.support_x, e.support_y, e.query_x)
    assert first.shape == (2, 12, 3)
    assert not first.requires_grad
    again = learner.predict(e.support_x, e.support_y, e.query_x)
    assert torch.equal(first, again)
    assert all(torch.equal(v, before[k]) for k, v in learner.state_dict().items())
    assert all(p.grad is None or not p.grad.any() for p in learner.parameters())


@every
@both
def test_a_task_is_predicted_as_if_it_were_alone(name: str, batch_norm: str) -> None:
    """Trap: batch-norm statistics that carry information between tasks."""
    learner, e = build(name, batch_norm), episodes(tasks=3, seed=1, dtype=torch.float64)
    together = learner.predict(e.support_x, e.support_y, e.query_x)
    for t in range(3):
        one = slice(t, t + 1)
        alone = learner.predict(e.support_x[one], e.support_y[one], e.query_x[one])
        torch.testing.assert_close(alone[0], together[t])


@every
def test_an_inductive_prediction_depends_on_no_other_query(name: str) -> None:
    learner, e = build(name, "inductive"), episodes(seed=1, dtype=torch.float64)
    together = learner.predict(e.support_x, e.support_y, e.query_x)
    alone = learner.predict(e.support_x, e.support_y, e.query_x[:, 5:6])
    torch.testing.assert_close(alone, together[:, 5:6])


@every
def test_a_transductive_prediction_does(name: str) -> None:
    learner, e = build(name, "transductive"), episodes(seed=1, dtype=torch.float64)
    together = learner.predict(e.support_x, e.support_y, e.query_x)
    half = learner.predict(e.support_x, e.support_y, e.query_x[:, :6])
    assert not torch.allclose(half, together[:, :6])


@every
@both
def test_the_order_of_support_and_queries_does_not_matter(name: str, batch_norm: str) -> None:
    learner, e = build(name, batch_norm), episodes(seed=1, dtype=torch.float64)
    logits = learner.predict(e.support_x, e.support_y, e.query_x)
    s, q = torch.randperm(6), torch.randperm(12)
    shuffled = learner.predict(e.support_x[:, s], e.support_y[:, s], e.query_x[:, q])
    torch.testing.assert_close(shuffled, logits[:, q])


def test_a_metric_learner_does_not_care_which_label_a_class_has() -> None:
    learner, e = build("protonet", "inductive"), episodes(seed=1, dtype=torch.float64)
    logits = learner.predict(e.support_x, e.support_y, e.query_x)
    new = torch.tensor([2, 0, 1])  # label 0 becomes 2, …
    relabelled = learner.predict(e.support_x, new[e.support_y], e.query_x)
    torch.testing.assert_close(relabelled[..., new], logits)


@every
@both
def test_a_few_steps_on_one_batch_of_tasks_lower_its_loss(name: str, batch_norm: str) -> None:
    learner, e = build(name, batch_norm), episodes(dtype=torch.float64)
    optimizer = torch.optim.Adam(learner.parameters(), 1e-2)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        losses.append(learner.accumulate(e)["loss"].mean().item())
        optimizer.step()
    assert losses[-1] < 0.7 * losses[0]
