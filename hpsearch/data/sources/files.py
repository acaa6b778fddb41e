"""Folders and tables of files: which there are, what is known of each, and reading them all."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpsearch.data.account import Account, LeftOut
from hpsearch.data.sources.columns import Columns, joined, matched
from hpsearch.data.sources.decoded import Decoded
from hpsearch.data.sources.lists import counted, listed
from hpsearch.data.sources.published import COLUMN, part_names, published
from hpsearch.data.sources.tables import read_tables
from hpsearch.data.sources.tree import files_below, placed, unread
from hpsearch.errors import DataError
from hpsearch.study.data import Data
from hpsearch.study.splits import COLUMN_OF_ROOTS, Split

UNPACKED = "unpacked"  # in the scratch folder: files that lay in tables
BROKEN_REASON, MISSING_REASON = "cannot be decoded", "not there"
NOT_THERE = f"[Errno {errno.ENOENT}]"  # in the words of an OSError


@dataclass(frozen=True)
class FileKind:
    """What the files of a source are called, how their names end, and how else they are known.

    `reads` tells of a file of another name whether it is one, by its content.
    """

    noun: str
    example: str
    extensions: Collection[str]
    reads: Callable[[Path], bool] = lambda path: False


@dataclass(frozen=True)
class Listing:
    """Files in a fixed order, the columns of what is known of each, and what became of the others.

    `published` `(N,)` is the part that their authors gave them, as in `Decoded`. Where pages are
    examples, a file stands there for each of them, and `pages` `(N,)` count from 0.
    """

    paths: list[Path]
    columns: Columns
    account: Account
    published: NDArray[np.int64] | None = None
    tables: tuple[Path, ...] = ()  # that name these files
    pages: NDArray[np.int64] | None = None


def folder_listing(data: Data, root: Path | None, kind: FileKind) -> Listing:
    """Return the files of class folders, or all below `root` where the pattern tells the target.

    The column `label` is the class folder's name, and `split` the part, where folders or lists of
    files are parts; the pattern's named groups are columns too.
    """
    assert root is not None
    _check_folder(root, kind)
    paths, others = files_below(root, kind.extensions, kind.reads)
    found = len(paths) + len(others)
    in_names = re.compile(data.pattern or "").groupindex
    left_out, decided = unread(others, root, kind.noun), []
    tables: tuple[Path, ...] = ()
    if data.pattern is not None and set(data.target_names()) <= in_names.keys():
        if not paths:
            raise DataError(f"{root}: holds no {kind.noun}s")
        columns = matched(data.pattern, _names(root, paths), str(root))
    else:
        tree = placed(root, paths, kind.noun, kind.example)
        paths, decided = tree.paths, list(tree.decided)
        left_out += tree.left_out
        values = {"label": np.array(tree.labels, object)}
        if tree.parts is not None:
            values[COLUMN] = np.array(tree.parts, object)
        names = _names(root, paths)
        columns = Columns(str(root), "group of data.pattern", names, values)
        columns = _with_pattern(columns, data, names)
    if COLUMN not in columns.values and data.split.parts != "pooled":
        in_lists = listed(root, paths, others)
        if in_lists is not None:
            left_out = [_but_lists(left, in_lists.lists) for left in left_out]
            found -= len(in_lists.lists)  # they tell of files, and are read
            parts = np.array(in_lists.parts, object)
            columns = replace(columns, values=columns.values | {COLUMN: parts})
            decided.append(counted(in_lists))
            tables = tuple(root / name for name in in_lists.lists)
            if in_lists.unlisted:
                kept = np.setdiff1d(np.arange(len(paths)), in_lists.unlisted)
                lost = tuple(columns.examples[i] for i in in_lists.unlisted)
                left_out.append(LeftOut("in no list of a split", lost))
                paths, columns = [paths[i] for i in kept], columns.taking(kept)
    account = Account(found, len(paths), tuple(left for left in left_out if left.count))
    account = replace(account, things="files").deciding(*decided)
    return replace(_published(paths, columns, data, account), tables=tables)


def listing_of(data: Data, root: Path | None, one: Callable[[Data, Path], Listing]) -> Listing:
    """Return what `one` lists below a root, or below the roots of all parts in turn."""
    assert root is not None
    if data.roots is None:
        return one(data, root)
    alone = data.model_copy(update={"roots": None, "split": Split(parts="pooled")})
    found = [one(alone, Path(place)) for place in data.roots.places()]
    names = part_names(data)
    columns = [(name, listing.columns) for name, listing in zip(names, found, strict=True)]
    account = Account(
        sum(listing.account.found for listing in found),
        sum(listing.account.used for listing in found),
        tuple(left for listing in found for left in listing.account.left_out),
        tuple(dict.fromkeys(said for listing in found for said in listing.account.decided)),
        found[0].account.things,
    )
    every = replace(joined(columns, COLUMN_OF_ROOTS), decided=())  # the account has them
    paths = [path for listing in found for path in listing.paths]
    tables = tuple(path for listing in found for path in listing.tables)
    return replace(_published(paths, every, data, account), tables=tables)


def _names(root: Path, paths: list[Path]) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


def _but_lists(left: LeftOut, lists: list[str]) -> LeftOut:
    return replace(left, names=tuple(name for name in left.names if name not in lists))


def _published(paths: list[Path], columns: Columns, data: Data, account: Account) -> Listing:
    """Return a listing with the split that the authors of files made, if they made one."""
    split = published(columns, data)
    account = account.deciding(*columns.decided, *split.decided)
    if split.codes is None:
        return Listing(paths, columns, account)
    kept = np.flatnonzero(split.codes >= 0)
    for left in split.left_out:
        account = account.without(left.reason, left.names)
    paths, columns = [paths[i] for i in kept], columns.taking(kept)
    return Listing(paths, columns, account, split.codes[kept])


def table_listing(data: Data, table: Path, noun: str, scratch: Path | None = None) -> Listing:
    """Return the files that a table names; relative paths begin at the table's own folder.

    Files that lie in the table itself are written into `scratch`.
    """
    read = read_tables(table, data)
    columns = read.columns
    values = columns.of(data.input_name(), "input")
    account = Account(len(columns), len(columns), things="rows")
    if any(isinstance(value, bytes) for value in values):
        paths, written = _unpacked(columns, values, scratch)
        columns = _with_pattern(columns, data, written)
        return replace(_published(paths, columns, data, account), tables=read.files)
    written = [str(name).strip() for name in values]
    empty = np.array([not name for name in written])
    columns.refuse(data.input_name(), empty, "is empty", f"name a file of {noun}s in every row")
    suffix = data.suffix or ""
    written = [name if name.endswith(suffix) else f"{name}{suffix}" for name in written]
    above = [read.base / place for place in _places(columns, data)]
    paths = [place / name for place, name in zip(above, written, strict=True)]
    # A NUL, which no name has, is a ValueError to the system, not a missing file.
    missing = [i for i, p in enumerate(paths) if "\0" in written[i] or not p.is_file()]
    if missing and data.on_broken == "error":
        first = missing[0]
        raise DataError(
            f"{table}: {len(missing)} of {len(paths)} file(s) in column '{data.input_name()}' are "
            f"not there, such as {paths[first]} ({columns.examples[first]}); relative paths begin "
            f"at {above[first]}{_elsewhere(read.base, above[first], written[first])}"
        )
    columns = _with_pattern(columns, data, written)
    return replace(_published(paths, columns, data, account), tables=read.files)


def _places(columns: Columns, data: Data) -> list[str]:
    """Return the folder of each file; `{fold}` in data.files is what column `fold` holds."""
    files = data.files or ""
    named = re.findall(r"\{(\w+)\}", files)
    if not named:
        return [files] * len(columns)
    values = [columns.of(name, "files") for name in named]
    every = zip(*values, strict=True)
    return [files.format(**dict(zip(named, map(str, row), strict=True))) for row in every]


def _unpacked(
    columns: Columns, values: NDArray[Any], scratch: Path | None
) -> tuple[list[Path], list[str]]:
    """Write the files of a table into a folder, and return where, and what they are called."""
    written = [name.replace("/", " ") for name in columns.examples]
    if scratch is None:
        return [Path(name) for name in written], written
    place = scratch / UNPACKED
    place.mkdir(exist_ok=True)
    paths = [place / f"{number:08}" for number in range(len(values))]
    for path, content in zip(paths, values, strict=True):
        path.write_bytes(content if isinstance(content, bytes) else b"")
    return paths, written


def _elsewhere(base: Path, above: Path, name: str) -> str:
    """Return what to say in the study where a file lies elsewhere, or has an ending; or nothing."""
    if "\0" in name:
        return ""
    places = [above, *(p for p in sorted(base.iterdir()) if p.is_dir())]
    for place in places:
        ends = [""] if (place / name).is_file() else []
        with contextlib.suppress(OSError):
            last = Path(name).name
            beside = (place / name).parent
            ends += sorted(p.name[len(last) :] for p in beside.glob(f"{glob.escape(last)}.*"))
        if ends:
            files = [] if place == above else [f"files: {place.relative_to(base)}"]
            keys = [*files, *([f"suffix: {ends[0]}"] if ends[0] else [])]
            return f"; say {' and '.join(f'data.{key}' for key in keys)}"
    return ""


def _with_pattern(columns: Columns, data: Data, names: list[str]) -> Columns:
    """Return columns and, beside them, those that the pattern finds in file names."""
    if data.pattern is None:
        return columns
    found = matched(data.pattern, names, columns.place).values
    twice = found.keys() & columns.values.keys()
    if twice:
        raise DataError(
            f"{columns.place}: data.pattern: there is a column '{min(twice)}' already; give the "
            "named group another name"
        )
    return replace(columns, values=columns.values | found)


def _check_folder(root: Path, kind: FileKind) -> None:
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise DataError(
            f"data.root: {root} {what}; name the folder that holds one folder of {kind.noun}s per "
            "class"
        )


def stamp_of(listing: Listing, root: Path | None) -> str:
    """Return lines that change when one of these files does, or others are left out."""

    def lines() -> Iterator[str]:
        yield str(root and root.resolve())
        base = root.parent if root is not None and root.is_file() else root or Path()
        for table in listing.tables:
            yield f"{os.path.relpath(table, base)} {file_stamp(table)}"
        yield str(listing.account.left_out)
        for path in listing.paths:
            yield f"{os.path.relpath(path, base)} {file_stamp(path)}"

    return "\n".join(lines())


def file_stamp(path: Path) -> str:
    """Return size and time of a file, or that it is not there."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"


