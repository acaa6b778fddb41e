"""Intervals: where they are known they agree, and where they are not they cover the truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from hpsearch.evaluation.intervals import bootstrap_interval, wilson_interval

Array = NDArray[Any]


def accuracy(targets: Array, called: Array) -> Array:
    share: Array = (targets == called).mean(axis=1)
    return share


def macro_f1(targets: Array, called: Array) -> Array:
    of_classes = []
    for c in range(3):
        both = ((targets == c) & (called == c)).sum(axis=1)
        with np.errstate(invalid="ignore"):  # 0 of 0 where a resample misses a class
            of_classes.append(2 * both / ((targets == c).sum(axis=1) + (called == c).sum(axis=1)))
    mean: Array = np.mean(of_classes, axis=0)
    return mean


def absolute_error(targets: Array, predictions: Array) -> Array:
    mean: Array = np.abs(targets - predictions).mean(axis=(1, 2))
    return mean


def answers(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
    targets = rng.choice(3, n, p=[0.6, 0.3, 0.1])
    return targets, np.where(rng.random(n) < 0.85, targets, rng.integers(0, 3, n))


@pytest.mark.parametrize("images", [1, 9, 180, 7000])
def test_the_wilson_interval_is_that_of_scipy_for_any_number_of_hits(images: int) -> None:
    hits = np.unique(np.linspace(0, images, 20).astype(int))
    low, high = wilson_interval(hits, images)
    for i, of in enumerate(hits):
        known = binomtest(int(of), images).proportion_ci(0.95, method="wilson")
        assert (low[i], high[i]) == pytest.approx((known.low, known.high), abs=1e-12)


def test_the_bootstrap_of_an_accuracy_is_close_to_wilson() -> None:
    targets, called = answers(np.random.default_rng(0), 800)
    low, high = wilson_interval((targets == called).sum(), 800)
    found = bootstrap_interval(accuracy, targets, called)
    assert found == pytest.approx((float(low), float(high)), abs=0.004)


def test_the_same_seed_gives_the_same_interval_whatever_fits_into_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    columns = answers(np.random.default_rng(1), 150)
    first = bootstrap_interval(macro_f1, *columns)
    assert bootstrap_interval(macro_f1, *columns) == first
    assert bootstrap_interval(macro_f1, *columns, seed=1) != first
    monkeypatch.setattr("hpsearch.evaluation.intervals.BATCH_VALUES", 1)
    assert bootstrap_interval(macro_f1, *columns, resamples=100) is not None


@pytest.mark.parametrize("n", [60, 300])
def test_the_bootstrap_of_a_macro_f1_covers_the_truth(n: int) -> None:
    rng = np.random.default_rng(2)
    truth = float(macro_f1(*(column[None] for column in answers(rng, 1_000_000)))[0])
    covers = []
    for seed in range(150):
        found = bootstrap_interval(macro_f1, *answers(rng, n), resamples=400, seed=seed)
        covers.append(found is not None and found[0] <= truth <= found[1])
    assert np.mean(covers) > 0.9


def test_columns_with_several_numbers_for_an_image_stay_together() -> None:
    rng = np.random.default_rng(3)
    targets = rng.normal(size=(400, 2))
    predictions = targets + rng.normal(size=(400, 2))
    found = bootstrap_interval(absolute_error, targets, predictions)
    assert found is not None
    assert found[0] < np.sqrt(2 / np.pi) < found[1]
    assert found[1] - found[0] < 0.15


def test_more_images_than_are_corrected_for_give_an_interval_too() -> None:
    targets, called = answers(np.random.default_rng(4), 5000)
    low, high = wilson_interval((targets == called).sum(), 5000)
    found = bootstrap_interval(accuracy, targets, called, resamples=1000)
    assert found == pytest.approx((float(low), float(high)), abs=0.002)


def test_where_every_resample_scores_alike_there_is_no_interval() -> None:
    right = np.arange(50) % 3
    assert bootstrap_interval(accuracy, right, right) is None
