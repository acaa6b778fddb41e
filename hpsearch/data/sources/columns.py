"""Named columns: what a table, an `.npz` or a pattern of file names says of each example."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpsearch.data.sources.rows import read_rows
from hpsearch.errors import DataError
from hpsearch.study.data import Data

Values = NDArray[Any]


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
    decided: tuple[str, ...] = ()  # how all of them were read, for the account

    def __len__(self) -> int:
        return len(self.examples)

    def of(self, name: str, key: str) -> Values:
        """Return the values of one name; DataError says which there are, `key` who asked."""
        if name not in self.values:
            close = get_close_matches(name, self.values, n=1, cutoff=0.75)
            hint = f"did you mean '{close[0]}'?" if close else f"it has {_listed(self.values)}"
            raise DataError(f"{self.place}: data.{key}: there is no {self.noun} '{name}'; {hint}")
        return self.values[name]

    def taking(self, rows: NDArray[np.int64]) -> Columns:
        """Return the columns of some of the examples."""
        values = {name: column[rows] for name, column in self.values.items() if len(column)}
        examples = [self.examples[row] for row in rows]
        return replace(self, examples=examples, values=self.values | values)

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


def read_table(path: Path, data: Data) -> Columns:
    """Return the columns of a CSV file, every value as the text that stands there.

    As `read_rows` reads it; DataError where it is no such file.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"data.root: {path} {what}; name a CSV file with a header")
    read = read_rows(path, data.columns or (), data.quotes)
    if not read.rows:
        raise DataError(f"{path}: holds no rows below its header {', '.join(read.header)}")
    values = {
        name: np.array(column, object)
        for name, column in zip(read.header, zip(*read.rows, strict=True), strict=True)
    }
    names = [f"row {number}" for number in range(1, len(read.rows) + 1)]
    return Columns(str(path), "column", names, values, read.decided)


def joined(several: Sequence[tuple[str, Columns]], column: str) -> Columns:
    """Return the columns of several places one after the other; `column` names the place of each.

    Raises DataError where a column is not in all of them.
    """
    first = several[0][1]
    for place, columns in several:
        other = sorted(columns.values.keys() ^ first.values.keys())
        if other:
            raise DataError(
                f"{place}: {first.noun} '{other[0]}' is not in all of {len(several)} parts"
            )
    values = {n: np.concatenate([c.values[n] for _, c in several]) for n in first.values}
    values[column] = np.repeat(
        np.array([p for p, _ in several], object), [len(c) for _, c in several]
    )
    examples = [f"{place}: {example}" for place, c in several for example in c.examples]
    decided = tuple(dict.fromkeys(said for _, c in several for said in c.decided))
    return Columns(first.place, first.noun, examples, values, decided)


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
