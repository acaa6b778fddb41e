"""Where the data of a study lies on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from hpsearch.errors import DataError
from hpsearch.study.data import ROOTS, Data
from hpsearch.study.splits import COLUMN_OF_ROOTS, Roots


def data_root(data: Data, override: str | Path | None, is_part: bool = False) -> Path | None:
    """Return where the data lies; None where it needs no place.

    A relative `data.root` is looked for below `override`, beside the study file, below
    HPSEARCH_DATA and in the working folder, in this order; where it is in none of them, `override`
    or HPSEARCH_DATA is the data itself, unless it `is_part` of it. Raises DataError with all places
    that were looked at.
    """
    named = os.environ.get("HPSEARCH_DATA") or None
    if data.root is None or Path(data.root).is_absolute():
        given = None if is_part else override or named
        return Path(given) if given else None if data.root is None else Path(data.root)
    places = [Path(override)] if override else []
    if not override:
        places += [Path(data.beside)] if data.beside else []
        places += [Path(named)] if named else []
        places.append(Path())
    for place in places:
        if (place / data.root).exists():
            return place / data.root
    itself = override or named
    if itself is None or is_part:
        return _lost(data, [place / data.root for place in places])
    is_file = data.source in ("table", "arrays", "text")
    if is_file and Path(itself).is_dir():
        return _lost(data, [place / data.root for place in places])
    if Path(itself).exists() or data.source not in ROOTS:
        return Path(itself)
    return _lost(data, [*(place / data.root for place in places), Path(itself)])


def placed(data: Data, override: str | Path | None) -> tuple[Data, Path | None]:
    """Return the data with the places of its parts as they are on this machine, and its root.

    Where it has parts, the root is that of train, and the split is by them.
    """
    if data.roots is None:
        return data, data_root(data, override)
    found = {}
    for part, written in data.roots.model_dump(exclude_none=True).items():
        of_part = data_root(
            data.model_copy(update={"root": written, "roots": None}), override, True
        )
        assert of_part is not None, "it has a root"
        found[part] = str(of_part.absolute())
    split = data.split
    if split.parts == "published":
        split = split.model_copy(update={"parts": data.roots.parts(), "column": COLUMN_OF_ROOTS})
    roots = Roots(**found)
    return data.model_copy(update={"roots": roots, "split": split}), Path(roots.train)


def _lost(data: Data, places: list[Path]) -> Path:
    """Return the last place of data that may be fetched to it; DataError for any other."""
    if data.source not in ROOTS:
        return places[-1]
    tried = ", ".join(dict.fromkeys(str(place.absolute()) for place in places))
    raise DataError(
        f"data.root: {data.root} does not exist; looked for it at {tried}. {ROOTS[data.source]}; "
        "say where it lies with --data or HPSEARCH_DATA"
    )
