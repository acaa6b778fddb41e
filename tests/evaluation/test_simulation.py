"""Studies with a known truth: intervals cover it, and the optimism told is what there was."""

from __future__ import annotations

import numpy as np
import pytest
from simulated import (
    Studies,
    Truths,
    equal,
    improving,
    narrow,
    of_two_kinds,
    on_a_plateau,
    pictures,
    studies,
    tailed,
)

from hpsearch.evaluation.intervals import wilson_interval
from hpsearch.evaluation.selection_bias import (
    accuracy_optimism,
    expected_optimism,
    noise_of_correct,
)
from hpsearch.search.finalist_statistics import (
    distinguished,
    image_variance_of_correct,
    out_of_the_race,
    seed_variance,
)

KINDS = (tailed, improving, equal, of_two_kinds, on_a_plateau, narrow)
IMAGES = 1000


def covered(of: Studies, scores: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    low, high = wilson_interval(np.round(scores * IMAGES), IMAGES)
    return float(((low <= of.final_truth) & (of.final_truth <= high)).mean())


@pytest.mark.parametrize("truths", KINDS)
def test_the_validation_interval_covers_the_truth_and_that_of_the_best_search_value_does_not(
    truths: Truths,
) -> None:
    of = studies(truths)
    assert len(of.best) == 2000
    assert covered(of, of.validation) >= 0.94
    assert covered(of, of.best) < 0.75


@pytest.mark.parametrize("truths", KINDS)
@pytest.mark.parametrize(("configs", "count"), [(10, 800), (100, 200)])
def test_the_optimism_that_is_told_is_the_optimism_there_was(
    truths: Truths, configs: int, count: int
) -> None:
    of = studies(truths, count, configs)
    there_was = float((of.best - of.truth).mean())
    noise = np.sqrt(0.003**2 + of.truth * (1 - of.truth) / IMAGES)
    told = expected_optimism(of.scores, noise).mean()
    assert there_was > 0.005
    assert abs(told - there_was) < 0.0025
    assert abs(told / there_was - 1) < 0.15


def test_where_only_accuracies_are_known_it_is_told_as_well() -> None:
    of = studies(on_a_plateau, 300)
    told = np.mean([accuracy_optimism(scores, 0.003, IMAGES) for scores in of.scores])
    assert abs(told / float((of.best - of.truth).mean()) - 1) < 0.15


@pytest.mark.parametrize("truths", KINDS)
def test_the_noise_may_be_taken_from_nine_trainings_of_three_finalists(truths: Truths) -> None:
    of = studies(truths, 300)
    noise = np.array([np.sqrt(seed_variance(again)) for again in of.again])
    told = float(expected_optimism(of.scores, noise).mean())
    assert abs(told / float((of.best - of.truth).mean()) - 1) < 0.15


def test_luck_with_images_that_all_configurations_share_is_no_optimism() -> None:
    rng = np.random.default_rng(0)
    gaps, told, bound = [], [], []
    for worth in tailed(rng, (250, 30)):
        split = pictures(rng, worth, IMAGES)
        scores = split.hits(np.arange(30), 1).mean(axis=2)[:, 0]
        finalists = np.argsort(-scores)[:3]
        hits = split.hits(finalists, 3)
        noise = noise_of_correct(hits.mean(axis=2).tolist(), list(hits))
        gaps.append(scores.max() - worth[finalists[0]])
        told.append(float(expected_optimism(scores, noise)))
        bound.append(accuracy_optimism(scores, 0.003, IMAGES))
    assert np.mean(gaps) > 0.008
    assert abs(np.mean(told) - np.mean(gaps)) < 0.0015
    assert np.mean(bound) > np.mean(gaps) + 0.002, "images taken for each one's own luck: too much"


def contest(
    worth: tuple[float, ...], count: int, images: int = 500, seeds: int = 3
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return who was distinguished, who had been out after two seeds, and who won `(count, k)`."""
    rng = np.random.default_rng(1)
    apart, out, won = [], [], []
    candidates = np.arange(len(worth))
    for _ in range(count):
        hits = pictures(rng, np.array(worth), images).hits(candidates, seeds)
        early, scores = hits[:, :2], hits.mean(axis=2)
        variances = [image_variance_of_correct(list(h)) for h in (hits, early)]
        apart.append(distinguished(scores.tolist(), variances[0], images))
        out.append(out_of_the_race(early.mean(axis=2).tolist(), variances[1], images))
        won.append(candidates == scores.mean(axis=1).argmax())
    return np.array(apart), np.array(out), np.array(won)


@pytest.mark.parametrize("k", [2, 3, 6])
def test_equal_candidates_are_told_apart_in_no_more_than_the_stated_share(k: int) -> None:
    apart, out, _ = contest((0.9,) * k, 600)
    assert apart[:, 0].mean() <= 0.05
    assert out[:, 0].mean() <= 0.01


def test_a_candidate_that_is_clearly_worse_is_told_apart_and_a_little_worse_one_is_not() -> None:
    apart, out, won = contest((0.9, 0.893, 0.84), 300)
    assert apart[:, 0].mean() <= 0.05
    assert apart[:, 1].mean() < 0.3
    assert apart[:, 2].mean() > 0.9
    assert out[:, 2].mean() > 0.5, "and mostly needs no third seed"
    assert (out & (won | ~apart)).mean() < 0.01, "out of the race were those that could not win"


def test_more_images_and_seeds_tell_more_apart() -> None:
    few = contest((0.9, 0.88), 150)[0][:, 1].mean()
    more = contest((0.9, 0.88), 150, images=3000, seeds=5)[0][:, 1].mean()
    assert few < 0.6 < 0.95 < more


@pytest.mark.parametrize("worth", [0.005, 0.02, 0.98, 0.99, 0.995, 0.999])
@pytest.mark.parametrize("configs", [2, 10, 100])
def test_near_0_and_1_the_optimism_of_accuracies_is_an_upper_bound(
    worth: float, configs: int
) -> None:
    scores = np.random.default_rng(0).binomial(180, worth, (200, configs)) / 180
    gaps = scores.max(axis=1) - worth
    told = [accuracy_optimism(one, 0.0, 180) for one in scores]
    assert np.mean(told) > gaps.mean() - 2 * gaps.std() / np.sqrt(200)


def test_a_best_accuracy_of_1_among_equals_is_not_told_to_be_without_luck() -> None:
    scores = np.random.default_rng(1).binomial(180, 0.98, (100, 100)) / 180
    told = np.mean([accuracy_optimism(one, 0.0, 180) for one in scores if one.max() == 1])
    assert 0.018 < told < 0.03, "0.0196 is right"
    assert accuracy_optimism(np.array([1.0]), 0.0, 180) == 0, "one trial was not chosen"
