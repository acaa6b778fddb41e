"""The winner's curse in numbers: by how much the best of many noisy scores is too good."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpsearch.search.finalist_statistics import (
    CONFIDENCE,
    image_variance_of_correct,
    seed_variance,
    sums_of_groups,
)

REACH = 10  # times the noise: a score further below the best was no rival of it
PLACES = 60  # of the mixture that the scores are drawn from
STEPS = 100  # of expectation and maximisation
GRID = 250  # points of the integral
ROUNDING = 1e-12  # of sums of squares


def expected_optimism(scores: NDArray[np.float64], noise: ArrayLike) -> NDArray[np.float64]:
    """Return how much the best of some scores is expected to lie above what it stands for.

    `scores` are `(n,)` of one search, or `(..., n)` of several, higher is better; `noise` is the
    standard deviation of a score around the truth of its configuration (`noise_of_correct`).

    For independent normal noise the gap is, exactly and whatever the truths are, the noise's
    variance times the density with which the two best are equal (C. M. Stein's identity, 1981);
    for scores drawn from a density f with distribution F that is
    noise ** 2 * n * (n - 1) * integral of f ** 2 * F ** (n - 2). Here f is the likeliest mixture of
    normal densities of that width (J. Kiefer and J. Wolfowitz, 1956; N. Laird, 1978), so that no
    shape of the truths has to be assumed. Searches have a tail of bad configurations: of 60 scores,
    shrinking to their mean finds an eighth to a quarter of the gap. B. Efron, "Tweedie's formula
    and selection bias", 2011, is the larger picture.
    """
    n = scores.shape[-1]
    flat = scores.reshape(-1, n)
    width = np.broadcast_to(np.asarray(noise, np.float64), scores.shape[:-1]).reshape(-1)
    found = [_optimism(one, sd) for one, sd in zip(flat, width, strict=True)]
    return np.array(found).reshape(scores.shape[:-1])


def _optimism(scores: NDArray[np.float64], noise: float) -> float:
    from scipy.special import ndtr  # imported late, for a command that shows no optimism

    scores = scores[scores >= scores.max() - REACH * noise]
    n = len(scores)
    if n < 2 or noise == 0:
        return 0.0
    places, weights = _mixture(scores, noise)
    at = np.linspace(places[0] - 5 * noise, places[-1] + 5 * noise, GRID)
    apart = (at[:, None] - places) / noise
    density = np.exp(-0.5 * apart**2) @ weights / (np.sqrt(2 * np.pi) * noise)
    below = ndtr(apart) @ weights
    return float(noise**2 * n * (n - 1) * np.trapezoid(density**2 * below ** (n - 2), at))


def _mixture(
    scores: NDArray[np.float64], noise: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return places and weights of the normal densities that make these scores the likeliest."""
    places = np.linspace(scores.min(), scores.max(), PLACES)
    apart = (scores[:, None] - places) / noise
    likelihood = np.exp(-0.5 * apart**2)
    weights = np.full(PLACES, 1 / PLACES)
    for _ in range(STEPS):
        weights = weights * ((1 / (likelihood @ weights)) @ likelihood) / len(scores)
    return places, weights


def accuracy_optimism(scores: NDArray[np.float64], seed_sd: float, images: float) -> float:
    """Return the expected optimism of the best of some accuracies `(n,)` on `images` test images.

    For where nothing but scores is known. Luck with images is taken for each configuration's own,
    though much of it is shared by all, and does not make a winner: so it is rather too much than
    too little. The noise is that of the mean of the best scores that may all stand for one
    accuracy, for the best one alone is too good to tell: at 1 it would have none. Where all may,
    configurations of one worth are the worst case, and what their best one has above their mean is
    luck. An upper bound near 0 and 1 (`test_simulation`).
    """
    mean, alike = _best_alike(scores, seed_sd, images)
    noise = np.sqrt(seed_sd**2 + mean * (1 - mean) / images)
    optimism = float(expected_optimism(scores, noise))
    return max(optimism, float(scores.max()) - mean) if alike == len(scores) else optimism


def _best_alike(scores: NDArray[np.float64], seed_sd: float, images: float) -> tuple[float, int]:
    """Return the mean of the best scores that may stand for one accuracy, and how many they are.

    By the chi-square test of homogeneity at 95 %.
    """
    from scipy.special import chdtri

    ranked = np.sort(scores)[::-1]
    counts = np.arange(1, len(ranked) + 1)
    means = ranked.cumsum() / counts
    squares = np.maximum((ranked**2).cumsum() - counts * means**2, 0)
    variance = seed_sd**2 + np.clip(means * (1 - means), 0, None) / images
    limits = chdtri(np.maximum(counts - 1, 1), 1 - CONFIDENCE)
    alike = int(counts[squares <= limits * variance + ROUNDING].max())
    return float(np.clip(means[alike - 1], 0, 1)), alike


def noise_of_correct(
    scores: Sequence[Sequence[float]],
    correct: Sequence[NDArray[Any]],
    groups: NDArray[np.int64] | None = None,
) -> float:
    """Return the noise of one training's score that it does not share with other configurations.

    `scores` are those of each candidate, one for each seed, and `correct` its answers
    `(seeds, images)`, as for `image_variance_of_correct`. What two seeds of a candidate do
    differently from image to image is part of the variance between seeds, and is not counted again.
    Needs two candidates, and two seeds of one of them. `groups` `(images,)` are numbers from 0 on,
    where images come in such.
    """
    k = len(correct)
    between = image_variance_of_correct(correct, groups).sum() / (k * (k - 1)) / 2
    within = np.mean([_seeds_by_image(of, groups) for of in correct])
    return float(np.sqrt(seed_variance(scores) + max(between - within, 0)))


def _seeds_by_image(correct: NDArray[Any], groups: NDArray[np.int64] | None) -> float:
    """Return the variance of a candidate's mean by what its seeds do differently on each image."""
    seeds, n = correct.shape
    if seeds == 1:
        return 0.0
    around = np.asarray(correct - correct.mean(axis=1, keepdims=True, dtype=np.float64))
    if groups is not None:
        around = sums_of_groups(around, groups)
    return float(np.var(around, axis=0, ddof=1).sum() / (n * n * seeds))
