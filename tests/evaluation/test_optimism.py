"""The winner's curse: what theory knows of it; how well it is told, `test_simulation` shows."""

from __future__ import annotations

import numpy as np
import pytest

from hpsearch.evaluation.selection_bias import (
    accuracy_optimism,
    expected_optimism,
    noise_of_correct,
)


def test_a_single_score_was_not_chosen_and_scores_without_noise_are_true() -> None:
    assert expected_optimism(np.array([0.9]), 0.01) == 0
    assert expected_optimism(np.array([0.9, 0.8]), 0.0) == 0


@pytest.mark.parametrize(("n", "expected"), [(2, 0.5642), (10, 1.5388), (100, 2.5076)])
def test_of_equal_scores_it_is_the_expected_maximum_of_normal_numbers(
    n: int, expected: float
) -> None:
    found = expected_optimism(np.full(n, 0.9), 0.01)
    assert found == pytest.approx(expected * 0.01, rel=0.001)


def test_a_winner_without_rivals_is_hardly_too_good() -> None:
    apart = np.array([0.95, 0.85, 0.84, 0.5])
    assert expected_optimism(apart, 0.005) < 0.0005
    assert expected_optimism(np.array([0.95, 0.85]), 0.0001) == 0


def test_it_grows_with_rivals_and_with_noise() -> None:
    rng = np.random.default_rng(0)
    scores = 0.9 + 0.01 * rng.normal(size=80)
    some, all_of_them = expected_optimism(scores[:10], 0.01), expected_optimism(scores, 0.01)
    assert 0 < some < all_of_them
    assert expected_optimism(scores, 0.004) < all_of_them


def test_losses_far_away_neither_matter_nor_break_it() -> None:
    near = np.linspace(0.9, 0.909, 10)
    far = np.concatenate([near, np.array([0.1, -500.0])])
    assert expected_optimism(far, 0.002) == pytest.approx(expected_optimism(near, 0.002))


def test_several_searches_are_told_of_at_once() -> None:
    scores = np.random.default_rng(0).normal(size=(4, 3, 20))
    noise = np.linspace(0.1, 1, 12).reshape(4, 3)
    found = expected_optimism(scores, noise)
    assert found.shape == (4, 3)
    assert found[2, 1] == expected_optimism(scores[2, 1], noise[2, 1])


def test_more_test_images_make_less_of_it() -> None:
    scores = 0.9 + 0.005 * np.random.default_rng(0).normal(size=30)
    few, many = (accuracy_optimism(scores, 0.002, images) for images in (200, 20_000))
    assert few > 2 * many > 0


def test_the_noise_of_answers_leaves_out_what_all_get_wrong_together() -> None:
    rng = np.random.default_rng(1)
    hard = rng.random(2000) < 0.4
    hits = ~(hard | (rng.random((4, 5, 2000)) < 0.02))
    noise = noise_of_correct(hits.mean(axis=2).tolist(), list(hits))
    assert noise == pytest.approx(np.sqrt(0.6 * 0.02 * 0.98 / 2000), rel=0.25)
