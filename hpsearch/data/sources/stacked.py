"""Rows that lie in several places, one after the other, and are read where they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = Callable[[int, int], NDArray[Any]]  # first, and the one after the last


@dataclass(frozen=True)
class Stacked:
    """Arrays of one `dtype` and one shape of a row, each with its length and what reads it.

    As far as images need it, this is an array: `shape`, `ndim`, `size`, slices of step 1.
    """

    parts: tuple[tuple[int, Rows], ...]
    row: tuple[int, ...]
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        return sum(length for length, _ in self.parts)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.row)

    @property
    def ndim(self) -> int:
        return 1 + len(self.row)

    @property
    def size(self) -> int:
        return prod(self.shape)

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        start, stop, step = rows.indices(len(self))
        assert step == 1, "rows are read in their order"
        found, before = [np.empty((0, *self.row), self.dtype)], 0
        for length, read in self.parts:
            first, last = max(start - before, 0), min(stop - before, length)
            if first < last:
                found.append(read(first, last))
            before += length
        return np.concatenate(found, dtype=self.dtype)

    def taking(self, rows: NDArray[np.int64]) -> Stacked:
        """Return some of the rows, in runs of those that follow each other."""

        def run(of: NDArray[np.int64]) -> tuple[int, Rows]:
            return len(of), lambda first, last: self[int(of[0]) + first : int(of[0]) + last]

        runs = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)
        return Stacked(tuple(run(of) for of in runs if len(of)), self.row, self.dtype)


def stacked(several: Sequence[NDArray[Any] | Stacked]) -> Stacked:
    """Return all of them one after the other, whose rows have one shape."""

    def rows_of(one: NDArray[Any] | Stacked) -> Rows:
        return lambda first, last: one[first:last]

    parts = tuple((len(one), rows_of(one)) for one in several)
    dtype = np.result_type(*(one.dtype for one in several))
    return Stacked(parts, tuple(several[0].shape[1:]), dtype)
