"""Finding images that are copies of each other: exact, changed in a few pixels, or nearly alike.

Three ways to become a copy, three ways to be found. Each image is marked by eight numbers, one for
each eighth of its pixels: exact copies share all eight, and images that differ in a few pixels
share some (a pigeonhole argument, so that all pairs need not be compared). What was scaled,
compressed or made brighter differs everywhere; there the edges are compared, by the correlation of
their coarse frequencies.

Measured on Fashion-MNIST's 70,000 images: a perceptual hash is no use there (at distance 0 it calls
1.3 % of them copies, and at that distance misses half of those with one pixel changed), nor is the
correlation of pixels (0.98 calls 7 % copies). Edges at 0.98 call 0.4 % copies, and find 98 % of
what JPEG (quality 75), noise or brightness changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Doubles = NDArray[np.float64]
Rows = NDArray[np.int64]

PARTS = 8
REACH = 200  # images with the same part: each is compared with the next so many
FEW = 0.01  # of the pixels may differ in any way, where the rest is the same
FEW_CORRELATION = 0.8  # of such pairs: two dots on black differ in two pixels, and are no copies
LIKE = 0.98  # correlation of edges, from which on two images are called copies
ROUNDING = 0.002  # float16 is off by less
FREQUENCIES = 20  # in each direction: finer ones differ between copies of several qualities
DIRECTIONS = 32  # of the edges, which rule out nearly all pairs
SMALLEST = 256  # pixels: 0.5 % of the 8 x 8 digits are alike by chance
LARGEST_SET = 300_000  # images: every pair is looked at, 4 s of one core for 70,000
CANDIDATES = 100  # for each image, on average; films have more, and their frames are all alike
CHUNK_BYTES = 1 << 26


@dataclass(frozen=True)
class Copies:
    """Pairs of rows `(P, 2)`, the lower one first, and how alike they are `(P,)`: 1 if `exact`.

    Of a set of exact copies the first is paired with each other one, and stands for all of them in
    other pairs. `unsearched` says why only exact copies were looked for, where that is so.
    """

    pairs: Rows
    likeness: Doubles
    exact: NDArray[np.bool_]
    unsearched: str = ""


def find_copies(images: Images, pictures: bool = True) -> Copies:
    """Return all copies among images `(N, height, width, channels)`.

    Pictures that are mirrored, turned, or cut by more than a few per cent are not found.
    `pictures` is False where bytes are no brightness, as for symbols: then exact copies are all.
    """
    marks = _marks(images)
    _, first, inverse = np.unique(marks, axis=0, return_index=True, return_inverse=True)
    standing_for = first[inverse.reshape(-1)]
    copies = np.flatnonzero(standing_for != np.arange(len(images)))
    exact = np.stack([standing_for[copies], copies], axis=1)
    likeness = np.ones(len(exact), np.float64)
    distinct = np.sort(first)
    unsearched = _unsearched(images, len(distinct), pictures)
    if not unsearched:
        try:
            near, near_likeness = _unique(
                _few_pixels_changed(images, marks, distinct), _edges_alike(images, distinct)
            )
        except TooManyAlikeError:
            unsearched = "too many images look alike to tell copies from kin, as in a film"
        else:
            flags = np.arange(len(exact) + len(near)) < len(exact)
            return Copies(
                np.concatenate([exact, near]), np.concatenate([likeness, near_likeness]), flags
            )
    return Copies(exact, likeness, np.ones(len(exact), np.bool_), unsearched)


class TooManyAlikeError(Exception):
    """So many pairs are candidates that looking at all of them would take too long."""


def _unsearched(images: Images, distinct: int, pictures: bool) -> str:
    _, height, width, _ = images.shape
    if not pictures:
        return "its bytes are symbols"
    if height * width < SMALLEST:
        return f"images of {height} x {width} pixels are alike by chance"
    if distinct > LARGEST_SET:
        return f"there are more than {LARGEST_SET:,} images"
    return ""


def _chunks(count: int, images: Images, bytes_per_value: int) -> Iterator[slice]:
    """Yield slices of `count` images, with so many bytes for each value, that fit into memory."""
    size = max(1, CHUNK_BYTES // (bytes_per_value * max(1, int(np.prod(images.shape[1:])))))
    for start in range(0, count, size):
        yield slice(start, start + size)


def _marks(images: Images) -> NDArray[np.uint64]:
    """Return `(N, PARTS)`: a number for each part of each image, the same for the same pixels.

    Each is a sum of bytes times fixed random numbers, modulo 2 ** 64: two different parts share it
    with a probability below 2 ** -56. A part is every eighth pixel, because a corner that is all
    background would tell nothing.
    """
    n, height, width, channels = images.shape
    flat = images.reshape(n, height * width, channels)
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 1 << 64, flat.shape[1:], np.uint64, endpoint=False)
    marks = np.empty((n, PARTS), np.uint64)
    for part in range(PARTS):
        pixels = slice(part, None, PARTS)
        np.einsum(
            "npc,pc->n", flat[:, pixels], factors[pixels], out=marks[:, part], casting="unsafe"
        )
    return marks


def _few_pixels_changed(
    images: Images, marks: NDArray[np.uint64], rows: Rows
) -> tuple[Rows, Doubles]:
    """Return pairs of `rows` that differ in no more than `FEW` of their pixels, and their likeness.

    Changes of up to four pixels anywhere are always found, and of more where they share a part.
    """
    found = []
    for part in range(PARTS):
        mark = marks[rows, part]
        order = np.argsort(mark, kind="stable")
        for ahead in range(1, REACH + 1):
            same = np.flatnonzero(mark[order[ahead:]] == mark[order[:-ahead]])
            if not len(same):
                break
            pairs = np.stack([rows[order[same]], rows[order[same + ahead]]], axis=1)
            shared = (marks[pairs[:, 0]] == marks[pairs[:, 1]]).sum(axis=1)
            found.append(pairs[shared >= PARTS // 2])
    pairs = np.unique(np.sort(np.concatenate([_no_rows(), *found]), axis=1), axis=0)
    likeness = np.zeros(len(pairs), np.float64)
    most = max(1, int(FEW * images.shape[1] * images.shape[2]))
    for part_of in _chunks(len(pairs), images, 32):
        one, other = (images[pairs[part_of, i]] for i in (0, 1))
        differ = (one != other).any(axis=3).sum(axis=(1, 2))
        alike = (_unit(one) * _unit(other)).sum(axis=1)
        likeness[part_of] = np.where(differ <= most, alike, 0)
    kept = likeness >= FEW_CORRELATION
    return pairs[kept], likeness[kept]


def _no_rows() -> Rows:
    return np.empty((0, 2), np.int64)


def _unit(images: Images) -> Doubles:
    """Return pixels `(N, values)` around their mean, of length 1; 0 for a blank image."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    return _scaled(flat - flat.mean(axis=1, keepdims=True))


