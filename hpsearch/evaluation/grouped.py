"""Intervals where images come in groups: how far a score holds for new groups like these.

Images of one patient, speaker or place are predicted right or wrong together, so that what counts
is how many groups there are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hpsearch.evaluation.intervals import BATCH_VALUES, CONFIDENCE

FEWEST_GROUPS = 10  # below that no interval covers the truth as often as it says

# From weights `(B, N)`, how often each image counts in B samples, to the score of each `(B,)`.
Weighed = Callable[[NDArray[np.float64]], NDArray[np.float64]]
# A share is from 0 to 1; an error is from 0 on; what is explained is 1 less an error.
Scale = Literal["share", "error", "explained", "difference"]
Interval = tuple[float, float]


def group_count(groups: NDArray[np.int64] | None) -> int | None:
    """Return how many groups there are, None where images do not come in groups."""
    return None if groups is None else len(np.unique(groups))


def grouped_interval(
    score: Weighed, groups: NDArray[np.int64], scale: Scale, confidence: float = CONFIDENCE
) -> Interval | None:
    """Return an interval of a score of images in `groups` `(N,)`, None with fewer than 10 groups.

    The variance is the jackknife's that leaves out one group at a time, which errs on the safe side
    (R. M. Bell and D. F. McCaffrey, "Bias reduction in standard errors for linear regression with
    multi-stage samples", 2002). The quantile is Student's, with as many degrees of freedom as
    groups carry that variance: one group that went wrong tells little of how often groups do.
    A share has the exact binomial interval of as many independent images as would vary so much
    (E. L. Korn and B. I. Graubard, "Confidence intervals for proportions with small expected number
    of positive counts estimated from survey data", 1998); they are no fewer than the groups. Of
    errors, the logarithm is taken for normal, with half the degrees of freedom where it ends high:
    a few groups with large errors are what a sample of groups misses.

    Simulated, shares are covered 94 % or more for groups of any likeness and size, and at
    scores near 0 and 1; errors whose logarithms differ between groups by up to 1.5 (standard
    deviation), too. Differences of errors are where that is up to 1, but in 88 % at 1.5.
    Resampling groups did not: a percentile bootstrap draws nothing but what
    few groups have shown (`tests/benchmarks/grouped_studies.py`). None, too, of errors and
    differences that are the same whichever group is left out.
    """
    found = _jackknife(score, groups, scale)
    if found is None:
        return None
    if scale == "share":
        return _of_share(found, confidence)
    if found.variance == 0:
        return None
    deviation = float(np.sqrt(found.variance))
    low = found.scaled - deviation * _student(confidence, found.carriers)
    if scale == "difference":
        return low, 2 * found.scaled - low
    high = found.scaled + deviation * _student(confidence, max(1.0, found.carriers / 2))
    ends = float(np.exp(low)), float(np.exp(high))
    return ends if scale == "error" else (1 - ends[1], 1 - ends[0])


def _student(confidence: float, freedom: float) -> float:
    from scipy import stats  # half a second to import, and needed for groups alone

    return float(stats.t.ppf((1 + confidence) / 2, freedom))


@dataclass(frozen=True)
class _Jackknife:
    """What leaving out groups tells of a score."""

    whole: float
    scaled: float
    variance: float  # of the scaled score
    carriers: float  # groups that the variance rests on, at least 1
    images: int
    alike: float  # groups of equal size that would weigh the same


def _jackknife(score: Weighed, groups: NDArray[np.int64], scale: Scale) -> _Jackknife | None:
    _, of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    count, images = len(sizes), len(groups)
    if count < FEWEST_GROUPS:
        return None
    whole, without = float(score(np.ones((1, images)))[0]), []
    at_once = max(1, BATCH_VALUES // images)
    for start in range(0, count, at_once):
        left_out = np.arange(start, min(start + at_once, count))
        without.append(score((of != left_out[:, None]).astype(np.float64)))
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = _scaled(np.append(np.concatenate(without), whole), scale)
        moves = (scaled[:-1] - scaled[-1]) ** 2
    if not np.isfinite(moves).all():
        return None
    total = float(moves.sum())
    carriers = total**2 / float((moves**2).sum()) if total > 0 and (moves**2).sum() > 0 else 1.0
    variance = total * (count - 1) / count
    alike = images**2 / float((sizes.astype(np.float64) ** 2).sum())
    return _Jackknife(whole, float(scaled[-1]), variance, carriers, images, alike)


def _scaled(scores: NDArray[np.float64], scale: Scale) -> NDArray[np.float64]:
    if scale in ("share", "difference"):
        return scores
    errors = scores if scale == "error" else 1 - scores
    return np.asarray(np.log(errors))


def _of_share(found: _Jackknife, confidence: float) -> Interval:
    """Return the exact binomial interval with as many images as the variance is worth."""
    from scipy import stats

    share, normal = found.whole, stats.norm.ppf((1 + confidence) / 2)
    student = _student(confidence, found.carriers)
    worth = found.alike
    if found.variance > 0:
        worth = min(share * (1 - share) / found.variance, found.images)
        worth = max(min(worth, found.alike), worth * (normal / student) ** 2)
    correct, misses = worth * share, worth * (1 - share)
    low = stats.beta.ppf((1 - confidence) / 2, correct, misses + 1) if correct > 0 else 0.0
    high = stats.beta.ppf((1 + confidence) / 2, correct + 1, misses) if misses > 1e-9 else 1.0
    return float(low), float(high)
