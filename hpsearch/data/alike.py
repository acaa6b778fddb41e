"""Which vectors of length 1 point nearly the same way, among hundreds of thousands of them.

Exact, and the same on every machine: whether two images are copies decides on the split, and with
it on the fingerprint of the data, so no approximate index will do, whose answers hang on how a
processor rounds and threads take turns. Nearly all pairs are ruled out by boxes: vectors are
gathered in leaves of a k-d tree (J. L. Bentley, 1975), and what is further from the box around a
leaf than copies can be is compared with none of it. Measured on Fashion-MNIST: an eighth of all
pairs is left to a product of 33 numbers, where sorting by one number left a half.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpsearch.data.sources.decoded import released
from hpsearch.data.threads import in_turn

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]

DIRECTIONS = 32  # of the vectors, which rule out nearly all pairs
ITERATIONS = 4  # to find them
SAMPLE = 10_000  # vectors to find them from
LEAF, LARGEST_LEAF = 512, 2048  # vectors of a leaf
LEAVES = 512  # where there are not more vectors than they hold
BOX_DIRECTIONS = 16  # in which the distance to a box is looked at: the narrowest ones of a leaf
AT_ONCE = 8192  # vectors that are brought into single precision together


def pairs_alike(vectors: NDArray[np.float16], least: float, most_candidates: int) -> Rows | None:
    """Return about all pairs `(P, 2)` of vectors `(N, values)` whose product is `least` or more.

    About, because vectors are rounded: `least` has to allow for it. None where there are more than
    `most_candidates` pairs to look at closely.
    """
    bounds = _bounds(vectors)
    order = _leaves(bounds, min(LARGEST_LEAF, max(LEAF, len(bounds) // LEAVES)))
    found, seen = [np.empty((0, 2), np.int64)], 0
    for pairs in _above(bounds, order, least):
        seen += len(pairs)
        if seen > most_candidates:
            return None
        found.append(pairs[_products(vectors, pairs) >= least])
    return np.concatenate(found)


def _bounds(vectors: NDArray[np.float16]) -> Floats:
    """Return short vectors, whose product is at least the product of those they stand for.

    They are the vectors along the few directions in which they differ most, and the length of what
    is left of them (by Cauchy and Schwarz): a small matrix product rules out nearly all pairs.
    """
    directions = _directions(vectors[:: max(1, len(vectors) // SAMPLE)].astype(np.float32))
    bounds = np.empty((len(vectors), directions.shape[1] + 1), np.float32)
    for start in range(0, len(vectors), AT_ONCE):
        part = vectors[start : start + AT_ONCE].astype(np.float32)
        head = part @ directions
        length = np.where(part.any(axis=1), 1, 0)  # a blank image has none, and is like no other
        rest = np.sqrt(np.maximum(length - (head**2).sum(axis=1), 0))
        bounds[start : start + AT_ONCE] = np.concatenate([head, rest[:, None]], axis=1)
        released(vectors)
    return bounds


def _directions(sample: Floats) -> Floats:
    """Return about those directions `(values, DIRECTIONS)` in which a sample differs most.

    Any orthogonal ones will do, so a few rounds of subspace iteration are near enough: all
    eigenvectors of 1,200 values would take longer than decoding hundreds of photos.
    """
    values = sample.shape[1]
    start = np.random.default_rng(0).standard_normal((values, min(values, DIRECTIONS)), np.float32)
    found: Floats = np.linalg.qr(start)[0]
    for _ in range(ITERATIONS):
        found = np.linalg.qr(sample.T @ (sample @ found))[0]
    return np.ascontiguousarray(found)


def _leaves(vectors: Floats, most: int) -> list[Rows]:
    """Return the rows of vectors in leaves of at most so many, near ones together."""
    done: list[Rows] = []
    left = [np.arange(len(vectors))]
    while left:
        rows = left.pop()
        if len(rows) <= most:
            done.append(rows)
            continue
        part = vectors[rows]
        widest = part[:, int(part.var(axis=0).argmax())]
        order, half = np.argpartition(widest, len(rows) // 2), len(rows) // 2
        left += [rows[order[half:]], rows[order[:half]]]
    return done


def _above(vectors: Floats, leaves: list[Rows], least: float) -> Iterator[Rows]:
    """Return, leaf by leaf, the pairs of vectors `(N, values)` whose product is `least` or more.

    Their length is at most 1, so the square of their distance is at most 2 - 2 * `least`.
    """
    order = np.concatenate(leaves)
    vectors = vectors[order]
    ends = np.cumsum([len(rows) for rows in leaves])
    starts = np.array([0, *ends[:-1]])
    low, high = np.minimum.reduceat(vectors, starts), np.maximum.reduceat(vectors, starts)
    columns, farthest = np.ascontiguousarray(vectors.T), np.float32(2 - 2 * least)

    def pairs_of(leaf: int) -> Rows:
        start, end = starts[leaf], ends[leaf]
        gaps = np.maximum(low[leaf] - high[leaf:], low[leaf:] - high[leaf]).clip(0)
        near = np.flatnonzero((gaps**2).sum(axis=1) <= farthest) + leaf
        others = np.concatenate([np.arange(starts[i], ends[i]) for i in near])
        narrowest = np.argsort(high[leaf] - low[leaf])[:BOX_DIRECTIONS]
        away = np.zeros(len(others), np.float32)
        for i in narrowest:
            values = columns[i][others]
            gap = np.maximum(values - high[leaf, i], low[leaf, i] - values)
            np.maximum(gap, 0, out=gap)
            away += gap * gap
        others = others[away <= farthest]  # of its own leaf they are all there
        above = np.flatnonzero(vectors[start:end] @ vectors[others].T >= least)
        row, column = np.divmod(above, len(others))
        row, column = row + start, others[column]
        later = column > row
        return np.stack([order[row[later]], order[column[later]]], axis=1)

    return in_turn(pairs_of, range(len(leaves)))


def _products(vectors: NDArray[Any], pairs: Rows) -> Floats:
    out = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), AT_ONCE):
        one, other = (vectors[pairs[start : start + AT_ONCE, i]].astype(np.float32) for i in (0, 1))
        out[start : start + AT_ONCE] = np.einsum("ij,ij->i", one, other)
        released(vectors)
    return out
