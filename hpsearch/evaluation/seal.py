"""The seal: who has seen which of a study's sealed examples, and whether it may be opened.

All of it follows from the ledger's record of openings, which outlives the studies that made it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from hpsearch.data.prepared import Prepared
from hpsearch.errors import SealError, UnreadableStudyError
from hpsearch.search.lineage import lineage
from hpsearch.storage.final_record import FinalRecord
from hpsearch.storage.openings import Opening
from hpsearch.storage.storage import Storage
from hpsearch.storage.studies import StudyRow
from hpsearch.study.spec import StudySpec

Hashes = NDArray[np.uint64]

THIS, CONTINUED, DELETED, ANOTHER = (
    "this study",
    "a study that this one continues",
    "deleted since",
    "another study",
)


@dataclass(frozen=True)
class Look:
    """An opening as one study sees it: whose it was, and how many of its sealed examples it showed.

    `shown` counts examples of the same content at their source, whatever was made of them.
    """

    opening: Opening
    whose: str
    shown: int


@dataclass(frozen=True)
class Leak:
    """Sealed examples of a study that taught or selected in one that it goes on or starts from."""

    study: str
    examples: int


@dataclass(frozen=True)
class Seal:
    """All openings that showed any of one study's sealed examples, oldest first.

    `looks` are those since it was made, those of the studies that it continues, with which it has
    one seal, those of studies that are still in the storage, and those of studies that are deleted,
    of this one's name, too. `sealed` is how many examples are sealed, and `seen` how many of them
    were shown by others than this study. `unknown` openings were on other data, and of a version
    that did not record which examples they showed.
    """

    looks: tuple[Look, ...] = ()
    sealed: int = 0
    seen: int = 0
    leaks: tuple[Leak, ...] = ()
    unknown: int = 0

    def of(self, *whose: str) -> tuple[Opening, ...]:
        """Return the openings of some, oldest first."""
        return tuple(look.opening for look in self.looks if look.whose in whose)

    @property
    def mine(self) -> tuple[Opening, ...]:
        """This study's own openings since it was made."""
        return self.of(THIS)

    @property
    def deleted(self) -> tuple[Opening, ...]:
        """Openings by studies that are gone, of this one's name or another."""
        return self.of(DELETED)

    @property
    def before(self) -> tuple[Opening, ...]:
        """Openings by anyone but this study."""
        return self.of(CONTINUED, DELETED, ANOTHER)

    @property
    def times(self) -> int:
        """How often any of these examples were shown, by anyone."""
        return len(self.looks)

    @property
    def is_honest(self) -> bool:
        """Whether validation has judged this study alone, once, and taught nothing."""
        return self.times == len(self.mine) == 1 and not self.leaks

    @property
    def result(self) -> FinalRecord | None:
        """What this study's newest opening that was measured to its end showed."""
        return next((o.result for o in reversed(self.mine) if o.measured), None)

    def history(self) -> list[tuple[Opening, str]]:
        """Return every opening, oldest first, and whose it was."""
        return [(look.opening, look.whose) for look in self.looks]

    def to_go_on_with(self, trial: int, open_again: bool) -> Opening | None:
        """Return the opening whose measurement of a trial did not end, None where one is to begin.

        Raises SealError where that would open what was opened before, by anyone, and `open_again`
        is not said.
        """
        unfinished = next((o for o in self.mine if not o.measured), None)
        if unfinished is not None and unfinished.trial_number == trial:
            return unfinished
        if open_again or not self.looks:
            return None
        if unfinished is not None:
            raise SealError(
                f"validation was opened for trial {unfinished.trial_number} and not measured to "
                f"the end; the choice is trial {trial} now. --open-again opens it a second time, "
                "and the report will say so"
            )
        raise SealError(
            f"{opened_words(self)} ('hpsearch audit' shows it; deleting a study does not undo it). "
            "--open-again opens it once more, and every report will say so"
        )

    @property
    def needs_asking(self) -> bool:
        """Whether a first final of this study would have to be asked for with --open-again."""
        return bool(self.looks) and not self.mine


