"""Simulated test splits whose images come in groups that are predicted right or wrong together."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Sizes = Literal["equal", "unequal", "one large"]


def sizes_of(kind: Sizes, groups: int, mean: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return how many images each group has: alike, lognormal, or a quarter of all in one."""
    if kind == "unequal":
        drawn = rng.lognormal(-0.5, 1, groups)
        return np.maximum(1, np.round(mean * drawn)).astype(np.int64)
    sizes = np.full(groups, mean)
    if kind == "one large":
        sizes[0] = mean * (groups - 1) // 3
    return sizes


def hits_of(
    sizes: NDArray[np.int64], accuracy: float, likeness: float, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which images `(N,)` are predicted right, and their groups.

    `likeness` is the correlation of two images of one group, from 0 to below 1 (beta-binomial).
    """
    own = np.full(len(sizes), accuracy)
    if 0 < accuracy < 1 and likeness:
        scale = 1 / likeness - 1
        own = rng.beta(accuracy * scale, (1 - accuracy) * scale, len(sizes))
    groups = np.repeat(np.arange(len(sizes)), sizes)
    return rng.random(len(groups)) < own[groups], groups


def errors_of(
    sizes: NDArray[np.int64], spread: float, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return squared errors `(N,)` of mean 1, whose groups differ by a factor of exp(`spread`)."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    own = rng.lognormal(-(spread**2) / 2, spread, len(sizes))
    return own[groups] * rng.chisquare(1, len(groups)), groups
