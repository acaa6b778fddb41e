"""Splits that the authors of data made: which of their parts teaches, selects and is sealed.

What others call valid or dev selects, and is **test** here; what they call test is sealed, and is
**validation** here. Where they held out one part only, that one is sealed.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hpsearch.data.account import LeftOut
from hpsearch.data.sources.columns import Columns
from hpsearch.errors import DataError
from hpsearch.study.data import Data
from hpsearch.study.splits import Parts

Role = Literal["train", "dev", "test"]
COLUMN = "split"  # of the part that an example is in, where the study names no other
MOST_PARTS = 8  # that have names; more of them are classes or texts
OURS = ("train", "test (selects)", "validation (sealed)")
WORDS: dict[str, Role] = {
    **dict.fromkeys(("train", "training", "trainset", "trn", "trainval", "learn"), "train"),
    **dict.fromkeys(("valid", "val", "validation", "valset", "dev", "development", "eval"), "dev"),
    **dict.fromkeys(("test", "testing", "testset", "tst", "heldout", "holdout"), "test"),
}


@dataclass(frozen=True)
class Published:
    """Which examples are in which part: 0 train, 1 test, 2 validation `(N,)`, -1 in none.

    `codes` is None where the split is ours to make. `left_out` are those of no part.
    """

    codes: NDArray[np.int64] | None = None
    left_out: tuple[LeftOut, ...] = ()
    decided: tuple[str, ...] = ()


def role_of(name: str) -> Role | None:
    """Return what the name of a part says of it: `seg_train`, `train2017`, `PublicTest`, `dev`."""
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    found = {WORDS[word] for word in words if word in WORDS}
    return next(iter(found)) if len(found) == 1 else None


def part_names(data: Data) -> list[str]:
    """Return what the parts of data with a root for each are called: as the study writes them."""
    assert data.roots is not None
    parts = data.split.parts
    if isinstance(parts, Parts):
        return [name for names in (parts.train, parts.test, parts.validation) for name in names]
    return list(data.roots.places())


def published(columns: Columns, data: Data) -> Published:
    """Return the split that authors of data made; DataError where it is not clear which is which.

    It stands in the column that the study names, or in `split`, or in the one that holds names of
    parts alone, such as `Usage`.
    """
    if data.split.parts == "pooled":
        return Published()
    column = data.split.column or (COLUMN if COLUMN in columns.values else _of_parts(columns, data))
    if column is None:
        return Published()
    values = columns.of(column, "split.column")
    if values.ndim != 1:
        raise DataError(f"{columns.place}: {columns.noun} '{column}' names no part of each example")
    names = np.array([str(value).strip() for value in values.tolist()], object)
    counted = Counter(names.tolist())
    of_part = _codes_of(counted, data.split.parts, columns.place)
    if of_part is None:
        return Published()
    codes = np.array([of_part.get(name, -1) for name in names], np.int64)
    nowhere = [name for name in counted if name not in of_part]
    left_out = tuple(
        LeftOut(f"in part '{name}', not named in split.parts", _named(columns, names, name))
        for name in nowhere
    )
    where = "" if column in (COLUMN, data.split.column) else f" in column '{column}'"
    return Published(codes, left_out, (_mapping(counted, of_part, where),))


def _of_parts(columns: Columns, data: Data) -> str | None:
    """Return the one column whose values are all names of parts, of which one teaches."""
    taken = {*data.target_names(), data.groups}
    found = [
        name
        for name, values in columns.values.items()
        if name not in taken and _are_parts(values, len(columns))
    ]
    return found[0] if len(found) == 1 else None


def _are_parts(values: NDArray[Any], count: int) -> bool:
    if values.shape != (count,) or values.dtype.kind not in "OU" or not count:
        return False
    if not isinstance(values[0], str) or role_of(values[0]) is None:
        return False
    names = {str(value).strip() for value in values.tolist()}
    roles = {role_of(name) for name in names} if len(names) <= MOST_PARTS else {None}
    return None not in roles and "train" in roles and len(roles) > 1


def _named(columns: Columns, names: NDArray[Any], name: str) -> tuple[str, ...]:
    return tuple(columns.examples[i] for i in np.flatnonzero(names == name).tolist())


def _codes_of(counted: Counter[str], parts: str | Parts, place: str) -> dict[str, int] | None:
    """Return which part of ours each of theirs is, None where there is but one."""
    if isinstance(parts, Parts):
        given = (parts.train, parts.test, parts.validation)
        unknown = [name for names in given for name in names if name not in counted]
        if unknown:
            raise DataError(
                f"{place}: data.split.parts: there is no part '{unknown[0]}'; there are "
                f"{_listed(counted)}"
            )
        return {name: code for code, names in enumerate(given) for name in names}
    roles = {name: role_of(name) for name in counted}
    if set(roles.values()) == {"train"}:
        return None
    public = {name for name in roles if roles[name] == "test" and "public" in name.lower()}
    private = {name for name in roles if roles[name] == "test" and "private" in name.lower()}
    if public and private:  # as in competitions: the public part is looked at all the time
        roles |= dict.fromkeys(public, "dev")
    if None in roles.values() or "train" not in roles.values():
        raise DataError(
            f"{place}: its parts are {_listed(counted)}, and their names do not say which of them "
            "teaches, which selects and which is sealed; say data.split: {parts: {train: [...], "
            "test: [...], validation: [...]}}, or parts: pooled, to split all of it by shares"
        )
    sealed: Role = "test" if "test" in roles.values() else "dev"
    return {n: 0 if r == "train" else 2 if r == sealed else 1 for n, r in roles.items()}


def _listed(counted: Counter[str]) -> str:
    names = [f"'{name}' ({count:,})" for name, count in counted.most_common(8)]
    return ", ".join(names) + (f" and {len(counted) - 8} more" if len(counted) > 8 else "")


def _mapping(counted: Counter[str], of_part: dict[str, int], where: str) -> str:
    """Return in words which of their parts is which of ours."""
    stated = []
    for code, ours in enumerate(OURS):
        theirs = [name for name, its in of_part.items() if its == code]
        images = sum(counted[name] for name in theirs)
        whose = " and ".join(f"'{name}'" for name in theirs)
        cut = "cut from train, for its authors held out one part only"
        stated.append(f"{ours} = their {whose} ({images:,})" if theirs else f"{ours}: {cut}")
    return f"split as published{where}: {'; '.join(stated)}"