def opened_words(seal: Seal) -> str:
    """Return in words by whom, when and for what validation was opened last, and how much of it."""
    look = seal.looks[-1]
    opening = look.opening
    when = datetime.fromtimestamp(opening.opened_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    what = "Validation of this data was"
    if look.shown < seal.sealed:
        what = f"{look.shown} of the {seal.sealed} examples of validation were"
    more = "" if seal.times == 1 else f", the last of {seal.times} times"
    return (
        f"{what} opened before, for trial {opening.trial_number} of study '{opening.study}' on "
        f"{when}{more}"
    )


OpenedBefore = Callable[[Seal, bool], bool]  # given a seal, and whether --open-again was said


def as_asked(seal: Seal, asked: bool) -> bool:
    """Return whether a seal is to be opened once more: where that was asked for."""
    return asked


def seal_of(storage: Storage, name: str) -> Seal:
    """Return all openings that showed any of a stored study's sealed examples."""
    row = storage.ledger.study(name)
    assert row is not None
    sealed = None if row.sealed_examples is None else storage.examples.of(row.sealed_examples)
    try:
        warm = row.spec.search.warm_start
    except UnreadableStudyError:
        warm = None
    size = _sealed(row, sealed)
    return _seal(storage, name, row.fingerprint, sealed, size, row.continues, warm)


def _sealed(row: StudyRow, sealed: Hashes | None) -> int:
    """Return how many sealed examples a study has; 1 for all of them where nothing tells."""
    try:
        return int(row.data_summary["totals"][2])
    except UnreadableStudyError:  # its openings are known all the same
        return 1 if sealed is None else len(sealed)


def seal_before(storage: Storage, spec: StudySpec, prepared: Prepared) -> Seal:
    """Return what `seal_of` will say of a study that need not be in the storage yet."""
    row = storage.ledger.study(spec.name)
    continues = spec.continues or (None if row is None else row.continues)
    sealed = None if prepared.contents is None else prepared.contents.sealed
    size, warm = prepared.totals[2], spec.search.warm_start
    return _seal(storage, spec.name, prepared.fingerprint, sealed, size, continues, warm)


def _seal(
    storage: Storage,
    name: str,
    fingerprint: str,
    sealed: Hashes | None,
    size: int,
    continues: str | None,
    warm_start: str | None,
) -> Seal:
    marks, made = storage.openings.marks(), storage.ledger.made_at()
    earlier = lineage(storage, continues)
    taught = list(dict.fromkeys([*earlier, *lineage(storage, warm_start)]))
    kinds = {(m.fingerprint, m.examples) for m in marks}  # fewer than openings
    shown = {kind: _shown(storage, *kind, fingerprint, sealed, size) for kind in kinds}
    seen = {m.id: shown[m.fingerprint, m.examples] for m in marks}
    looks, by_others = [], np.zeros(size, np.bool_)
    for opening in storage.openings.numbered([i for i, found in seen.items() if found.any()]):
        gone = opening.opened_at < made.get(opening.study, float("inf"))
        whose = CONTINUED if opening.study in earlier else DELETED if gone else ANOTHER
        if opening.study == name and not gone:
            whose = THIS
        else:
            by_others |= seen[opening.id]
        looks.append(Look(opening, whose, int(seen[opening.id].sum())))
    return Seal(
        looks=tuple(looks),
        sealed=size,
        seen=int(by_others.sum()),
        leaks=() if sealed is None else tuple(_leaks(storage, taught, sealed)),
        unknown=sum(m.examples is None and m.fingerprint != fingerprint for m in marks),
    )


def _shown(
    storage: Storage,
    of: str,
    examples: str | None,
    fingerprint: str,
    sealed: Hashes | None,
    size: int,
) -> NDArray[np.bool_]:
    """Return which of a study's sealed examples `(N,)` an opening of some data showed.

    Of the same data it showed all, which is also all that is known of openings by versions that
    did not record examples.
    """
    if of == fingerprint:
        return np.ones(size, np.bool_)
    if examples is None or sealed is None:
        return np.zeros(size, np.bool_)
    return np.isin(sealed, storage.examples.of(examples))


def _leaks(storage: Storage, earlier: list[str], sealed: Hashes) -> Iterator[Leak]:
    for study in earlier:
        row = storage.ledger.study(study)
        if row is not None and row.searched_examples is not None:
            taught = int(np.isin(sealed, storage.examples.of(row.searched_examples)).sum())
            if taught:
                yield Leak(study, taught)
