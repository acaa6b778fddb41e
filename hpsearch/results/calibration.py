"""Whether probabilities mean what they say, and the one number that mends most of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_expit, log_softmax

BINS = 15  # of equal width, as in the paper below
BY_CHANCE_DRAWS = 200
COLDEST, HOTTEST = 0.05, 20.0


@dataclass(frozen=True)
class Bin:
    """The answers given with a confidence above `low` and up to `high`, and how many were right."""

    low: float
    high: float
    answers: int
    confidence: float
    right: float


@dataclass(frozen=True)
class Calibration:
    """The expected calibration error, and what it would be of perfect probabilities by chance.

    Few images make an error of any network: only what is clearly above `by_chance` is one.
    """

    error: float
    by_chance: float
    bins: tuple[Bin, ...]


def calibration(
    probabilities: NDArray[Any], targets: NDArray[Any], bins: int = BINS, seed: int = 0
) -> Calibration:
    """Return how far confidence and the share of right answers are apart, weighted by answers.

    `probabilities` are `(N, outputs)`; `targets` class numbers `(N,)`, of which the likeliest is
    the answer, or 0 and 1 for each label `(N, outputs)`, of which each probability is one. Bins of
    no answers are left out. C. Guo and others, "On calibration of modern neural networks", 2017;
    `by_chance` draws answers from the probabilities themselves, as in J. Vaicenavicius and others,
    "Evaluating model calibration in classification", 2019.
    """
    if targets.ndim == 1:
        confidence = probabilities.max(axis=1).astype(np.float64)
        right = probabilities.argmax(axis=1) == targets
    else:
        confidence = probabilities.reshape(-1).astype(np.float64)
        right = targets.reshape(-1) > 0.5
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    sure = np.bincount(place, confidence, bins)
    hits = np.bincount(place, right, bins)
    rng = np.random.default_rng(seed)
    chance = [
        np.abs(np.bincount(place, rng.random(len(place)) < confidence, bins) - sure).sum()
        for _ in range(BY_CHANCE_DRAWS)
    ]
    return Calibration(
        error=float(np.abs(hits - sure).sum() / len(place)),
        by_chance=float(np.mean(chance) / len(place)),
        bins=tuple(
            Bin(i / bins, (i + 1) / bins, int(n), float(sure[i] / n), float(hits[i] / n))
            for i, n in enumerate(counts)
            if n
        ),
    )


def temperature(logits: NDArray[Any], targets: NDArray[Any]) -> float:
    """Return the number to divide logits `(N, outputs)` by, so that their loss is the lowest.

    Above 1 it makes a network less sure; which answer is the likeliest never changes. Fitted on
    **test**, for validation to judge. `targets` as for `calibration`. Between 0.05 and 20: of a
    test split without a mistake, the lowest loss is at 0. C. Guo and others, 2017.
    """
    scores = logits.astype(np.float64)

    def loss(log_temperature: float) -> float:
        scaled = scores / np.exp(log_temperature)
        if targets.ndim == 1:
            return float(-log_softmax(scaled, axis=1)[np.arange(len(targets)), targets].mean())
        return float(-log_expit(np.where(targets > 0.5, scaled, -scaled)).mean())

    # Convex in one over the temperature, so that there is one valley; its logarithm keeps both ends
    # as near.
    found = minimize_scalar(loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded")
    return float(np.exp(found.x))
