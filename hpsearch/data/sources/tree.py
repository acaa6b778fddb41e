"""Folders of class folders, below the folders of a split or not: seen from where files lie.

The same class names below several folders say that those folders are parts of a split, whatever
they are called; which of two such levels are the classes is then said by the names of the other.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hpsearch.data.account import LeftOut
from hpsearch.data.sources.published import role_of
from hpsearch.errors import DataError

Rel = tuple[str, ...]  # of a file: the folders above it, below the root, and its own name
LITTER = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})  # what systems leave behind
# Recordings of no word in "Speech Commands" (P. Warden, 2018), to be mixed into the others.
NOISE = "_background_noise_"
ALIKE = 0.5  # share of the classes of one part that another one has to have, too
REASONS = 6  # endings that are reasons of their own; the rest are counted together


@dataclass(frozen=True)
class Placed:
    """Files with the class and, where there are parts, the part that their folders say."""

    paths: list[Path]
    labels: list[str]
    parts: list[str] | None
    left_out: tuple[LeftOut, ...]
    decided: tuple[str, ...]


@dataclass
class _Folder:
    """What lies in a folder: how many files directly, and the folders that hold any."""

    direct: int = 0
    below: dict[str, _Folder] = field(default_factory=dict)


@dataclass(frozen=True)
class _Levels:
    """Where class folders are: below each of these folders, of which some may be parts.

    With `inner`, parts are folders below the class folders.
    """

    above: dict[Rel, str | None]
    inner: bool = False
    decided: tuple[str, ...] = ()


def files_below(
    root: Path, endings: Iterable[str], reads: Callable[[Path], bool]
) -> tuple[list[Path], list[Path]]:
    """Return the files below a folder that can be read, by name or by content, and all others.

    What is hidden, or left behind by a system, is no file of anybody's.
    """
    wanted, found, others = frozenset(endings), list[Path](), list[Path]()
    for place, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not _is_litter(name))
        for name in names:
            path = Path(place) / name
            if not _is_litter(name):
                known = path.suffix.lower() in wanted or reads(path)
                (found if known else others).append(path)
    return sorted(found), sorted(others)


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name in LITTER


def unread(others: list[Path], root: Path, noun: str) -> list[LeftOut]:
    """Return files that are not read, by their ending."""
    names = defaultdict(list)
    for path in others:
        ending = path.suffix.lower()
        reason = f"ending in {ending}" if ending else "without ending"
        names[f"{reason}, no {noun} that can be read"].append(path.relative_to(root).as_posix())
    ordered = sorted(names, key=lambda reason: -len(names[reason]))
    found = [LeftOut(reason, tuple(names[reason])) for reason in ordered[:REASONS]]
    rest = [name for reason in ordered[REASONS:] for name in names[reason]]
    return [*found, LeftOut(f"of other endings, no {noun}s", tuple(rest))] if rest else found


def placed(root: Path, paths: list[Path], noun: str, example: str) -> Placed:
    """Return the class, and the part where there are parts, of files below a folder."""
    rels = [path.relative_to(root).parts for path in paths]
    noise = tuple("/".join(rel) for rel in rels if NOISE in rel[:-1])
    paths = [path for path, rel in zip(paths, rels, strict=True) if NOISE not in rel[:-1]]
    rels = [rel for rel in rels if NOISE not in rel[:-1]]
    if not rels:
        _check_no_class_is_empty(root, set(), noun)
    levels = _levels(_tree(rels), (), root, noun, example)
    if not any(levels.above.values()):
        (above,) = levels.above
        full = {rel[len(above)] for rel in rels if rel[: len(above)] == above}
        _check_no_class_is_empty(root / Path(*above), full, noun)
    kept, labels, parts = [], [], []
    lost: dict[str, list[str]] = defaultdict(list)
    for path, rel in zip(paths, rels, strict=True):
        found = _place(levels, rel)
        if isinstance(found, str):
            lost[found].append("/".join(rel))
        else:
            kept.append(path)
            labels.append(found[0])
            parts.append(found[1])
    named = [part for part in parts if part is not None]
    left_out = tuple(LeftOut(reason, tuple(names)) for reason, names in lost.items())
    if noise:
        left_out = (*left_out, LeftOut(f"in {NOISE}, which is no class", noise))
    return Placed(kept, labels, named or None, left_out, levels.decided)


def _tree(rels: list[Rel]) -> _Folder:
    root = _Folder()
    for rel in rels:
        folder = root
        for name in rel[:-1]:
            folder = folder.below.setdefault(name, _Folder())
        folder.direct += 1
    return root


def _place(levels: _Levels, rel: Rel) -> tuple[str, str | None] | str:
    """Return class and part of a file, or why it has none."""
    for above, part in levels.above.items():
        if rel[: len(above)] == above:
            rest = rel[len(above) :]
            if len(rest) < 2 + levels.inner:
                return "beside the class folders"
            return rest[0], rest[1] if levels.inner else part
    return f"in {'/'.join(rel[:1])}, beside the folder(s) of classes"


def _check_no_class_is_empty(place: Path, full: set[str], noun: str) -> None:
    for folder in sorted(place.iterdir()):
        name = folder.name
        if folder.is_dir() and not _is_litter(name) and name not in full and name != NOISE:
            raise DataError(
                f"{folder}: holds no {noun}s; add some, or remove the empty class folder"
            )


def _levels(node: _Folder, above: Rel, root: Path, noun: str, example: str) -> _Levels:
    """Return where class folders are in a tree of which every folder holds files."""
    place = root / Path(*above)
    if not node.below:
        raise DataError(f"{place}: holds no class folders; expected {place}/CLASS/{example}")
    if len(node.below) == 1 and not node.direct:
        (name,) = node.below
        if len(node.below[name].below) > 1 and not node.below[name].direct:
            return _deciding(_levels(node.below[name], (*above, name), root, noun, example))
    opened = {name: _unwrapped(child, (*above, name)) for name, child in node.below.items()}
    classes = {n: f.below.keys() for n, (_, f) in opened.items() if f.below and not f.direct}
    parts = _alike(classes)
    if parts:
        return _two_levels({name: opened[name] for name in parts}, above, place)
    roles = {name: role_of(name) for name in node.below}
    teach = [name for name in classes if roles[name] == "train" and len(classes[name]) > 1]
    if len(teach) == 1:
        others = [name for name in node.below if name != teach[0]]
        if all(roles[name] for name in others):
            same = [name for name in classes if _shared(classes[name], classes[teach[0]])]
            if len(same) > 1:  # the audit tells where their classes are only nearly the same
                return _two_levels({name: opened[name] for name in same}, above, place)
            # pictures whose class nobody has named
            return _deciding(_Levels({opened[teach[0]][0]: None}))
        raise _either(place, above, [teach[0], *others], classes[teach[0]])
    if all(roles.values()):
        raise DataError(
            f"{place}: its folders are splits ({', '.join(sorted(node.below))}), not classes, and "
            f"have no class folders in common; expected {place}/{min(node.below)}/CLASS/{example}, "
            "or a data.pattern that tells the class from names of files"
        )
    return _Levels({above: None})


def _deciding(levels: _Levels) -> _Levels:
    if levels.decided or any(levels.above.values()):
        return levels
    (above,) = levels.above
    return _Levels(levels.above, False, (f"classes are the folders in {'/'.join(above)}",))


def _unwrapped(node: _Folder, above: Rel) -> tuple[Rel, _Folder]:
    """Return the folder in which class folders may be: below folders that hold one folder alone."""
    while len(node.below) == 1 and not node.direct:
        (name,) = node.below
        if not node.below[name].below:
            break
        node, above = node.below[name], (*above, name)
    return above, node


def _alike(classes: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the folders that hold folders of the same names, if two or more do."""
    sets = {name: set(below) for name, below in classes.items()}
    if not sets:
        return []
    most = max(sets, key=lambda name: len(sets[name]))

    def shares(name: str) -> bool:
        common = len(sets[name] & sets[most])
        return common >= 2 and common >= ALIKE * min(len(sets[name]), len(sets[most]))

    found = [name for name in sets if shares(name)]
    return found if len(found) > 1 else []


