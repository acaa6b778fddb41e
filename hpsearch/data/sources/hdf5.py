"""HDF5 files, in which PCam and much of science is published: named data sets, read in portions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpsearch.data.sources.stacked import Rows, Stacked
from hpsearch.errors import DataError

ENDINGS = (".h5", ".hdf5")
SQUEEZED = 1032  # bytes at most that one byte of a file unpacks to, by deflate


def is_hdf5(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS


def beside(path: Path, input_name: str, name: str) -> Path | None:
    """Return the file in which a data set lies that this one lacks; None where there is none.

    `..._y.h5` beside `..._x.h5`, as PCam has `y` and `x`.
    """
    end = f"_{input_name}"
    if not path.stem.endswith(end) or not name.isidentifier():
        return None
    other = path.with_name(f"{path.stem.removesuffix(end)}_{name}{path.suffix}")
    return other if other != path and other.is_file() else None


def data_sets(path: Path) -> list[str]:
    """Return the names of all data sets of a file, with those of the groups that they are in."""
    names: list[str] = []

    def note(name: str, thing: Any) -> None:
        if hasattr(thing, "shape"):  # it is no group
            names.append(name)

    with _opened(path) as file:
        file.visititems(note)
    return names


def rows_of(path: Path, name: str) -> Stacked:
    """Return the rows of a data set, to be read in portions; DataError where there are none."""
    with _opened(path) as file:
        one = file[name]
        shape, kind = one.shape, one.dtype
    claimed, held = prod(shape or ()) * kind.itemsize, SQUEEZED * path.stat().st_size
    if not shape or claimed > held:
        raise DataError(
            f"{path}: data set '{name}' claims the shape {shape}, {claimed:,} bytes, and no more "
            f"than {held:,} can be there"
        )

    def read(first: int, last: int) -> NDArray[Any]:
        with _opened(path) as file:
            return np.asarray(file[name][first:last])

    parts: tuple[tuple[int, Rows], ...] = ((shape[0], read),)
    return Stacked(parts, tuple(shape[1:]), kind)


def values_of(path: Path, name: str) -> NDArray[Any]:
    """Return a whole data set; text as text. Raises ValueError where bytes are no UTF-8."""
    values = rows_of(path, name)[:]
    if values.dtype.kind != "O":
        return values
    texts = [value.decode() if isinstance(value, bytes) else value for value in values.flat]
    return np.array(texts, object).reshape(values.shape)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Yield an open file; DataError where it is none, or is damaged."""
    try:
        import h5py
    except ImportError:
        raise DataError(
            f"{path}: HDF5 is read by h5py, which is not installed; install hpsearch[hdf5]"
        ) from None
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:  # damage within shows as any of them
        raise DataError(f"{path}: is not a whole HDF5 file: {error}") from None
