"""Named columns: what a table, an `.npz` or a pattern of file names says of each example."""

from __future__ import annotations

import csv
import gzip
import re
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpsearch.errors import DataError

Values = NDArray[Any]
BROKEN_ZIP = (EOFError, gzip.BadGzipFile, zlib.error)


@dataclass(frozen=True)
class Columns:
    """Values by name, one for each of `examples`, whose own names stand in messages.

    `place` says where the columns come from and `noun` what they are called there. Values are text
    in object arrays, as a table holds it, or arrays of numbers `(N,)` or `(N, numbers)`.
    """

    place: str
    noun: str
    examples: Sequence[str]
    values: dict[str, Values]

    def __len__(self) -> int:
        return len(self.examples)

    def of(self, name: str, key: str) -> Values:
        """Return the values of one name; DataError says which there are, `key` who asked."""
        if name not in self.values:
            close = get_close_matches(name, self.values, n=1, cutoff=0.75)
            hint = f"did you mean '{close[0]}'?" if close else f"it has {_listed(self.values)}"
            raise DataError(f"{self.place}: data.{key}: there is no {self.noun} '{name}'; {hint}")
        return self.values[name]

    def refuse(self, name: str, wrong: NDArray[np.bool_], what: str, instead: str) -> None:
        """Raise DataError where any value is wrong; it names the first, and says how many."""
        rows = np.flatnonzero(wrong)
        if len(rows):
            more = f", and {len(rows) - 1} more like it" if len(rows) > 1 else ""
            raise DataError(
                f"{self.place}: {self.noun} '{name}' {what} ({self.examples[rows[0]]}{more}); "
                f"{instead}"
            )


def _listed(names: Sequence[str] | dict[str, Values]) -> str:
    shown = ", ".join(f"'{name}'" for name in list(names)[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown or "none"


def read_table(path: Path) -> Columns:
    """Return the columns of a CSV file with a header, every value as the text that stands there.

    UTF-8, packed (.gz) or not, separated by commas, semicolons or tabs as its header is. Raises
    DataError where it is no such file.
    """
    import pandas as pd  # half a second to import, and needed for tables alone

    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"data.root: {path} {what}; name a CSV file with a header")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                path,
                sep=_separator(path),
                dtype=str,
                keep_default_na=False,
                encoding="utf-8-sig",
                index_col=False,
            )
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 ({error.reason}); save it as UTF-8") from None
    except (ValueError, pd.errors.ParserWarning, csv.Error, *BROKEN_ZIP) as error:
        raise DataError(f"{path}: is not a table: {str(error).strip()}") from None
    if not len(frame):
        raise DataError(f"{path}: holds no rows below its header {', '.join(frame.columns)}")
    values = {str(name): frame[name].fillna("").to_numpy(object) for name in frame.columns}
    rows = [f"row {number}" for number in range(1, len(frame) + 1)]
    return Columns(str(path), "column", rows, values)


def _separator(path: Path) -> str:
    """Return what separates the columns of a table: whichever of , ; TAB its header has most of."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rb") as file:
        header = file.readline(1 << 16)
    return max((",", ";", "\t"), key=lambda mark: header.count(mark.encode()))


def matched(pattern: str, names: Sequence[str], place: str) -> Columns:
    """Return what the named groups of a pattern find at the end of each file's name.

    The pattern has to match the name, or the name and some folders above it, from their beginning
    to their end; DataError names a file that it does not match.
    """
    compiled = re.compile(rf"(?:^|/)(?:{pattern})$")
    found = [compiled.search(name) for name in names]
    strangers = [name for name, match in zip(names, found, strict=True) if match is None]
    if strangers:
        raise DataError(
            f"{place}: {len(strangers)} of {len(names)} file(s) do not match data.pattern "
            f"{pattern!r}, such as {strangers[0]}; mend the pattern, or move them elsewhere"
        )
    values = {
        group: np.array([match[group] or "" for match in found if match is not None], object)
        for group in compiled.groupindex
    }
    return Columns(place, "group of data.pattern", names, values)
