"""Calibration: what is sure and right, what is sure and wrong, and the temperature between."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, softmax

from hpsearch.evaluation.calibration import calibration, temperature

Array = NDArray[Any]


def drawn(n: int, seed: int = 0) -> tuple[Array, Array]:
    """Return logits and the classes that were drawn from exactly their probabilities."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 5)) * 2
    chosen = softmax(logits, axis=1).cumsum(axis=1) < rng.random((n, 1))
    return logits, chosen.sum(axis=1)


def labelled(n: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(n, 4)) * 2
    return logits, (rng.random((n, 4)) < expit(logits)).astype(np.float32)


def test_the_error_is_the_mean_gap_of_confidence_and_right_answers() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.3, 0.7]])
    found = calibration(probabilities, np.array([0, 1, 1, 1]), bins=10)
    assert found.error == pytest.approx((2 * abs(0.5 - 0.9) + 2 * abs(1 - 0.7)) / 4)
    assert [(b.answers, b.right) for b in found.bins] == [(2, 1.0), (2, 0.5)]
    assert [round(b.confidence, 6) for b in found.bins] == [0.7, 0.9]
    assert found.bins[1].low <= 0.9 <= found.bins[1].high


@pytest.mark.parametrize("confidence", [0.0, 1.0])
def test_probabilities_of_0_and_1_stand_in_the_outer_bins(confidence: float) -> None:
    found = calibration(np.full((6, 3), confidence), np.full((6, 3), confidence))
    assert found.error == 0
    (only,) = found.bins
    assert only.low == pytest.approx(0 if confidence == 0 else 14 / 15)


def test_perfect_probabilities_have_the_error_that_chance_makes() -> None:
    for n in (100, 1000):
        found = [
            calibration(softmax(logits, axis=1), targets)
            for logits, targets in (drawn(n, seed) for seed in range(40))
        ]
        error = np.mean([f.error for f in found])
        assert error == pytest.approx(np.mean([f.by_chance for f in found]), rel=0.1)
    assert error < 0.04


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_the_temperature_undoes_what_made_a_network_too_sure(factor: float) -> None:
    logits, targets = drawn(20_000)
    assert temperature(logits * factor, targets) == pytest.approx(factor, rel=0.04)
    logits, targets = labelled(10_000)
    assert temperature(logits * factor, targets) == pytest.approx(factor, rel=0.04)


def test_a_temperature_fitted_on_test_mends_validation() -> None:
    (logits, targets), (others, sealed) = drawn(2000, 1), drawn(2000, 2)
    cooled = others * 3 / temperature(logits * 3, targets)
    before = calibration(softmax(others * 3, axis=1), sealed)
    after = calibration(softmax(cooled, axis=1), sealed)
    assert after.by_chance is not None
    assert before.error > 0.1 > 0.04 > after.error
    assert after.error < 1.5 * after.by_chance


def test_the_temperature_is_bounded_where_test_has_no_mistake_or_no_sense() -> None:
    logits = np.eye(3)[np.arange(30) % 3]
    assert temperature(logits, np.arange(30) % 3) == pytest.approx(0.05, rel=0.01)
    assert temperature(logits, (np.arange(30) + 1) % 3) == pytest.approx(20, rel=0.01)
    assert 0.05 <= temperature(logits.astype(np.float32) * 1e4, np.arange(30) % 3) <= 20
