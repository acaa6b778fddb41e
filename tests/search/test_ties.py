"""Ties: what cannot be distinguished, at the edges; how often, `test_simulation` shows."""

from __future__ import annotations

import numpy as np
import pytest

from hpsearch.search.finalist_statistics import (
    differences,
    distinguished,
    image_variance_of_correct,
    out_of_the_race,
    seed_variance,
)

NO_LUCK = np.zeros((3, 3))


def test_a_large_gap_is_told_and_a_small_one_is_a_tie() -> None:
    scores = [[0.900, 0.902, 0.901], [0.899, 0.901, 0.903], [0.85, 0.852, 0.851]]
    assert distinguished(scores, NO_LUCK, 1000).tolist() == [False, False, True]
    assert out_of_the_race(scores, NO_LUCK, 1000).tolist() == [False, False, True]


def test_few_images_make_a_tie_of_what_seeds_alone_would_tell_apart() -> None:
    scores = [[0.90, 0.901], [0.88, 0.881], [0.80, 0.801]]
    assert distinguished(scores, NO_LUCK, 100).tolist() == [False, True, True]
    luck = 0.02**2 * (1 - np.eye(3))
    assert distinguished(scores, luck, 100).tolist() == [False, False, True]


def test_a_gap_may_be_told_and_yet_be_too_small_to_end_the_race() -> None:
    scores = [[0.90, 0.902, 0.898], [0.894, 0.896, 0.892], [0.90, 0.902, 0.898]]
    assert distinguished(scores, NO_LUCK, 1000)[1]
    assert not out_of_the_race(scores, NO_LUCK, 1000)[1]


def test_after_one_seed_each_nothing_is_told_apart() -> None:
    assert not distinguished([[0.9], [0.2], [0.1]], NO_LUCK, 1000).any()


def test_candidates_may_have_different_numbers_of_seeds() -> None:
    scores = [[0.9, 0.902, 0.901], [0.5, 0.502], [0.9]]
    assert distinguished(scores, NO_LUCK, 1000).tolist() == [False, True, False]


def test_without_any_noise_a_difference_is_a_difference() -> None:
    assert distinguished([[0.9, 0.9], [0.8, 0.8], [0.9, 0.9]], NO_LUCK, 10).tolist() == [
        False,
        True,
        False,
    ]


def test_one_candidate_alone_is_the_best() -> None:
    assert distinguished([[0.5, 0.6]], np.zeros((1, 1)), 10).tolist() == [False]


def test_the_variance_between_seeds_is_pooled_around_each_mean() -> None:
    assert seed_variance([[0.1, 0.3], [0.8, 0.8, 0.8]]) == pytest.approx(0.02 / 3)
    assert np.isnan(seed_variance([[0.1], [0.8]]))


def test_images_that_all_find_hard_do_not_count_and_both_ways_to_see_that_agree() -> None:
    rng = np.random.default_rng(0)
    n = 600
    hard = rng.random(n) < 0.3
    own = rng.random((3, 2, n)) < 0.05
    own[1] = own[0]
    hits = ~(hard | own)
    variance = image_variance_of_correct(list(hits))
    assert variance[0, 1] == variance[2, 2] == 0
    assert variance[0, 2] < 0.3**2 / n, "far below the variance of two independent accuracies"
    rows = rng.integers(n, size=(1000, n))
    resampled = np.stack([candidate[:, rows].mean(axis=(0, 2)) for candidate in hits])
    assert differences(np.cov(resampled)) == pytest.approx(variance, rel=0.2, abs=1e-12)
