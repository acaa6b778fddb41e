"""Folders and tables of files: which there are, what is known of each, and reading them all."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpsearch.data.account import Account
from hpsearch.data.sources.columns import Columns, matched, read_table
from hpsearch.data.sources.decoded import Decoded
from hpsearch.errors import DataError
from hpsearch.study.data import Data

SPLIT_NAMES = frozenset({"train", "training", "test", "testing", "val", "valid", "validation"})

BROKEN_REASON = "cannot be decoded"


@dataclass(frozen=True)
class FileKind:
    """What the files of a source are called, and how their names end."""

    noun: str
    example: str
    extensions: Collection[str]


@dataclass(frozen=True)
class Listing:
    """Files in a fixed order, and the columns of what is known of each.

    Where pages are examples, a file stands there for each of them, and `pages` `(N,)` count from 0.
    """

    paths: list[Path]
    columns: Columns
    pages: NDArray[np.int64] | None = None


def folder_listing(data: Data, root: Path | None, kind: FileKind) -> Listing:
    """Return the files of class folders, or all below `root` where the pattern tells the target.

    The column `label` is the class folder's name; the pattern's named groups are columns too.
    """
    assert root is not None
    in_names = re.compile(data.pattern or "").groupindex
    if data.pattern is not None and set(data.target_names()) <= in_names.keys():
        _check_folder(root, kind)
        paths = files_below(root, kind)
        names = [path.relative_to(root).as_posix() for path in paths]
        return Listing(paths, matched(data.pattern, names, str(root)))
    folders = _class_folders(root, kind)
    found = [(path, folder.name) for folder in folders for path in files_below(folder, kind)]
    names = [path.relative_to(root).as_posix() for path, _ in found]
    labels = {"label": np.array([label for _, label in found], object)}
    columns = Columns(str(root), "group of data.pattern", names, labels)
    return Listing([path for path, _ in found], _with_pattern(columns, data, names))


def table_listing(data: Data, table: Path, noun: str) -> Listing:
    """Return the files that a table names; relative paths begin at the table's own folder."""
    columns = read_table(table, data)
    written = [str(name).strip() for name in columns.of(data.input_name(), "input")]
    empty = np.array([not name for name in written])
    columns.refuse(data.input_name(), empty, "is empty", f"name a file of {noun}s in every row")
    paths = [table.parent / name for name in written]
    # A NUL, which no name has, is a ValueError to the system, not a missing file.
    missing = [i for i, p in enumerate(paths) if "\0" in written[i] or not p.is_file()]
    if missing and data.on_broken == "error":
        first = missing[0]
        raise DataError(
            f"{table}: {len(missing)} of {len(paths)} file(s) in column '{data.input_name()}' are "
            f"not there, such as {paths[first]} (row {first + 1}); relative paths begin at "
            f"{table.parent}"
        )
    return Listing(paths, _with_pattern(columns, data, written))


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


def _class_folders(root: Path, kind: FileKind) -> list[Path]:
    _check_folder(root, kind)
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not folders:
        raise DataError(f"{root}: holds no class folders; expected {root}/CLASS/{kind.example}")
    if {p.name.lower() for p in folders} <= SPLIT_NAMES:
        raise DataError(
            f"{root}: its folders are splits ({', '.join(p.name for p in folders)}), not classes; "
            f"name one of them, such as {folders[0]}: hpsearch splits the {kind.noun}s itself"
        )
    return folders


def files_below(folder: Path, kind: FileKind) -> list[Path]:
    """Return the files of a kind in a folder and below it, hidden ones left out, by name."""
    found = sorted(
        Path(place) / name
        for place, _, names in os.walk(folder)
        if not any(part.startswith(".") for part in Path(place).relative_to(folder).parts)
        for name in names
        if Path(name).suffix.lower() in kind.extensions and not name.startswith(".")
    )
    if not found:
        raise DataError(
            f"{folder}: holds no {kind.noun}s; add some, or remove the empty class folder"
        )
    return found


def stamp_of(paths: list[Path], root: Path | None) -> str:
    """Return lines that change when one of these files does."""

    def lines() -> Iterator[str]:
        yield str(root and root.resolve())
        base = root.parent if root is not None and root.is_file() else root or Path()
        if root is not None and root.is_file():
            yield file_stamp(root)
        for path in paths:
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
        names=[decoded.names[i] for i in kept] if len(decoded.names) else (),
        content=None if decoded.content is None else decoded.content[kept],
        account=counted.without(BROKEN_REASON, tuple(problem for _, problem in broken)),
    )
