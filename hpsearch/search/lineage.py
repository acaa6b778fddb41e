"""Studies that continue earlier ones: which they are, and that they are of the same data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpsearch.data.prepared import Prepared
from hpsearch.errors import StudyMismatchError, StudyNotFoundError
from hpsearch.storage.storage import Storage
from hpsearch.storage.studies import StudyRow
from hpsearch.study.spec import StudySpec

Hashes = NDArray[np.uint64]
PARTS = ("train", "test", "the sealed part")


def lineage(storage: Storage, continues: str | None) -> list[str]:
    """Return the studies that one which `continues` another goes back to, the nearest first.

    A study that is deleted is the last of them: what it continued is not known any more.
    """
    found: list[str] = []
    while continues is not None and continues not in found:
        found.append(continues)
        row = storage.ledger.study(continues)
        continues = None if row is None else row.continues
    return found


def check_continues(storage: Storage, spec: StudySpec, prepared: Prepared) -> None:
    """Make sure that a study can continue the one it names: it is there, and of the same data.

    Once it has been entered as its continuation, it is. Raises StudyNotFoundError where the storage
    knows no such study, and StudyMismatchError with what differs.
    """
    earlier, known = spec.continues, storage.ledger.study(spec.name)
    if earlier is None or (known is not None and known.continues == earlier):
        return
    if spec.name in lineage(storage, earlier):
        raise StudyMismatchError(
            f"continues: '{earlier}' goes back to '{spec.name}' itself; name an earlier study"
        )
    row = storage.ledger.study(earlier)
    differences = (
        _from_openings(storage, earlier, prepared)
        if row is None
        else _from_row(storage, row, prepared)
    )
    if differences:
        raise StudyMismatchError(
            f"study '{spec.name}' continues '{earlier}', and their data is not the same:\n  "
            + "\n  ".join(differences)
            + "\nGive both the same data and split, or leave continues out"
        )


def _from_row(storage: Storage, row: StudyRow, prepared: Prepared) -> list[str]:
    """Return how the parts of prepared data differ from those of a study that is there."""
    if row.fingerprint == prepared.fingerprint:
        return []
    if row.sealed_examples is None or row.searched_examples is None or prepared.contents is None:
        return [_unknown(row.name)]
    found = []
    was, now = row.data_summary["totals"], list(prepared.totals)
    for part, before, after in zip(PARTS, was, now, strict=True):
        if before != after:
            found.append(f"{part}: was {before} examples, now {after}")
    for part, digest, mine in (
        ("train and test", row.searched_examples, prepared.contents.searched),
        (PARTS[2], row.sealed_examples, prepared.contents.sealed),
    ):
        found += _others(part, storage.examples.of(digest), mine)
    return found


def _from_openings(storage: Storage, earlier: str, prepared: Prepared) -> list[str]:
    """Return how validation differs from what a study that is gone has opened last."""
    left = [mark for mark in storage.openings.marks() if mark.study == earlier]
    if not left:
        known = ", ".join(storage.study_names()) or "none yet"
        raise StudyNotFoundError(
            f"continues: {storage.shown} holds no study '{earlier}'; studies here: {known}"
        )
    if left[-1].fingerprint == prepared.fingerprint:
        return []
    if left[-1].examples is None or prepared.contents is None:
        return [_unknown(earlier)]
    return _others(PARTS[2], storage.examples.of(left[-1].examples), prepared.contents.sealed)


def _others(part: str, was: Hashes, now: Hashes) -> list[str]:
    """Return in words how many examples of a part are others than before; nothing for none."""
    if np.array_equal(np.sort(was), np.sort(now)):
        return []
    gone, new = (~np.isin(was, now)).sum(), (~np.isin(now, was)).sum()
    return [f"{part}: {new} of its {len(now)} examples were not in it, and {gone} are gone from it"]


def _unknown(earlier: str) -> str:
    return (
        f"the fingerprint is another, and which examples '{earlier}' held was not recorded by the "
        "version that made it; launch it once more, or give both the same image size"
    )
