"""Sharing out whole groups of images so that every part has its share of every class."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

FEW = 200  # groups, up to which several orders are tried, and pairs of groups change places
TRIES = 8  # orders in which few groups are handed out; the best is kept
STEPS = 100  # groups that are moved afterwards, at most
ABSENT = 1e9  # what a stratum that a part lacks weighs: more than any skew


def assigned(
    counts: Counts,
    sizes: Counts,
    shares: tuple[float, ...],
    everywhere: bool,
    rng: np.random.Generator,
) -> Counts:
    """Return the part (0, 1, ...) of each group, of which `counts` `(groups, strata)` tells.

    The skew of an assignment is the sum of (images - wanted)^2 / wanted over parts and strata, all
    images being one more stratum. Groups are handed out one after the other, the largest and
    rarest first, each to where it lessens the skew most; then groups move, or two change places,
    for as long as that helps. So do K. Sechidis, G. Tsoumakas and I. Vlahavas share out images of
    several labels ("On the stratification of multi-label data", 2011); here whole groups are.
    That a part lacks a stratum weighs more than any skew where strata have to stand `everywhere`.
    """
    weights = np.concatenate([counts, sizes[:, None]], axis=1).astype(np.float64)  # (groups, S)
    wanted = _wanted(weights.sum(axis=0), shares)
    absent = np.full(weights.shape[1], ABSENT if everywhere else 0.0)
    absent[-1] = ABSENT  # a part without any image
    best, least = np.zeros(len(sizes), np.int64), np.inf
    for _ in range(TRIES if len(sizes) <= FEW else 1):
        part = _handed_out(weights, wanted, rng)
        _improve(weights, wanted, absent, part)
        have = np.stack([weights[part == p].sum(axis=0) for p in range(len(shares))])
        skew = float(_skew(have, wanted, absent).sum())
        if skew < least:
            best, least = part, skew
    return best


def _wanted(totals: Floats, shares: tuple[float, ...]) -> Floats:
    """Return how many images of each stratum each part should have `(parts, S)`: one at least."""
    others = [np.maximum(1, np.round(totals * share)) for share in shares[1:]]
    return np.stack([np.maximum(1, totals - np.sum(others, axis=0)), *others])


def _skew(have: Floats, wanted: Floats, absent: Floats) -> Floats:
    """Return the skew `(...)` of parts that have so many images of each stratum `(..., S)`.

    `absent` `(S,)` is what it adds that a part has none of a stratum.
    """
    skew: Floats = ((have - wanted) ** 2 / wanted + absent * (have < 0.5)).sum(axis=-1)
    return skew


def _handed_out(weights: Floats, wanted: Floats, rng: np.random.Generator) -> Counts:
    totals = weights.sum(axis=0)
    rarest = np.where(weights > 0, totals, np.inf).min(axis=1)
    size = weights[:, -1] * rng.uniform(0.8, 1, len(weights) if len(weights) <= FEW else 1)
    part = np.zeros(len(weights), np.int64)
    missing = wanted.copy()
    for group in np.lexsort((rng.random(len(weights)), rarest, -size)):
        weight = weights[group]
        change = (weight * (weight - 2 * missing) / wanted).sum(axis=1)  # (parts,), of the skew
        part[group] = change.argmin()
        missing[part[group]] -= weight
    return part


def _improve(weights: Floats, wanted: Floats, absent: Floats, part: Counts) -> None:
    """Change `part` in place: the best move of a group, or of two, as long as it lessens the skew.

    Many groups are balanced as they are handed out, and moved only where a part lacks a stratum.
    """
    few = len(weights) <= FEW
    for _ in range(STEPS):
        have = np.stack([weights[part == p].sum(axis=0) for p in range(len(wanted))])  # (parts, S)
        skew = _skew(have, wanted, absent)  # (parts,)
        if not few and (have[:, absent > 0] >= 0.5).all():
            return
        leaves = _skew(have[part] - weights, wanted[part], absent) - skew[part]  # (groups,)
        joins = _skew(have + weights[:, None], wanted, absent) - skew  # (groups, parts)
        joins[np.arange(len(part)), part] = np.inf
        change = leaves[:, None] + joins
        group, to = np.unravel_index(change.argmin(), change.shape)
        swap = _best_swap(weights, wanted, absent, part, have) if few else None
        if swap is not None and swap[0] < min(change[group, to], -1e-9):
            part[[swap[1], swap[2]]] = part[[swap[2], swap[1]]]
        elif change[group, to] < -1e-9:
            part[group] = to
        else:
            return


def _best_swap(
    weights: Floats, wanted: Floats, absent: Floats, part: Counts, have: Floats
) -> tuple[float, int, int] | None:
    """Return the two groups of different parts whose swap lessens the skew most, and by what."""
    best: tuple[float, int, int] | None = None
    for p, q in combinations(range(len(wanted)), 2):
        ours, theirs = np.flatnonzero(part == p), np.flatnonzero(part == q)
        if not (len(ours) and len(theirs)):
            continue
        gain = weights[theirs] - weights[ours][:, None]  # (ours, theirs, S), for part p
        after = _skew(have[p] + gain, wanted[p], absent) + _skew(have[q] - gain, wanted[q], absent)
        change = after - _skew(have[[p, q]], wanted[[p, q]], absent).sum()
        i, j = np.unravel_index(change.argmin(), change.shape)
        if best is None or change[i, j] < best[0]:
            best = float(change[i, j]), int(ours[i]), int(theirs[j])
    return best
