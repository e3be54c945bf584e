"""Drift over evaluation and the transductive gap: planted defects are found."""

from __future__ import annotations

import pytest
import torch

from metarun.checks.normalisation import drift, transductive_gap
from metarun.stats import interval
from metarun.testing import build
from metarun.training.evaluation import evaluate
from tests.algorithms.learners import SHIPPED
from tests.checks.planted import Faulty, in_double


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_learners_are_unchanged(name: str) -> None:
    learner = build(name, "transductive")
    finding = drift(learner, in_double(), 10)
    assert finding.status == "passed", finding


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("leaks into a buffer", "evaluation changed seen"),
        ("follows the batches", "running_mean"),
        ("trains in evaluation", "evaluation changed inner.backbone"),
        ("leaves a gradient", ".grad"),
        ("remembers beside its buffers", "changed the predictions for the first ones"),
    ],
)
def test_drift_is_found(fault: str, message: str) -> None:
    assert drift(Faulty("none"), in_double(), 10).status == "passed"
    finding = drift(Faulty(fault), in_double(), 10)
    assert finding.status == "failed"
    assert message in finding.text


def test_the_audit_works_on_a_copy() -> None:
    learner = Faulty("trains in evaluation")
    before = {k: v.clone() for k, v in learner.state_dict().items()}
    drift(learner, in_double(), 4)
    transductive_gap(learner, in_double(), 4)
    assert all(torch.equal(v, before[k]) for k, v in learner.state_dict().items())


@pytest.mark.parametrize("protocol", ["inductive", "transductive"])
def test_the_gap_is_a_paired_difference(protocol: str) -> None:
    learner = build("protonet", protocol)
    finding = transductive_gap(learner, in_double(), 20)
    assert finding.status == "measured"
    by_kind = {}
    for kind in ("inductive", "transductive"):
        by_kind[kind] = evaluate(build("protonet", kind), in_double(), 20)["accuracy"]
        assert finding.values[kind] == interval(by_kind[kind])
    expected = interval(by_kind["transductive"] - by_kind["inductive"])
    assert finding.values["gap"] == expected
    assert f"the protocol is {protocol}" in finding.text


@pytest.mark.parametrize("protocol", ["inductive", "transductive"])
def test_dependence_on_other_queries_fails(protocol: str) -> None:
    finding = transductive_gap(Faulty("looks at other queries", protocol), in_double(), 4)
    assert finding.status == "failed"
    assert "depends on other queries" in finding.text
    assert transductive_gap(Faulty("none", protocol), in_double(), 4).status == "measured"


def test_a_learner_with_one_normalisation_is_measured() -> None:
    finding = transductive_gap(build("protonet", "inductive"), in_double(), 4, supports_both=False)
    assert (finding.status, finding.values) == ("measured", {"batch_norm": "inductive"})
