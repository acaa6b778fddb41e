"""Lists of files that say which part of a split a file is in, as data sets are published with."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from hpsearch.data.sources.published import role_of
from hpsearch.errors import DataError

ENDINGS = (".txt", ".lst", ".list", ".csv", "")
LONGEST = 2**28  # bytes of a list
MATCHED = 0.9  # share of the lines that name a file, so that a text is a list of files
UNLISTED = "train (in no list)"


@dataclass(frozen=True)
class Listed:
    """The list that each file stands in, and the lists by their place; `unlisted` are in none."""

    parts: list[str]
    lists: list[str]
    unlisted: list[int]


def listed(root: Path, files: list[Path], others: list[Path]) -> Listed | None:
    """Return which list each of these files stands in; None where there are no lists of them.

    A list is named as a part of a split is, and nearly all of its lines name files: from the root
    or from a folder in it on, with or without their ending. What stands in no list teaches where
    no list says what does; else it is in no part. Raises DataError where a file is in two lists.
    """
    candidates = [path for path in others if _may_be_a_list(path)]
    if not candidates:
        return None
    index: dict[str, int] = {}
    for number, path in enumerate(files):
        rel = path.relative_to(root)
        for start in range(min(2, len(rel.parts))):
            name = "/".join(rel.parts[start:])
            index.setdefault(name, number)
            index.setdefault(name.removesuffix(path.suffix), number)
    parts: dict[int, Path] = {}
    found = []
    for path in candidates:
        numbers = _files_of(path, index)
        if not numbers:
            continue
        found.append(path)
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
    return Listed(names, places, unlisted if teaches else [])


def _may_be_a_list(path: Path) -> bool:
    ends = path.suffix.lower() in ENDINGS
    return ends and role_of(path.stem) is not None and 0 < path.stat().st_size < LONGEST


def _files_of(path: Path, index: dict[str, int]) -> list[int]:
    """Return the files that the lines of a text name; none where they name something else."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        return []
    lines = [line.strip().removeprefix("./") for line in lines if line.strip()]
    numbers = [_number(line, index) for line in lines]
    known = [number for number in numbers if number is not None]
    return known if len(known) >= MATCHED * max(1, len(lines)) else []


def _number(line: str, index: dict[str, int]) -> int | None:
    if line in index:
        return index[line]
    first = line.replace(",", " ").split()[:1]
    return index.get(first[0]) if first else None


def counted(found: Listed) -> str:
    """Return in words what the lists say, for the account."""
    sizes = Counter(found.parts)
    told = ", ".join(f"{name} {count:,}" for name, count in sizes.most_common())
    return f"parts are those of {' and '.join(found.lists)}: {told}"
