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

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpsearch.data.alike import pairs_alike
from hpsearch.data.sources.decoded import released
from hpsearch.data.threads import in_turn

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
SMALLEST = 256  # pixels: 0.5 % of the 8 x 8 digits are alike by chance
SAMPLE = 1_000_000  # images among which every pair is looked at; of more, so many are drawn
IN_MEMORY = 2**26  # bytes of edges; more of them lie in a file beside the images
CANDIDATES = 100  # for each image, on average; films have more, and their frames are all alike
CHUNK_BYTES = 1 << 22  # that fits into a cache: of 64 MiB each step took twice as long


@dataclass(frozen=True)
class Copies:
    """Pairs of rows `(P, 2)`, the lower one first, and how alike they are `(P,)`: 1 if `exact`.

    Of a set of exact copies the first is paired with each other one, and stands for all of them in
    other pairs. `unsearched` says why only exact copies were looked for, where that is so, and
    `sampled` among how many images near ones were, where there are too many to compare them all.
    """

    pairs: Rows
    likeness: Doubles
    exact: NDArray[np.bool_]
    unsearched: str = ""
    sampled: int = 0


def find_copies(
    images: Images, pictures: bool = True, content: NDArray[np.int32] | None = None
) -> Copies:
    """Return all copies among images `(N, height, width, channels)`.

    Pictures that are mirrored, turned, or cut by more than a few per cent are not found.
    `pictures` is False where bytes are no brightness, as for symbols: then exact copies are all.
    `content` `(N, 4)` is that of `Decoded`: what is alike is the content, and not the padding.
    """
    marks = _marks(images)
    _, first, inverse = np.unique(marks, axis=0, return_index=True, return_inverse=True)
    standing_for = first[inverse.reshape(-1)]
    copies = np.flatnonzero(standing_for != np.arange(len(images)))
    exact = np.stack([standing_for[copies], copies], axis=1)
    likeness = np.ones(len(exact), np.float64)
    distinct = np.sort(first)
    unsearched = _unsearched(images, pictures)
    if unsearched:
        return Copies(exact, likeness, np.ones(len(exact), np.bool_), unsearched)
    near = Near(images, content)
    compared = _compared(near, distinct)
    few = _few_pixels_changed(near, marks, distinct)
    edges = _edges_alike(near, compared)
    if edges is None:
        unsearched = "too many images look alike to tell copies from look-alikes, as in a film"
        return Copies(exact, likeness, np.ones(len(exact), np.bool_), unsearched)
    pairs, alike = _unique(few, edges)
    flags = np.arange(len(exact) + len(pairs)) < len(exact)
    sampled = len(compared) if len(distinct) > SAMPLE else 0
    return Copies(
        np.concatenate([exact, pairs]), np.concatenate([likeness, alike]), flags, sampled=sampled
    )


@dataclass(frozen=True)
class Near:
    """Images, and where each holds content `(N, 4)`; None where none is padded."""

    images: Images
    content: NDArray[np.int32] | None

    def __getitem__(self, rows: Rows) -> Images:
        """Return images whose padding is their content mirrored, again and again.

        So the outline of a short sound in much silence is no edge that all short sounds share.
        """
        found = self.images[rows]
        if self.content is None:
            return found
        top, bottom, left, right = self.content[rows].T
        n, height, width, _ = found.shape
        lines = _mirrored(height, top, bottom)  # (n, height)
        columns = _mirrored(width, left, right)  # (n, width)
        return found[np.arange(n)[:, None, None], lines[:, :, None], columns[:, None, :]]

    def pixels(self, rows: Rows) -> Rows:
        """Return how many pixels of content each image has `(rows,)`."""
        if self.content is None:
            return np.full(len(rows), self.images.shape[1] * self.images.shape[2])
        top, bottom, left, right = self.content[rows].T.astype(np.int64)
        return np.asarray((bottom - top) * (right - left))


def _mirrored(size: int, begin: NDArray[np.int32], end: NDArray[np.int32]) -> Rows:
    """Return places within `begin` to `end` `(N,)` for each of `size` places: `(N, size)`."""
    length = (end - begin)[:, None]
    place = (np.arange(size) - begin[:, None]) % (2 * length)
    inside = np.minimum(place, 2 * length - 1 - place)
    return np.asarray(inside + begin[:, None], np.int64)


def _compared(near: Near, rows: Rows) -> Rows:
    """Return those rows whose edges are compared: enough of them to see, and not too many."""
    rows = rows[near.pixels(rows) >= SMALLEST]
    if len(rows) <= SAMPLE:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, SAMPLE, replace=False))


def _unsearched(images: Images, pictures: bool) -> str:
    _, height, width, _ = images.shape
    if not pictures:
        return "its bytes are symbols"
    if height * width < SMALLEST:
        return f"images of {height} x {width} pixels are alike by chance"
    return ""


