"""The audit of data that was just decoded and split: copies, labels, blank images, balance.

It runs while data is prepared, the only time at which all three splits may be looked at together;
later its findings are read back. Test and validation images that have a copy in another split are
moved into train, because a score on pictures that a network was taught says nothing; so what the
audit shows of them is train by then. Those of parts that were published so stay, and are named.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpsearch.data.copies import find_copies
from hpsearch.data.findings import write_audit
from hpsearch.data.lookalikes import lookalike_count, lookalike_words
from hpsearch.data.oddities import (
    EXAMPLES,
    NAMES,
    TEST,
    TRAIN,
    VALIDATION,
    Audited,
    across_splits,
    audit_of,
    pair_line,
    sets_of,
    straddles,
    write_pairs,
)
from hpsearch.data.sources.decoded import Decoded
from hpsearch.data.split import Assignment
from hpsearch.errors import DataError
from hpsearch.study.data import Data, Text

MOST_MOVED = 0.5  # of a split; what is left would be no fair sample any more


def audited(
    decoded: Decoded,
    assignment: Assignment,
    data: Data,
    place: Path,
    refused: Path,
    groups: NDArray[Any] | None = None,
    pictures: bool = True,
) -> Assignment:
    """Return the split with copies on one side of it, and write what was found into `place`.

    `groups` names the group `(N,)` of every image, where there are any: one that holds a copy moves
    whole. `pictures` is False where bytes are symbols. Raises DataError where the study refuses
    copies, or where so many would move that little were left; `refused` is the contact sheet then.
    """
    copies = find_copies(decoded.images, pictures, decoded.content)
    n = len(decoded.images)
    before = np.empty(n, np.int64)
    for number, rows in enumerate((assignment.train, assignment.test, assignment.validation)):
        before[rows] = number
    copied, after = sets_of(n, copies.pairs), before.copy()
    apart = straddles(copied, before)
    if data.duplicates == "together":
        together = copied if groups is None else sets_of(n, copies.pairs, groups)
        moved = np.isin(together, together[apart])
        if decoded.published is not None:  # what its authors hold out is what others report on
            moved &= decoded.published == TRAIN
        after[moved] = TRAIN
    alphabet = (data.text or Text()).alphabet if data.source == "text" else ""
    found = Audited(decoded, copies, groups, copied, before, after, alphabet)
    if data.duplicates == "refuse" and apart.any():
        why = f"{apart.sum()} images have a copy in another split"
        _refuse(found, why, "together, or allow", refused)
    _check_enough_stays(found, refused)
    write_audit(place, audit_of(found, data, place))
    train, test, validation = (np.flatnonzero(after == number) for number in range(3))
    return Assignment(train=train, test=test, validation=validation)


def _refuse(found: Audited, why: str, choices: str, sheet: Path) -> None:
    across = np.flatnonzero(across_splits(found.before, found.copies))
    write_pairs(found, across, sheet, "Copies across splits")
    lines = "".join(f"\n  {pair_line(found, i, found.before)}" for i in across[:EXAMPLES])
    more = f"\n  and {len(across) - EXAMPLES} more pairs" if len(across) > EXAMPLES else ""
    images = len(found.before)
    lookalikes = lookalike_count(found.copies, images)
    if lookalikes:
        raise DataError(
            f"{why}:{lines}{more}\n{lookalike_words(lookalikes, images)}: are they copies at all? "
            "If not, choose data.duplicates: allow, or name data.groups where images belong "
            f"together; remove those that are (all pairs: {sheet})"
        )
    raise DataError(
        f"{why}:{lines}{more}\nRemove copies (all pairs: {sheet}), name data.groups where images "
        f"belong together, or choose data.duplicates: {choices}"
    )


def _check_enough_stays(found: Audited, sheet: Path) -> None:
    """Refuse a split from which moving copies would take too much."""
    decoded, before, after = found.decoded, found.before, found.after
    for split in (TEST, VALIDATION):
        had, has = before == split, after == split
        moved = int(had.sum() - has.sum())
        if moved > MOST_MOVED * had.sum():
            why = (
                f"{moved} of {had.sum()} {NAMES[split]} images have copies in another split, or "
                "belong to those that do; too many to move into train"
            )
            _refuse(found, why, "allow", sheet)
        if moved and decoded.task == "single-label":
            kept = np.bincount(decoded.targets[has], minlength=len(decoded.outputs))
            if not kept.all():
                name = decoded.outputs[int(kept.argmin())]
                why = f"every {NAMES[split]} image of class '{name}' has a copy in another split"
                _refuse(found, why, "allow", sheet)