def _scaled(vectors: NDArray[Any]) -> NDArray[Any]:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    out = np.zeros_like(vectors)
    np.divide(vectors, length, out=out, where=length > 1e-3)
    return out


def _edges(images: Images, number: type[np.floating[Any]]) -> NDArray[Any]:
    """Return vectors `(N, values)` of length 1, whose product is the correlation of edges.

    The squared differences between neighbouring pixels are a sum over the frequencies of a cosine
    transform, each weighted by 2 - 2 cos(pi k / size) in either direction. Brightness has no part
    in it, contrast goes with the length, and coarse frequencies alone make it a smaller image.
    """
    from scipy.fft import dct  # imported late: a pool that prepares nothing does without

    _, height, width, _ = images.shape
    bases, weights = [], []
    for size in (height, width):
        kept = min(size, FREQUENCIES)
        bases.append(dct(np.eye(size), axis=0, norm="ortho")[:kept].astype(number))
        weights.append(2 - 2 * np.cos(np.pi * np.arange(kept) / size))
    weight = np.sqrt(np.add.outer(*weights)).astype(number)[:, :, None]
    coarse = np.einsum("kh,nhwc,lw->nklc", bases[0], images.astype(number), bases[1], optimize=True)
    return _scaled((coarse * weight).reshape(len(images), -1))


