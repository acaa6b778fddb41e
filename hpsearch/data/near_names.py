"""Names of classes or labels that are nearly equal, or that programs write where one is missing."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from hpsearch.data.findings import Finding

NUMBER = re.compile(r"[+-]?\d{1,15}(\.\d{0,15})?")
SHOWN = 5
MISSING = frozenset({"nan", "null", "<na>", "#n/a"})  # as NumPy, SQL, pandas and Excel write it


def near_names_finding(
    outputs: tuple[str, ...], counts: NDArray[np.int64], word: str
) -> Finding | None:
    """Return which names are nearly equal, such as `1` and `1.0`, or `Cat` and `cat`.

    `counts` `(outputs, splits)` are their images. None where all names are different. Letters of
    an alphabet are classes of their own in both cases.
    """
    alike = defaultdict(list)
    for number, name in enumerate(outputs):
        alike[_essence(name)].append(number)
    found = [numbers for numbers in alike.values() if len(numbers) > 1]
    if not found:
        return None
    named = [" and ".join(f"'{outputs[i]}'" for i in numbers) for numbers in found]
    more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
    return Finding(
        "names-nearly-equal",
        int(counts[[i for numbers in found for i in numbers]].sum()),
        f"some {word} have nearly the same name: {', '.join(named[:SHOWN])}{more}",
        "write them alike where they are meant to be one",
    )


def missing_names_finding(
    outputs: tuple[str, ...], counts: NDArray[np.int64], word: str
) -> Finding | None:
    """Return which names may stand for a missing label; None where none does.

    `counts` `(outputs, splits)` are their images.
    """
    found = [number for number, name in enumerate(outputs) if name.casefold() in MISSING]
    if not found:
        return None
    named = " and ".join(f"'{outputs[i]}'" for i in found)
    return Finding(
        "names-of-missing-labels",
        int(counts[found].sum()),
        f"{word} are called {named}, as programs write a label that is missing",
        "leave such examples out where they have no label",
    )


def _essence(name: str) -> str:
    if NUMBER.fullmatch(name):
        return f"{float(name):g}" if "." in name else str(int(name))
    if len(name) == 1:
        return name
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name).casefold()).strip()
