"""The confirmations of a study: its finalists trained again, as the ledger keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Row, and_, exists, insert, select, update
from sqlalchemy.sql.elements import ColumnElement

from hpsearch.storage.leases import Lease, is_held
from hpsearch.storage.records import ConfirmationRecord
from hpsearch.storage.retry import Retry, retried
from hpsearch.storage.schema import FINALIST, confirmations, leases, now_s, reading, studies


@dataclass(frozen=True)
class Confirmation:
    """A training of a finalist that has ended, and what it came to."""

    trial_number: int
    repeat: int  # 0 ... seeds - 1
    result: ConfirmationRecord

    @property
    def score(self) -> float | None:
        return self.result.score

    @property
    def reason(self) -> str | None:
        return self.result.reason


@dataclass(frozen=True)
class Confirmations:
    """Reads and writes the trainings of finalists; every method is one short transaction."""

    engine: Engine
    retry: Retry

    @retried
    def of(self, study: str) -> list[Confirmation]:
        """Return what has ended in a study, in no order that means anything.

        Raises StudyFileError where a record cannot be read.
        """
        order = (confirmations.c.slot.desc(), confirmations.c.repeat.desc())
        query = select(confirmations).where(confirmations.c.study == study).order_by(*order)
        with reading(self.engine) as connection:
            rows = connection.execute(query).all()
        return [_confirmation(row) for row in rows]

    @retried
    def running(self, study: str) -> list[tuple[int, int]]:
        """Return of which trials' slots workers train which repeats now."""
        order = (leases.c.slot, leases.c.repeat)
        query = select(*order).where(_running(study)).order_by(*order)
        with reading(self.engine) as connection:
            return [(row.slot, row.repeat) for row in connection.execute(query)]

    @retried
    def write(self, lease: Lease, trial_number: int, result: ConfirmationRecord) -> bool:
        """Write what a training came to, and end its lease; False where another worker has it."""
        with self.engine.begin() as connection:
            ended = connection.execute(update(leases).where(is_held(lease)).values(done=True))
            if ended.rowcount != 1:
                return False
            connection.execute(
                insert(confirmations).values(
                    study=lease.study,
                    slot=lease.slot,
                    repeat=lease.repeat,
                    trial_number=trial_number,
                    result=result.written(),
                    ended_at=now_s(),
                )
            )
        return True

    @retried
    def end(self, study: str) -> None:
        """Say that no finalist is to be trained again any more, unless a worker is at one."""
        with self.engine.begin() as connection:
            over = update(studies).where(studies.c.name == study, ~exists().where(_running(study)))
            connection.execute(over.values(confirm_due=False))


def _confirmation(row: Row[Any]) -> Confirmation:
    what = f"its trial {row.trial_number}, trained again with seed {row.repeat + 1}"
    result = ConfirmationRecord.read(row.result, what)
    return Confirmation(row.trial_number, row.repeat, result)


def _running(study: str) -> ColumnElement[bool]:
    """Whether a lease is on a finalist of a study that a worker trains now."""
    return and_(
        leases.c.study == study,
        leases.c.kind == FINALIST,
        ~leases.c.done,
        leases.c.expires_at >= now_s(),
    )