def without_broken(
    decoded: Decoded, broken: list[tuple[int, str]], data: Data, noun: str
) -> Decoded:
    """Return decoded data without the examples that are broken, which it then names.

    Raises DataError where the study does not say to leave them out.
    """
    if not broken:
        return decoded
    if data.on_broken == "error":
        shown = "\n  ".join(problem for _, problem in broken[:5])
        more = f"\n  and {len(broken) - 5} more" if len(broken) > 5 else ""
        raise DataError(
            f"{len(broken)} {noun}(s) cannot be decoded:\n  {shown}{more}\n"
            "Mend or remove them, or leave them out with data.on_broken: skip"
        )
    left_out = {i for i, _ in broken}
    counted = decoded.account or Account(len(decoded.targets), len(decoded.targets))
    kept = [i for i in range(len(decoded.targets)) if i not in left_out]
    for place, i in enumerate(kept):  # within the mapped file: it need not fit into memory
        if place != i:
            decoded.images[place] = decoded.images[i]
    return replace(
        decoded,
        images=decoded.images[: len(kept)],
        targets=decoded.targets[kept],
        contents=decoded.contents[kept],
        groups=None if decoded.groups is None else decoded.groups[kept],
        published=None if decoded.published is None else decoded.published[kept],
        names=[decoded.names[i] for i in kept] if len(decoded.names) else (),
        content=None if decoded.content is None else decoded.content[kept],
        account=_without_reasons(counted, [problem for _, problem in broken]),
    )


def _without_reasons(account: Account, problems: list[str]) -> Account:
    """Return an account without files that are broken, and those that are not there apart."""
    lost = tuple(problem for problem in problems if NOT_THERE in problem)
    broken = tuple(problem for problem in problems if NOT_THERE not in problem)
    return account.without(MISSING_REASON, lost).without(BROKEN_REASON, broken)
