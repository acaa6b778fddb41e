"""Entering a study with all that it starts from: what is tried first, and what is taken over."""

from __future__ import annotations

from hpsearch.data.prepared import Prepared
from hpsearch.errors import StudyNotFoundError
from hpsearch.search.starts import first_lines, keep_starts, starts_in, starts_of
from hpsearch.search.stored_study import enter_study, read_stored_study
from hpsearch.search.warm_start import (
    SUMMARY,
    WarmStart,
    keep_warm_start,
    warm_lines,
    warm_start_of,
)
from hpsearch.storage.storage import Storage
from hpsearch.study.spec import StudySpec


def enter(storage: Storage, spec: StudySpec, prepared: Prepared) -> None:
    """Create a study as `enter_study` does, with what it starts from, or go on with it.

    A study that is there keeps what it started from. Raises StudyNotFoundError where the study that
    it starts from is not in the storage.
    """
    if storage.ledger.study(spec.name) is not None:
        enter_study(storage, spec, prepared)
        return
    warm = find_warm_start(storage, spec, prepared)
    starts = starts_of(spec, prepared, () if warm is None else warm.best)

    def keep() -> None:
        keep_starts(storage, spec.name, starts)
        if warm is not None:
            keep_warm_start(storage, spec.name, warm)

    enter_study(storage, spec, prepared, keep)


def find_warm_start(storage: Storage, spec: StudySpec, prepared: Prepared) -> WarmStart | None:
    """Return what a study would take over; None where it starts from no other one."""
    if spec.search.warm_start is None:
        return None
    try:
        earlier = read_stored_study(storage, spec.search.warm_start)
    except StudyNotFoundError as error:
        raise StudyNotFoundError(f"search.warm_start: {error}") from None
    return warm_start_of(spec, prepared, earlier)


def start_lines(storage: Storage, name: str) -> list[str]:
    """Return in words what a stored study took over, and what it tries besides the defaults."""
    warm = warm_lines(storage.known(name).user_attrs.get(SUMMARY))
    trials = storage.row(name).spec.trial_budget()
    return warm + first_lines(starts_in(storage, name) or [], trials)
