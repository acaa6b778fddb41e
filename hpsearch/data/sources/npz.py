"""`.npz` files, as `numpy.savez` writes them: which arrays they hold, and what those claim."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpsearch.errors import DataError

DEFLATED = 1032  # bytes at most that one byte of a zip file unpacks to
# What NumPy and zipfile raise for files that are none, or whose heads were changed.
BROKEN = (
    ValueError,
    EOFError,
    KeyError,
    TypeError,
    OverflowError,
    NotImplementedError,
    SyntaxError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


@contextmanager
def opened_npz(path: Path) -> Iterator[np.lib.npyio.NpzFile[Any]]:
    """Yield an open file of several arrays; DataError where it is none, also while it is read."""
    try:
        with path.open("rb") as opened:
            file = np.load(opened, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("it holds one array alone, and targets are another")
            yield file
    except BROKEN as error:
        raise DataError(f"{path}: is not an .npz file of plain arrays: {error}") from None


def array_of(file: np.lib.npyio.NpzFile[Any], name: str, file_bytes: int) -> NDArray[Any]:
    """Return an array, its byte strings as text; ValueError where its head claims too much."""
    _check_claim(file, name, file_bytes)
    values: NDArray[Any] = file[name]
    return _decoded(values, name) if values.dtype.kind == "S" else values


def _decoded(values: NDArray[Any], name: str) -> NDArray[Any]:
    """Return byte strings as text; ValueError where they are no UTF-8."""
    try:
        return np.char.decode(values, "utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"array '{name}' holds bytes that are no UTF-8 ({error.object!r})"
        ) from None


def _check_claim(file: np.lib.npyio.NpzFile[Any], name: str, file_bytes: int) -> None:
    """Raise ValueError where an array's head claims more than the file can hold.

    NumPy allocates what the head says before it reads.
    """
    assert file.zip is not None  # it is open
    entry = f"{name}.npy" if f"{name}.npy" in file.zip.namelist() else name
    held = min(file.zip.getinfo(entry).file_size, DEFLATED * file_bytes)
    with file.zip.open(entry) as opened:
        version = np.lib.format.read_magic(opened)
        if version == (1, 0):
            shape, _, kind = np.lib.format.read_array_header_1_0(opened)
        else:
            shape, _, kind = np.lib.format.read_array_header_2_0(opened)
    if kind.hasobject:
        raise ValueError(f"array '{name}' holds Python objects; save numbers or text")
    claimed = math.prod(shape) * kind.itemsize
    if min(shape, default=0) < 0 or claimed > held:
        raise ValueError(
            f"array '{name}' claims the shape {shape}, {claimed:,} bytes, and {held:,} are there"
        )