def _shared(one: Iterable[str], other: Iterable[str]) -> bool:
    """Whether two folders have a folder of one name, in capitals or not."""
    return not {name.casefold() for name in one}.isdisjoint(name.casefold() for name in other)


def _two_levels(opened: dict[str, tuple[Rel, _Folder]], above: Rel, place: Path) -> _Levels:
    """Return which of two levels are the classes; DataError where nothing tells."""
    counted = Counter(name for _, folder in opened.values() for name in folder.below)
    outer = all(role_of(name) for name in opened)
    inner = all(role_of(name) for name in counted)
    if outer and not inner:
        return _Levels({rel: name for name, (rel, _) in opened.items()})
    if inner and not outer:
        says = f"classes are {_few(opened)}, and the folders in them are parts of a split"
        return _Levels({above: None}, True, (says,))
    raise _either(place, above, opened, counted)


def _either(place: Path, above: Rel, outer: Iterable[str], inner: Iterable[str]) -> DataError:
    """Return the error that shows both readings of two levels, and the key that decides."""
    below = "[^/]+/" * len(above)
    return DataError(
        f"{place}: its folders ({_few(outer)}) or the folders in them ({_few(inner)}) may be the "
        "classes, and nothing tells which. Say it with data.pattern: "
        f"'{below}(?P<label>[^/]+)/.+' for {next(iter(outer))}, or "
        f"'{below}(?P<split>[^/]+)/(?P<label>[^/]+)/.+' for {next(iter(inner))}"
    )


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:4]) + (f" and {len(listed) - 4} more" if len(listed) > 4 else "")