def _edges_alike(images: Images, rows: Rows) -> tuple[Rows, Doubles]:
    """Return pairs of `rows` whose edges correlate by `LIKE` or more, and by how much.

    The last word is in double precision: whether two images are copies decides on the split, and
    must not differ between machines that round differently.
    """
    edges = np.empty((len(rows), _edges(images[:1], np.float32).shape[1]), np.float16)
    for part in _chunks(len(rows), images, 12):
        edges[part] = _edges(images[rows[part]], np.float32)
    bounds = _bounds(edges)
    order = np.argsort(bounds[:, 0], kind="stable")
    likely, seen = [_no_rows()], 0
    for pairs in _above(bounds[order], LIKE - ROUNDING):
        candidates = order[pairs]
        seen += len(candidates)
        if seen > CANDIDATES * len(rows):
            raise TooManyAlikeError
        likely.append(candidates[_products(edges, candidates) >= LIKE - ROUNDING])
    pairs = np.sort(rows[np.concatenate(likely)], axis=1)
    likeness = np.empty(len(pairs), np.float64)
    for part in _chunks(len(pairs), images, 32):
        one, other = (_edges(images[pairs[part, i]], np.float64) for i in (0, 1))
        likeness[part] = (one * other).sum(axis=1)
    return pairs[likeness >= LIKE], likeness[likeness >= LIKE]


def _bounds(edges: NDArray[np.float16]) -> NDArray[np.float32]:
    """Return short vectors, whose product is at least the correlation of edges.

    They are the edges along the few directions in which images differ most, and the length of what
    is left of them (by Cauchy and Schwarz): so that one small matrix product rules out nearly all
    pairs, and no copy.
    """
    sample = edges[:: max(1, len(edges) // 10_000)].astype(np.float32)
    _, directions = np.linalg.eigh(sample.T @ sample)
    directions = np.ascontiguousarray(directions[:, : -DIRECTIONS - 1 : -1])
    bounds = np.empty((len(edges), directions.shape[1] + 1), np.float32)
    for start in range(0, len(edges), 8192):
        part = edges[start : start + 8192].astype(np.float32)
        head = part @ directions
        length = np.where(part.any(axis=1), 1, 0)  # a blank image has none, and is like no other
        rest = np.sqrt(np.maximum(length - (head**2).sum(axis=1), 0))
        bounds[start : start + 8192] = np.concatenate([head, rest[:, None]], axis=1)
    return bounds


def _above(vectors: NDArray[np.float32], least: float) -> Iterator[Rows]:
    """Yield the pairs of vectors `(N, values)` whose product is `least` or more, in blocks.

    Their length is at most 1, and they are in the order of their first value: where those of two
    are further apart than vectors of such a product can be, no later one is any nearer.
    """
    n, tall, wide = len(vectors), 1024, 8192
    first = vectors[:, 0]
    for top in range(0, n, tall):
        block = vectors[top : top + tall]
        end = int(np.searchsorted(first, block[-1, 0] + np.sqrt(2 - 2 * least), side="right"))
        for left in range(top, end, wide):
            product = block @ vectors[left : min(left + wide, end)].T
            above = np.flatnonzero(product >= least)
            row, column = np.divmod(above, product.shape[1])
            row, column = row + top, column + left
            yield np.stack([row, column], axis=1)[column > row]


def _products(vectors: NDArray[np.float16], pairs: Rows) -> NDArray[np.float32]:
    out = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), 8192):
        one, other = (vectors[pairs[start : start + 8192, i]].astype(np.float32) for i in (0, 1))
        out[start : start + 8192] = np.einsum("ij,ij->i", one, other)
    return out


def _unique(*found: tuple[Rows, Doubles]) -> tuple[Rows, Doubles]:
    """Return each pair once, with the highest likeness that it was found with."""
    pairs = np.concatenate([part for part, _ in found])
    likeness = np.concatenate([part for _, part in found])
    order = np.lexsort((-likeness, pairs[:, 1], pairs[:, 0]))
    pairs, likeness = pairs[order], likeness[order]
    kept = np.ones(len(pairs), np.bool_)
    kept[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
    return pairs[kept], np.minimum(likeness[kept], 1)
