"""Probabilities mean what they say, on data for which the true probabilities are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metarun.predict.calibration import fit_temperature, probabilities


def drawn(items: int, ways: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels that are drawn with the probabilities of these logits."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (items, ways))
    gumbel = rng.gumbel(size=logits.shape)
    return logits, (logits + gumbel).argmax(1)


@pytest.mark.parametrize("scale", [0.01, 1.0, 300.0])
def test_a_known_scale_is_found_and_probabilities_are_calibrated(scale: float) -> None:
    logits, labels = drawn(20_000, 5)
    temperature = fit_temperature(scale * logits[:10_000], labels[:10_000])
    assert temperature == pytest.approx(scale, rel=0.05)
    shares = probabilities(scale * logits[10_000:], temperature)  # of other items
    confidence, right = shares.max(1), shares.argmax(1) == labels[10_000:]
    for low in np.arange(0.3, 1.0, 0.1):  # of the items with about p, a share of p is right
        some = (confidence >= low) & (confidence < low + 0.1)
        assert right[some].mean() == pytest.approx(confidence[some].mean(), abs=0.05)


@settings(max_examples=25)
@given(st.integers(0, 1000), st.integers(2, 30), st.integers(2, 6), st.floats(1e-3, 1e3))
def test_probabilities_do_not_depend_on_the_unit_of_the_scores(seed, items, ways, unit) -> None:
    scores, labels = drawn(items, ways, seed)
    of_one = probabilities(scores, fit_temperature(scores, labels))
    of_other = probabilities(unit * scores, fit_temperature(unit * scores, labels))
    np.testing.assert_allclose(of_one, of_other, atol=1e-6)


def test_a_few_right_items_do_not_make_others_certain() -> None:
    scores, labels = 1000 * np.eye(3), np.arange(3)
    shares = probabilities(scores, fit_temperature(scores, labels))
    np.testing.assert_allclose(shares.max(1), 4 / 5)  # (3 + 1) / (3 + 2)


def test_items_that_are_never_right_have_equal_probabilities() -> None:
    scores, labels = np.eye(3).repeat(20, 0), (np.arange(3).repeat(20) + 1) % 3
    shares = probabilities(scores, fit_temperature(scores, labels))
    np.testing.assert_allclose(shares, 1 / 3, atol=1e-3)
    assert fit_temperature(np.ones((4, 3)), np.zeros(4, int)) == 1.0
