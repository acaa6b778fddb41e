"""The rows of a CSV or TSV file: every one, or an error that names the line and what decides.

A quote mark at the beginning of a field may quote it, so that it may hold line breaks (RFC 4180),
or be a character of a text like any other. Files of both kinds are about, and a reader that takes
one for the other loses rows without a word.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from hpsearch.errors import DataError

MARKS = (",", ";", "\t")
BROKEN_ZIP = (EOFError, gzip.BadGzipFile, zlib.error)
LONGEST_FIELD = 2**31 - 1  # characters; Python's own limit of 131,072 is below what texts have


@dataclass(frozen=True)
class Rows:
    """The fields of each row, as many as `header` names; `decided` says how quotes were read."""

    header: list[str]
    rows: list[list[str]]
    decided: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Reading:
    """What one way of reading makes of a file.

    `lines` are those on which the rows begin, `spans` rows that go over several, and `problem` is
    why it cannot be read so, from `line` on.
    """

    rows: list[list[str]]
    lines: list[int]
    spans: list[int]
    problem: str | None = None
    line: int = 0


def read_rows(path: Path, columns: tuple[str, ...] = (), quotes: bool | None = None) -> Rows:
    """Return all rows of a UTF-8 file, packed (.gz) or not, divided by commas, semicolons or tabs.

    `columns` names those of a file without a header. `quotes` says whether quote marks quote; it is
    seen from the file where only one of the two gives rows of one length. Raises DataError.
    """
    try:
        mark = _separator(path, len(columns))
        quoted = _read(path, mark, columns, quotes is not False)
        decided: tuple[str, ...] = ()
        if quotes is None and (quoted.problem is not None or quoted.spans):
            plain = _read(path, mark, columns, False)
            quoted, decided = _decided(path, quoted, plain, 0 if columns else 1)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 ({error.reason}); save it as UTF-8") from None
    except (csv.Error, *BROKEN_ZIP) as error:
        raise DataError(f"{path}: is not a table: {error}") from None
    if quoted.problem is not None:
        raise DataError(f"{path}: is not a table: line {quoted.line}: {quoted.problem}")
    if not quoted.rows:
        raise DataError(f"{path}: is not a table: No columns to parse from file")
    first, rest = quoted.rows[0], quoted.rows[1:]
    if columns and first != list(columns):
        first, rest = list(columns), quoted.rows
    return Rows(_distinct([name.strip() for name in first]), rest, decided)


def _decided(
    path: Path, quoted: _Reading, plain: _Reading, heads: int
) -> tuple[_Reading, tuple[str, ...]]:
    """Return the one reading that a file allows; DataError shows both where it allows two."""
    if quoted.problem is None and (plain.problem is not None or not _is_likely(quoted, plain)):
        return quoted, ()
    lone = next((i for i, row in enumerate(plain.rows) if any(map(_opens, row))), None)
    if plain.problem is not None or lone is None:
        return quoted, ()  # it says what is wrong
    whole = any(_is_quoted(field) for row in plain.rows for field in row)
    begun = sum(any(map(_opens, row)) for row in plain.rows)
    line, count = plain.lines[lone], len(plain.rows) - heads
    if quoted.problem is not None and not whole and begun <= count / 2:
        says = (
            f"quote marks are characters of the texts: {begun} of {count} rows have "
            f"a field that begins with one and does not end so, the first in line {line}"
        )
        return plain, (says,)
    if quoted.problem is not None:
        other = f"read as quotes, {quoted.problem} (line {quoted.line})"
    else:
        line = quoted.lines[quoted.spans[0]]
        rows = len(quoted.rows) - heads
        other = f"read as quotes, it runs over several lines, and there are {rows} rows"
    raise DataError(
        f"{path}: is not a table: line {line}: a field begins with a quote mark; {other}; read as "
        f"characters there are {count} rows. Say data.quotes: true or false, or mend the "
        "line: two quote marks stand for one within a quoted field"
    )


def _is_likely(quoted: _Reading, plain: _Reading) -> bool:
    """Whether lines that quotes join to one row look like rows of their own as well.

    They do not where a field of them is empty.
    """
    at = dict(zip(plain.lines, plain.rows, strict=True))
    for number in quoted.spans:
        end = quoted.lines[number + 1] if number + 1 < len(quoted.lines) else plain.lines[-1] + 1
        rows = [at[line] for line in range(quoted.lines[number], end) if line in at]
        if all(field for row in rows for field in row):
            return True
    return False


def _opens(field: str) -> bool:
    """Whether a field begins as quoted ones do, and does not end so."""
    return field.startswith('"') and not _is_quoted(field)


def _is_quoted(field: str) -> bool:
    inside = field[1:-1].replace('""', "")
    return len(field) > 1 and field[0] == field[-1] == '"' and '"' not in inside


def _read(path: Path, mark: str, columns: tuple[str, ...], quotes: bool) -> _Reading:
    csv.field_size_limit(LONGEST_FIELD)
    found = _Reading([], [], [])
    wanted, before = len(columns), 0
    with opened(path) as file:
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
        reader = csv.reader(file, delimiter=mark, quoting=quoting, strict=True)
        try:
            for row in reader:
                line, before = before + 1, reader.line_num
                if not row:
                    continue
                wanted = wanted or len(row)
                if len(row) != wanted:
                    has = f"has {len(row)} field(s), and {wanted} are expected"
                    return _Reading(found.rows, found.lines, found.spans, has, line)
                if reader.line_num > line:
                    found.spans.append(len(found.rows))
                found.rows.append(row)
                found.lines.append(line)
        except csv.Error as error:
            says = str(error)
            if "unexpected end" in says:
                says = "a quote mark opens a field, and none closes it to the end of the file"
            elif "expected after" in says:
                says = f"a quote mark that closes a field is followed by something else ({says})"
            return _Reading(found.rows, found.lines, found.spans, says, before + 1)
    return found


def opened(path: Path) -> IO[str]:
    """Return a file of text, unpacked where it is packed, with its line ends as they are."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _separator(path: Path, columns: int) -> str:
    """Return what separates the columns: whichever of , ; TAB gives the first line most of them.

    Where their number is known, whichever gives so many.
    """
    with opened(path) as file:
        head = file.readline(1 << 16)

    def fields(mark: str) -> tuple[bool, int]:
        count = len(next(csv.reader([head], delimiter=mark), []))
        return count == columns, count

    return max(MARKS, key=fields)


def _distinct(header: list[str]) -> list[str]:
    """Return a header of which every name is another: `a`, `a.1`, and `Unnamed: 0` for none."""
    return list(_names(header))


def _names(header: list[str]) -> Iterator[str]:
    seen: dict[str, int] = {}
    for place, written in enumerate(header):
        name = written or f"Unnamed: {place}"
        times = seen.get(name, 0)
        seen[name] = times + 1
        yield f"{name}.{times}" if times else name
