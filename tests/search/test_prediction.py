"""Predictions of what an epoch takes, mended by trials."""

from __future__ import annotations

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpsearch.search.prediction import known_from, mended


def test_without_trials_a_prediction_stands() -> None:
    assert mended(10.0, []) == 10.0


def test_a_machine_that_is_half_as_fast_as_thought_is_found_out() -> None:
    known = [(4.0 + i, 2 * (4.0 + i)) for i in range(10)]
    assert mended(8.0, known) == pytest.approx(16.0, rel=0.1)
    assert mended(8.0, known[:1]) == pytest.approx(13.0, rel=0.2), "one trial is half believed"


def test_trials_of_about_the_same_cost_count_most() -> None:
    known = [(1.0, 1.0)] * 5 + [(100.0, 200.0)] * 5  # large ones leave the cache
    assert mended(1.0, known) == pytest.approx(1.0, rel=0.02)
    assert mended(100.0, known) == pytest.approx(190.0, rel=0.05)
    assert 10.0 < mended(10.0, known) < 20.0


def ended(**attrs: object) -> FrozenTrial:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return create_trial(state=TrialState.PRUNED, user_attrs=dict(attrs))


def test_trials_of_the_same_device_that_trained_are_known() -> None:
    epochs = [{"epoch": n} for n in (1, 2)]
    trials = [
        ended(predicted_s=3.0, curve=epochs, duration_s=8.0, device="cpu"),
        ended(predicted_s=3.0, curve=epochs, duration_s=1.0, device="NVIDIA H200"),
        ended(predicted_s=3.0, device="cpu"),
        ended(curve=epochs, duration_s=8.0, device="cpu"),
    ]
    assert known_from(trials, "cpu") == [(3.0, 4.0)]