def _chunks(count: int, images: Images, bytes_per_value: int) -> Iterator[slice]:
    """Yield slices of `count` images, with so many bytes for each value, that fit into memory."""
    size = max(1, CHUNK_BYTES // (bytes_per_value * max(1, int(np.prod(images.shape[1:])))))
    for start in range(0, count, size):
        yield slice(start, start + size)


def _marks(images: Images) -> NDArray[np.uint64]:
    """Return `(N, PARTS)`: a number for each part of each image, the same for the same pixels.

    Each is made of two sums of bytes times random numbers, such that floats of 53 bits hold the
    sums exactly, in whatever order a matrix product adds them up: two different parts share it
    with a probability of 2 ** -60 or less. A part is every eighth pixel, because a corner that is
    all background would tell nothing.
    """
    n, height, width, channels = images.shape
    values = height * width * channels
    rng = np.random.default_rng(0)
    bits = 53 - 8 - (values // PARTS + channels).bit_length()
    factors = np.zeros((height * width, channels, PARTS, 2))
    pixels = np.arange(height * width)
    drawn = rng.integers(0, 1 << bits, (height * width, channels, 2), np.int64)
    factors[pixels, :, pixels % PARTS] = drawn
    factors = factors.reshape(values, 2 * PARTS)
    mix = rng.integers(0, 1 << 64, 2, np.uint64) | np.uint64(1)
    marks = np.empty((n, PARTS), np.uint64)

    def mark(part: slice) -> None:
        flat = images[part].reshape(-1, values).astype(np.float64)
        sums = (flat @ factors).astype(np.uint64).reshape(-1, PARTS, 2)
        marks[part] = (sums * mix).sum(axis=2, dtype=np.uint64)

    for _ in in_turn(mark, _chunks(n, images, 8)):
        released(images)
    return marks


def _few_pixels_changed(near: Near, marks: NDArray[np.uint64], rows: Rows) -> tuple[Rows, Doubles]:
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
    pairs = pairs[(near.pixels(pairs.reshape(-1)).reshape(-1, 2) >= SMALLEST).all(axis=1)]
    likeness = np.zeros(len(pairs), np.float64)
    for part_of in _chunks(len(pairs), near.images, 32):
        one, other = (near[pairs[part_of, i]] for i in (0, 1))
        differ = (one != other).any(axis=3).mean(axis=(1, 2))
        alike = (_unit(one) * _unit(other)).sum(axis=1)
        likeness[part_of] = np.where(differ <= max(FEW, 1 / near.images[0, ..., 0].size), alike, 0)
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


def _edges_alike(near: Near, rows: Rows) -> tuple[Rows, Doubles] | None:
    """Return pairs of `rows` whose edges correlate by `LIKE` or more, and by how much.

    None where too many might. The last word is in double precision: whether two images are copies
    decides on the split, and must not differ between machines that round differently.
    """
    if not len(rows):
        return _no_rows(), np.empty(0)
    values = _edges(near.images[:1], np.float32).shape[1]
    with _room(near.images, (len(rows), values)) as edges:

        def fill(part: slice) -> None:
            edges[part] = _edges(near[rows[part]], np.float32)

        for _ in in_turn(fill, _chunks(len(rows), near.images, 12)):
            released(near.images)
            released(edges)
        likely = pairs_alike(edges, LIKE - ROUNDING, CANDIDATES * len(rows))
    if likely is None:
        return None
    pairs = np.sort(rows[likely], axis=1)
    likeness = np.empty(len(pairs), np.float64)
    for part in _chunks(len(pairs), near.images, 32):
        one, other = (_edges(near[pairs[part, i]], np.float64) for i in (0, 1))
        likeness[part] = (one * other).sum(axis=1)
    return pairs[likeness >= LIKE], likeness[likeness >= LIKE]


@contextmanager
def _room(images: Images, shape: tuple[int, int]) -> Iterator[NDArray[np.float16]]:
    """Yield an array of half precision: in memory, or in a file beside images that lie in one."""
    place = getattr(images, "filename", None)
    if place is None or 2 * shape[0] * shape[1] <= IN_MEMORY:
        yield np.empty(shape, np.float16)
        return
    with tempfile.TemporaryFile(dir=Path(place).parent) as file:
        yield np.memmap(file, np.float16, "w+", shape=shape)


def _unique(*found: tuple[Rows, Doubles]) -> tuple[Rows, Doubles]:
    """Return each pair once, with the highest likeness that it was found with."""
    pairs = np.concatenate([part for part, _ in found])
    likeness = np.concatenate([part for _, part in found])
    order = np.lexsort((-likeness, pairs[:, 1], pairs[:, 0]))
    pairs, likeness = pairs[order], likeness[order]
    kept = np.ones(len(pairs), np.bool_)
    kept[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
    return pairs[kept], np.minimum(likeness[kept], 1)
