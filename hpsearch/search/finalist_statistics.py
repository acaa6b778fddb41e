"""Which candidates cannot be distinguished from the best, and which cannot win any more.

A score of a configuration moves with the seed it was trained with, and with the images that happen
to stand in the test split. Both are taken into account; the images are the same for all candidates,
so what they have in common falls out of a difference. Where images come in groups, which are
right or wrong together, it is groups that happen to stand there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95  # that the best candidate is among those that are not distinguished
RACING_CONFIDENCE = 0.99  # from which on a candidate gets no further seed
RESAMPLES = 1000


def distinguished(
    scores: Sequence[Sequence[float]],
    image_variance: NDArray[np.float64],
    images: float,
    confidence: float = CONFIDENCE,
) -> NDArray[np.bool_]:
    """Return which candidates are worse than the one of the highest mean, beyond chance `(k,)`.

    `scores` holds the test scores of each candidate, one for each seed; higher is better.
    `image_variance` `(k, k)` is that of a difference between two means that the choice of `images`
    test images makes (`image_variance_of_correct`, or `differences` of resamples); of images in
    groups, `images` is how many groups there are (`alike`); of one alone nothing is distinguished.

    The rule: the variance of a difference is that between seeds, pooled over all candidates, plus
    that of images; a t-test with the degrees of freedom of F. E. Satterthwaite (1946), one-sided,
    at (1 - confidence) / (k - 1). The truly best candidate is distinguished from another one with a
    probability of 1 - confidence at most (S. S. Gupta, "On some multiple decision (selection and
    ranking) rules", 1965; C. E. Bonferroni for k - 1 comparisons). With one seed each, nothing is.

    Simulated, of 2 to 6 equal candidates one is distinguished in 1 to 3 %, not 5: what seeds do
    differently on each image counts in both variances, which errs on the side of a tie.
    """
    from scipy.special import stdtrit  # imported late: 10 MB in each worker, for finalists alone

    means = np.array([np.mean(of) for of in scores])
    seeds = np.array([len(of) for of in scores])
    best = int(means.argmax())
    freedom = int((seeds - 1).sum())
    if freedom == 0 or len(scores) == 1 or images <= 1:
        return np.zeros(len(scores), np.bool_)
    by_seed = seed_variance(scores) * (1 / seeds + 1 / seeds[best])
    by_image = image_variance[best]
    variance = by_seed + by_image
    with np.errstate(divide="ignore", invalid="ignore"):
        degrees = variance**2 / (by_seed**2 / freedom + by_image**2 / (images - 1))
        surprise = (means[best] - means) / np.sqrt(variance)
    limit = stdtrit(np.nan_to_num(degrees, nan=1.0), 1 - (1 - confidence) / (len(scores) - 1))
    apart: NDArray[np.bool_] = np.where(variance > 0, surprise > limit, means < means[best])
    apart[best] = False
    return apart


def out_of_the_race(
    scores: Sequence[Sequence[float]], image_variance: NDArray[np.float64], images: float
) -> NDArray[np.bool_]:
    """Return which candidates get no further seed: distinguished already, at 99 % `(k,)`.

    Of equal candidates one is out in less than 1 % of simulated contests. Never after a single
    seed, which does not tell how much seeds differ.
    """
    return distinguished(scores, image_variance, images, RACING_CONFIDENCE)


def seed_variance(scores: Sequence[Sequence[float]]) -> float:
    """Return the variance between seeds of one configuration, pooled over configurations.

    The same for all of them is the assumption; nan where none has two seeds.
    """
    squares = sum(float(np.var(of)) * len(of) for of in scores)
    freedom = sum(len(of) - 1 for of in scores)
    return squares / freedom if freedom else float("nan")


def image_variance_of_correct(
    correct: Sequence[NDArray[Any]], groups: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """Return the variance of differences that the choice of images makes `(k, k)`.

    `correct` holds `(seeds, images)` for each candidate: whether the training was right on an
    image, or any number of which its score is the mean. `groups` `(images,)` are numbers from 0 on.
    """
    means = np.stack([np.mean(of, axis=0, dtype=np.float64) for of in correct])
    if groups is None:
        return np.asarray(differences(np.cov(means)) / means.shape[1])
    sums = sums_of_groups(means - means.mean(axis=1, keepdims=True), groups)
    return differences(np.cov(sums) * sums.shape[1] / means.shape[1] ** 2)


def sums_of_groups(values: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the sums of each group `(k, groups)` of values `(k, images)`."""
    return np.stack([np.bincount(groups, one) for one in values])


def alike(groups: NDArray[np.int64]) -> float:
    """Return how many groups of one size tell as much as these, whose sizes differ.

    A. V. Carter and others, "Asymptotic behavior of a t-test robust to cluster heterogeneity",
    2017: few large groups among many small ones are few.
    """
    sizes = np.bincount(groups).astype(np.float64)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def differences(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the variance of each difference of two numbers `(k, k)`, from their covariance."""
    covariance = np.atleast_2d(covariance)
    spread = np.diag(covariance)
    return np.asarray(np.maximum(spread[:, None] + spread - 2 * covariance, 0))
