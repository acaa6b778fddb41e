"""Lists of files that say which part of a split a file is in, as data sets are published with."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from hpsearch.data.sources.published import role_of
from hpsearch.errors import DataError

ENDINGS = (".txt", ".lst", ".list", ".csv", "")
LONGEST = 2**28  # bytes of a list
MATCHED = 0.5  # share of the lines that name a file, so that a text is a list of files
UNLISTED = "train (in no list)"


@dataclass(frozen=True)
class Listed:
    """The list that each file stands in, and the lists by their place; `unlisted` are in none.

    `unknown` are names in a list that no file has.
    """

    parts: list[str]
    lists: list[str]
    unlisted: list[int]
    unknown: list[str]


def listed(root: Path, files: list[Path], others: list[Path]) -> Listed | None:
    """Return which list each of these files stands in; None where there are no lists of them.

    A list is named as a part of a split is, and most of its lines name files: from the root or
    from a folder in it on, with or without their ending, where only one file has that name. What
    stands in no list teaches where no list says what does; else it is in no part. Raises DataError
    where a file is in two lists.
    """
    candidates = [path for path in others if _may_be_a_list(path)]
    if not candidates:
        return None
    index = _by_name(root, files)
    parts: dict[int, Path] = {}
    found, unknown = [], []
    for path in candidates:
        numbers, strangers = _files_of(path, index)
        if not numbers:
            continue
        found.append(path)
        unknown += strangers
        for number in numbers:
            if number in parts and parts[number] != path:
                one, other = (p.relative_to(root) for p in (parts[number], path))
                raise DataError(
                    f"{root}: {files[number].relative_to(root)} is in two lists of a split, {one} "
                    f"and {other}; mend them, or move those away that do not count"
                )
            parts[number] = path
    if not found:
        return None
    unlisted = [number for number in range(len(files)) if number not in parts]
    names = [parts[i].stem if i in parts else UNLISTED for i in range(len(files))]
    teaches = any(role_of(path.stem) == "train" for path in found)
    places = [path.relative_to(root).as_posix() for path in found]
    return Listed(names, places, unlisted if teaches else [], unknown)


def _by_name(root: Path, files: list[Path]) -> dict[str, int]:
    """Return the number of each file by the names that lists may give it, where one alone has it.

    `1.png` is no name where two folders have one; the whole name always is.
    """
    index: dict[str, int] = {}
    short: dict[str, int | None] = {}
    for number, path in enumerate(files):
        rel = path.relative_to(root)
        index[rel.as_posix()] = number
        for start in range(min(2, len(rel.parts))):
            name = "/".join(rel.parts[start:])
            for written in {name, name.removesuffix(path.suffix)}:
                short[written] = None if written in short else number
    return {name: number for name, number in short.items() if number is not None} | index


def _may_be_a_list(path: Path) -> bool:
    ends = path.suffix.lower() in ENDINGS
    return ends and role_of(path.stem) is not None and 0 < path.stat().st_size < LONGEST


def _files_of(path: Path, index: dict[str, int]) -> tuple[list[int], list[str]]:
    """Return the files that the lines of a text name, and the lines that name none.

    No files where most lines name something else.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        return [], []
    lines = [line.strip().removeprefix("./") for line in lines if line.strip()]
    numbers = [_number(line, index) for line in lines]
    known = [number for number in numbers if number is not None]
    if len(known) < MATCHED * max(1, len(lines)):
        return [], []
    return known, [line for line, n in zip(lines, numbers, strict=True) if n is None]


def _number(line: str, index: dict[str, int]) -> int | None:
    """Return the file that a line names, alone or before its label: a name may hold spaces."""
    before = line.replace(",", " ")
    for name in (line, before.rpartition(" ")[0].strip(), before.split(" ")[0]):
        if name in index:
            return index[name]
    return None


def counted(found: Listed) -> str:
    """Return in words what the lists say, for the account."""
    sizes = Counter(found.parts)
    if found.unlisted:
        del sizes[UNLISTED]  # it is left out
    stated = ", ".join(f"{name} {count:,}" for name, count in sizes.most_common())
    says = f"parts are those of {' and '.join(found.lists)}: {stated}"
    if found.unknown:
        says += f"; {len(found.unknown):,} lines name no file that is there: {found.unknown[0]}"
        says += ", ..." if len(found.unknown) > 1 else ""
    return says
