"""Intervals around scores: what is known of a score on all images from the ones there are."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
RESAMPLES = 2000
CORRECTED = 2000  # images; of more, the correction is small, and costs a score without each
SCORED = 0.9  # of the resamples, at least
BATCH_VALUES = 1 << 22  # of resampled values at a time

# From columns with resamples in front, `(R, N, ...)` each, to the score of every resample `(R,)`.
Metric = Callable[..., NDArray[np.float64]]


def wilson_interval(
    correct: ArrayLike, images: ArrayLike, confidence: float = CONFIDENCE
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lower and upper end of the Wilson score interval of `correct` in `images`.

    Arrays of any shape give arrays of that shape. E. B. Wilson, "Probable inference, the law of
    succession, and statistical inference", 1927.
    """
    from scipy.special import ndtri  # imported late, for a command that has no interval to show

    n = np.asarray(images, np.float64)
    share = np.asarray(correct, np.float64) / n
    z = ndtri((1 + confidence) / 2)
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return np.where(share == 0, 0.0, middle - half), np.where(share == 1, 1.0, middle + half)


def bootstrap_interval(
    metric: Metric,
    *columns: NDArray[Any],
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Return an interval of any metric of columns `(N, ...)`, such as targets and what was called.

    Images are drawn again with replacement, the columns of an image together. The ends are those
    of the resamples' scores, for up to 2,000 images bias corrected and accelerated (B. Efron,
    "Better bootstrap confidence intervals", 1987). Resamples without a score (nan), such as those
    that miss a class, are left out. None where every resample scores alike, or many have none:
    then the images do not tell how sure the score is.
    """
    from scipy import stats  # half a second to import

    (n,) = {len(column) for column in columns}
    values = n * max(int(np.prod(column.shape[1:])) for column in columns)

    def of_rows(rows: NDArray[np.int64], axis: int = -1) -> NDArray[np.float64]:
        rows = np.moveaxis(np.atleast_2d(rows), axis, -1)
        flat = rows.reshape(-1, rows.shape[-1])
        return metric(*(column[flat] for column in columns)).reshape(rows.shape[:-1])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        found = stats.bootstrap(
            (np.arange(n),),
            of_rows,
            n_resamples=resamples,
            batch=max(1, BATCH_VALUES // values),
            vectorized=True,
            confidence_level=confidence,
            method="BCa" if n <= CORRECTED else "percentile",
            rng=np.random.default_rng(seed),
        )
    ends = np.array([found.confidence_interval.low, found.confidence_interval.high]).reshape(2)
    if not np.isfinite(ends).all():
        scored = found.bootstrap_distribution[np.isfinite(found.bootstrap_distribution)]
        if len(scored) < SCORED * resamples:
            return None
        ends = np.quantile(scored, [(1 - confidence) / 2, (1 + confidence) / 2])
    low, high = (float(end) for end in ends)
    return (low, high) if low < high else None
