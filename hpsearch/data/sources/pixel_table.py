"""Tables whose rows are pictures: a column for each pixel, or one column of numbers."""

from __future__ import annotations

import csv
import math
import re
import warnings
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpsearch.data.sources.columns import Columns
from hpsearch.data.sources.memory import CSV_TIMES, memory_words
from hpsearch.data.sources.rows import opened, read_rows
from hpsearch.errors import DataError
from hpsearch.study.data import Data

PIXEL = re.compile(r"(?:pixel|px|p)?[\s_-]*\d+(?:[x.]\d+)?", re.IGNORECASE)
FEWEST = 16  # columns of pixels; fewer are measurements
COLUMN = "pixels"  # of numbers with spaces between them, where the study names no other
INSTEAD = "save its pictures as HDF5 (source: arrays), or take a part of it"
LONGEST_HEAD = 1 << 22  # characters: of 50,000 pixels


def pixel_columns(path: Path, data: Data) -> Columns | None:
    """Return the columns of a table of pixels, pictures `(N, height, width[, 3])` under the input.

    As Kaggle has MNIST (`label,pixel0,...`) or FER2013 (`emotion,pixels,Usage`). None where it is
    no such table. Pictures are square, grey or with red, green and blue of each pixel together.
    Raises DataError where they are not, or a row lacks a pixel.
    """
    header, many = _header(path, data), _pixels(path, data)
    if not is_pixel_table(path, data):
        return None
    said = memory_words([path], CSV_TIMES, INSTEAD)
    if many:
        columns = _of_many(path, header, many, data)
    else:
        columns = _of_one(path, data.input_name() if data.input else COLUMN, data)
    return replace(columns, decided=(*columns.decided, *said))


def is_pixel_table(path: Path, data: Data) -> bool:
    """Whether the rows of a table are pictures, by its header and its first row."""
    one = data.input_name() if data.input else COLUMN
    header = _header(path, data)
    if _pixels(path, data):
        return True
    headed = data.columns is None
    return one in header and "path" not in header and _is_numbers(path, header.index(one), headed)


def _pixels(path: Path, data: Data) -> list[str]:
    """Return the columns that are a pixel each; none where they are too few."""
    found = [name for name in _header(path, data) if PIXEL.fullmatch(name)]
    return found if data.input is None and len(found) >= FEWEST else []


def _header(path: Path, data: Data) -> list[str]:
    if not path.is_file():
        return []
    if data.columns is not None:
        return list(data.columns)
    try:
        with opened(path) as file:
            line = file.readline(LONGEST_HEAD)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error):
        return []  # `read_rows` says what is wrong
    return [name.strip() for name in next(csv.reader([line]), [])]


def _is_numbers(path: Path, column: int, headed: bool) -> bool:
    with opened(path) as file:
        rows = csv.reader(file)
        if headed:
            next(rows, None)
        first = next(rows, [])
    words = first[column].split() if len(first) > column else []
    return len(words) >= FEWEST and all(word.isdigit() for word in words)


def _of_many(path: Path, header: list[str], many: list[str], data: Data) -> Columns:
    import pandas as pd

    kinds: dict[int, Any] = {i: np.float64 if n in many else str for i, n in enumerate(header)}
    try:
        frame = pd.read_csv(
            path, header=None if data.columns else 0, names=list(range(len(header))), dtype=kinds,
            index_col=False, keep_default_na=False, encoding="utf-8-sig",
        )  # fmt: skip
    except ValueError as error:
        raise DataError(f"{path}: is not a table of pixels: {str(error).strip()}") from None
    places = [i for i, name in enumerate(header) if name in many]
    rest = {n: frame[i].to_numpy(object) for i, n in enumerate(header) if n not in many}
    return _columns(path, frame[places].to_numpy(np.float64), rest, data)


def _of_one(path: Path, name: str, data: Data) -> Columns:
    read = read_rows(path, data.columns or ())
    place, pictures = read.header.index(name), []
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # of what is no number
        for number, row in enumerate(read.rows, 1):
            try:
                pictures.append(np.fromstring(row[place], np.float64, sep=" "))
            except (ValueError, DeprecationWarning):
                raise DataError(
                    f"{path}: column '{name}' holds something else than numbers (row {number})"
                ) from None
    lengths = {len(picture) for picture in pictures}
    if len(lengths) > 1:
        odd = next(i for i, p in enumerate(pictures) if len(p) != len(pictures[0]))
        raise DataError(
            f"{path}: column '{name}' holds {len(pictures[0])} numbers in row 1 and "
            f"{len(pictures[odd])} in row {odd + 1}; all pictures have one size"
        )
    every = zip(read.header, zip(*read.rows, strict=True), strict=True)
    rest = {n: np.array(column, object) for n, column in every if n != name}
    return _columns(path, np.stack(pictures), rest, data)


def _columns(
    path: Path, pixels: NDArray[np.float64], rest: dict[str, NDArray[Any]], data: Data
) -> Columns:
    count = pixels.shape[1]
    grey, colour = math.isqrt(count), math.isqrt(count // 3)
    if grey**2 == count:
        shape: tuple[int, ...] = (grey, grey)
    elif 3 * colour**2 == count:
        shape = (colour, colour, 3)
    else:
        raise DataError(
            f"{path}: its rows have {count} pixels, which are no square, grey or of three colours; "
            "save them as an .npz with numpy.savez, and use source: arrays"
        )
    if not np.isfinite(pixels).all():
        row = int(np.flatnonzero(~np.isfinite(pixels).all(axis=1))[0]) + 1
        raise DataError(f"{path}: a pixel is no number (row {row})")
    if (pixels == np.round(pixels)).all() and pixels.min() >= 0 and pixels.max() <= 255:
        pixels = pixels.astype(np.uint8)
    of_all = f"pictures: {' x '.join(map(str, shape))}, of {count} pixels in a row"
    values = rest | {data.input_name(): pixels.reshape(len(pixels), *shape)}
    examples = [f"row {number}" for number in range(1, len(pixels) + 1)]
    return Columns(str(path), "column", examples, values, (of_all,))
