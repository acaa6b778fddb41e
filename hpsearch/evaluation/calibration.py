"""Whether probabilities mean what they say, and the one number that mends most of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpsearch.evaluation.grouped import FEWEST_GROUPS

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

    Few images make an error of any network: only what is clearly above `by_chance` is one. None
    where images come in fewer than 10 groups, which do not tell.
    """

    error: float
    by_chance: float | None
    bins: tuple[Bin, ...]


def calibration(
    probabilities: NDArray[Any],
    targets: NDArray[Any],
    bins: int = BINS,
    seed: int = 0,
    groups: NDArray[np.int64] | None = None,
) -> Calibration:
    """Return how far confidence and the share of right answers are apart, weighted by answers.

    `probabilities` are `(N, outputs)`; `targets` class numbers `(N,)`, of which the likeliest is
    the answer, or 0 and 1 for each label `(N, outputs)`, of which each probability is one. Bins of
    no answers are left out. C. Guo and others, "On calibration of modern neural networks", 2017;
    `by_chance` draws answers from the probabilities themselves, as in J. Vaicenavicius and others,
    "Evaluating model calibration in classification", 2019. Answers of one of the `groups` `(N,)`
    are right or wrong together, and so is their chance drawn (`_by_chance_of_groups`).
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
    correct = np.bincount(place, right, bins)
    rng = np.random.default_rng(seed)
    chance = [
        np.abs(np.bincount(place, rng.random(len(place)) < confidence, bins) - sure).sum()
        for _ in range(BY_CHANCE_DRAWS)
    ]
    by_chance: float | None = float(np.mean(chance) / len(place))
    if groups is not None:
        answers = np.repeat(groups, len(place) // len(groups))
        together = _by_chance_of_groups(right - confidence, place, answers, bins, rng)
        by_chance = None if together is None else max(by_chance or 0.0, together)
    return Calibration(
        error=float(np.abs(correct - sure).sum() / len(place)),
        by_chance=by_chance,
        bins=tuple(
            Bin(i / bins, (i + 1) / bins, int(n), float(sure[i] / n), float(correct[i] / n))
            for i, n in enumerate(counts)
            if n
        ),
    )


def _by_chance_of_groups(
    gaps: NDArray[np.float64],
    place: NDArray[np.int64],
    groups: NDArray[np.int64],
    bins: int,
    rng: np.random.Generator,
) -> float | None:
    """Return the error that groups make by chance, None where they are too few to tell.

    `gaps` are each answer's rightness less its confidence. Less the mean of their bin, that of a
    group's answers changes its sign with all of them at once: a wild bootstrap of groups
    (A. C. Cameron and others, "Bootstrap-based improvements for inference with clustered errors",
    2008).
    """
    _, of = np.unique(groups, return_inverse=True)
    count = int(of.max()) + 1
    if count < FEWEST_GROUPS:
        return None
    mean = np.bincount(place, gaps, bins) / np.maximum(np.bincount(place, minlength=bins), 1)
    of_groups = np.zeros((count, bins))
    np.add.at(of_groups, (of, place), gaps - mean[place])
    signs = rng.choice((-1.0, 1.0), (BY_CHANCE_DRAWS, count))
    drawn = np.abs(signs @ of_groups).sum(1).mean() * np.sqrt(count / (count - 1))
    return float(drawn / len(place))


def temperature(logits: NDArray[Any], targets: NDArray[Any]) -> float:
    """Return the number to divide logits `(N, outputs)` by, so that their loss is the lowest.

    Above 1 it makes a network less sure; which answer is the likeliest never changes. Fitted on
    **test**, for validation to judge. `targets` as for `calibration`. Between 0.05 and 20: of a
    test split without a mistake, the lowest loss is at 0. C. Guo and others, 2017.
    """
    from scipy.optimize import minimize_scalar  # as long to import as all the rest of a report
    from scipy.special import log_expit, log_softmax

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
