"""The confirmations of a study: its finalists trained again, as the ledger keeps them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, and_, exists, insert, select, update
from sqlalchemy.exc import IntegrityError

from hpsearch.storage.leases import Lease, fresh, is_held, taken_over
from hpsearch.storage.retry import Retry, retried
from hpsearch.storage.schema import CONFIRM_SLOT, confirmations, leases, now_s, reading, studies

MOST_SEEDS = 100  # of a finalist; leaves each training a slot of its own


@dataclass(frozen=True)
class Confirmation:
    """A training of a finalist that has ended.

    `score` is its test metric, None where it came to none, for a `reason`. `result` has the rest:
    curve, seed, device, and what it was right about (see `search.finalist_training`).
    """

    trial_number: int
    repeat: int  # 0 ... seeds - 1
    result: dict[str, Any]

    @property
    def score(self) -> float | None:
        return self.result.get("score")

    @property
    def reason(self) -> str | None:
        return self.result.get("reason")


def confirm_slot(trial_slot: int, repeat: int) -> int:
    """Return the slot of the lease on a finalist's training: the same whoever asks for it."""
    return CONFIRM_SLOT - (trial_slot * MOST_SEEDS + repeat)


def confirmed_by(slot: int) -> tuple[int, int]:
    """Return of which trial's slot, and which repeat, a lease is the confirmation."""
    return divmod(CONFIRM_SLOT - slot, MOST_SEEDS)


@dataclass(frozen=True)
class Confirmations:
    """Leases and writes the trainings of finalists; every method is one short transaction."""

    engine: Engine
    retry: Retry

    @retried
    def of(self, study: str) -> list[Confirmation]:
        """Return what has ended in a study, in no order that means anything."""
        query = select(confirmations).where(confirmations.c.study == study)
        with reading(self.engine) as connection:
            rows = connection.execute(query.order_by(confirmations.c.slot)).all()
        return [Confirmation(r.trial_number, r.repeat, json.loads(r.result)) for r in rows]

    @retried
    def running(self, study: str) -> list[tuple[int, int]]:
        """Return of which trials' slots workers train which repeats now."""
        query = select(leases.c.slot).where(
            leases.c.study == study,
            leases.c.slot <= CONFIRM_SLOT,
            ~leases.c.done,
            leases.c.expires_at >= now_s(),
        )
        with reading(self.engine) as connection:
            slots = connection.execute(query.order_by(leases.c.slot.desc())).scalars().all()
        return [confirmed_by(slot) for slot in slots]

    @retried
    def claim(self, study: str, slot: int, worker: str) -> Lease | None:
        """Return the lease on a training, None while another holds it, or where it has ended."""
        mine = and_(leases.c.study == study, leases.c.slot == slot)
        free = and_(mine, ~leases.c.done, leases.c.expires_at < now_s())
        try:
            with self.engine.begin() as connection:
                taken = update(leases).where(free).values(taken_over(worker))
                attempts = connection.execute(taken.returning(leases.c.attempts)).scalar()
                lease = Lease(study, slot, None, worker, attempts or 1)
                if attempts is None:
                    connection.execute(insert(leases).values(fresh(lease)))
        except IntegrityError:
            return None
        return lease

    @retried
    def write(self, lease: Lease, trial_number: int, result: dict[str, Any]) -> bool:
        """Write what a training came to, and end its lease; False where another worker has it."""
        _, repeat = confirmed_by(lease.slot)
        with self.engine.begin() as connection:
            ended = connection.execute(update(leases).where(is_held(lease)).values(done=True))
            if ended.rowcount != 1:
                return False
            connection.execute(
                insert(confirmations).values(
                    study=lease.study,
                    slot=lease.slot,
                    trial_number=trial_number,
                    repeat=repeat,
                    result=json.dumps(result),
                    ended_at=now_s(),
                )
            )
        return True

    @retried
    def end(self, study: str) -> None:
        """Say that no finalist is to be trained again any more, unless a worker is at one."""
        held = exists().where(
            leases.c.study == study,
            leases.c.slot <= CONFIRM_SLOT,
            ~leases.c.done,
            leases.c.expires_at >= now_s(),
        )
        with self.engine.begin() as connection:
            over = update(studies).where(studies.c.name == study, ~held)
            connection.execute(over.values(confirm_due=False))
