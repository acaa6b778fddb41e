"""Leases on the trials of studies: who may run what, until when.

Claims are single UPDATE statements, so that any number of workers share one budget.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, and_, exists, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.elements import ColumnElement

from hpsearch.storage.retry import Retry, retried
from hpsearch.storage.schema import (
    FINAL_SLOT,
    SCHEMA_VERSION,
    check_same,
    leases,
    now_s,
    reading,
    stored_version,
    studies,
    workers,
)
from hpsearch.storage.studies import OPEN, PAUSED, STOPPED, tick, time_left_s

LEASE_S = 60.0  # without renewal for so long, a trial may be taken over
MAX_ATTEMPTS = 5  # workers that may die on a trial, one after the other, before it counts as failed


@dataclass(frozen=True)
class Lease:
    """The right of one worker to run the trial of one slot until it expires.

    Slots below `FINAL_SLOT` are those of finalists that are trained again; they have no trial.
    """

    study: str
    slot: int
    trial_id: int | None
    worker: str
    attempts: int


class LeaseLostError(Exception):
    """Another worker has the lease, so that nothing may be written for it any more."""


@dataclass(frozen=True)
class Pulse:
    """What a worker has to know of its study while it trains."""

    state: str
    time_left_s: float | None  # None without a timeout
    kept_s: float  # of it, for what comes after what is leased
    schema: int = SCHEMA_VERSION  # of the storage now


@dataclass(frozen=True)
class Held:
    """A lease that a worker holds, seen from outside. Times in seconds."""

    lease: Lease
    idle_s: float  # since a batch was last over
    runs_s: float


@dataclass(frozen=True)
class Leases:
    """Reads and writes leases; every method is one short transaction."""

    engine: Engine
    retry: Retry

    @retried
    def claim(self, study: str, worker: str, edition: float | None = None) -> Lease | None:
        """Return a lease on a trial: one whose worker died, else a new one within the budget.

        None where the study has nothing to claim, or is not open, or was launched or made anew
        since the `edition` that the worker knows.
        """
        is_open = and_(
            studies.c.name == study,
            studies.c.state == OPEN,
            *([] if edition is None else [studies.c.edition == edition]),
        )
        return self._take_over(study, worker, is_open) or self._claim_new(study, worker, is_open)

    def _claim_new(self, study: str, worker: str, is_open: ColumnElement[bool]) -> Lease | None:
        with self.engine.begin() as connection:
            claimed = connection.execute(
                update(studies)
                .where(is_open, studies.c.claimed < studies.c.trials)
                .values(claimed=studies.c.claimed + 1)
                .returning(studies.c.claimed)
            ).scalar()
            if claimed is None:
                return None
            lease = Lease(study, claimed - 1, None, worker, attempts=1)
            connection.execute(insert(leases).values(fresh(lease)))
            return lease

    def _take_over(self, study: str, worker: str, is_open: ColumnElement[bool]) -> Lease | None:
        free = and_(
            leases.c.study == study,
            leases.c.slot >= 0,
            ~leases.c.done,
            leases.c.expires_at < now_s(),
        )
        first = select(func.min(leases.c.slot)).where(free).scalar_subquery()
        with self.engine.begin() as connection:
            row = connection.execute(
                update(leases)
                .where(free, leases.c.slot == first, exists().where(is_open))
                .values(taken_over(worker))
                .returning(leases.c.slot, leases.c.trial_id, leases.c.attempts)
            ).first()
        return None if row is None else Lease(study, row.slot, row.trial_id, worker, row.attempts)

    @retried
    def claim_final(self, study: str, worker: str) -> Lease | None:
        """Return the lease on a study's final: one whose worker died, else a new one.

        None while another holds it, and while the study is paused, stopped or not there. `worker`
        has to be a name that no other claim has: whoever lost the lease must not be taken for the
        one that has it now, though they be one process.
        """
        mine = and_(leases.c.study == study, leases.c.slot == FINAL_SLOT)
        free = and_(mine, ~leases.c.done, leases.c.expires_at < now_s())
        goes_on = select(stored_version()).where(
            studies.c.name == study, studies.c.state.not_in((PAUSED, STOPPED))
        )
        try:
            with self.engine.begin() as connection:
                schema = connection.execute(goes_on).scalar()
                if schema is None:
                    return None
                check_same(schema, self.retry.shown)
                taken = update(leases).where(free).values(taken_over(worker))
                attempts = connection.execute(taken.returning(leases.c.attempts)).scalar()
                lease = Lease(study, FINAL_SLOT, None, worker, attempts or 1)
                if attempts is not None:
                    return lease
                again = update(leases).where(mine, leases.c.done).values(fresh(lease))
                if connection.execute(again).rowcount == 0:
                    connection.execute(insert(leases).values(fresh(lease)))
        except IntegrityError:
            return None
        return lease

    @retried
    def conclude(self, lease: Lease, state: str) -> bool:
        """End the lease on a final and set its study's state; False where another has it by now."""
        with self.engine.begin() as connection:
            ended = update(leases).where(is_held(lease)).values(done=True)
            if connection.execute(ended).rowcount != 1:
                return False
            connection.execute(
                update(studies).where(studies.c.name == lease.study).values(state=state, note="")
            )
        return True

    @retried
    def set_trial(self, lease: Lease, trial_id: int) -> None:
        """Note which trial of Optuna's a lease is about."""
        self._update_lease(lease, trial_id=trial_id)

    @retried
    def renew(self, lease: Lease, batches: bool = True, epochs: bool = False) -> Pulse | None:
        """Prolong a lease, and let the study's time go by; None where another worker has it by now.

        `batches` and `epochs` say whether any was over since it was renewed last.
        """
        values: dict[str, Any] = {"expires_at": now_s() + LEASE_S}
        if batches or epochs:
            values["progress_at"] = now_s()
        if epochs:
            values["attempts"] = 1
        with self.engine.begin() as connection:
            renewed = update(leases).where(is_held(lease)).values(values)
            if connection.execute(renewed).rowcount != 1:
                return None
            connection.execute(
                update(workers).where(workers.c.name == lease.worker).values(seen_at=now_s())
            )
            tick(connection, lease.study)
            row = connection.execute(
                select(
                    studies.c.state,
                    time_left_s().label("left"),
                    studies.c.final_s,
                    studies.c.confirm_s,
                    stored_version().label("schema"),
                ).where(studies.c.name == lease.study)
            ).first()
        if row is None:
            return None
        kept_s = row.final_s + (row.confirm_s if lease.slot >= 0 else 0.0)
        return Pulse(row.state, row.left, kept_s, row.schema)

    @retried
    def finish(self, lease: Lease) -> None:
        """Say that the trial of a lease has ended."""
        self._update_lease(lease, done=True)

    @retried
    def give_back(self, lease: Lease) -> None:
        """Let another worker take the trial at once, as if this one had never tried."""
        self._update_lease(lease, worker="", expires_at=0.0, attempts=leases.c.attempts - 1)

    @retried
    def expire_worker(self, worker: str) -> None:
        """Let others take what a worker held that is known to be dead."""
        with self.engine.begin() as connection:
            held = and_(leases.c.worker == worker, ~leases.c.done)
            connection.execute(update(leases).where(held).values(expires_at=0.0))

    def _update_lease(self, lease: Lease, **values: Any) -> bool:
        with self.engine.begin() as connection:
            changed = connection.execute(update(leases).where(is_held(lease)).values(values))
            return changed.rowcount == 1

    @retried
    def held_by(self, names: Collection[str]) -> list[Held]:
        """Return the leases on trials and finalists that these workers hold."""
        query = select(
            leases,
            (now_s() - leases.c.progress_at).label("idle_s"),
            (now_s() - leases.c.begun_at).label("runs_s"),
        ).where(leases.c.worker.in_(names), ~leases.c.done, leases.c.slot != FINAL_SLOT)
        with reading(self.engine) as connection:
            rows = connection.execute(query).all()
        return [
            Held(Lease(r.study, r.slot, r.trial_id, r.worker, r.attempts), r.idle_s, r.runs_s)
            for r in rows
        ]

    @retried
    def unfinished(self, study: str) -> tuple[set[int], set[int]]:
        """Return Optuna's ids of trials begun and not ended: (held by a worker, interrupted)."""
        held = (leases.c.expires_at >= now_s()).label("held")
        with reading(self.engine) as connection:
            rows = connection.execute(
                select(leases.c.trial_id, held).where(
                    leases.c.study == study, ~leases.c.done, leases.c.trial_id.is_not(None)
                )
            ).all()
        return {r.trial_id for r in rows if r.held}, {r.trial_id for r in rows if not r.held}


def fresh(lease: Lease) -> dict[str, Any]:
    """Return the row of a lease that begins now."""
    return {
        "study": lease.study,
        "slot": lease.slot,
        "worker": lease.worker,
        "expires_at": now_s() + LEASE_S,
        "begun_at": now_s(),
        "progress_at": now_s(),
        "attempts": 1,
        "done": False,
    }


def taken_over(worker: str) -> dict[str, Any]:
    """Return what changes in the row of a lease that another worker takes over."""
    return {
        "worker": worker,
        "expires_at": now_s() + LEASE_S,
        "begun_at": now_s(),
        "progress_at": now_s(),
        "attempts": leases.c.attempts + 1,
    }


def is_held(lease: Lease) -> ColumnElement[bool]:
    return and_(
        leases.c.study == lease.study,
        leases.c.slot == lease.slot,
        leases.c.worker == lease.worker,
        ~leases.c.done,
    )


def keep(connection: Connection, lease: Lease) -> None:
    """Prolong a lease, and keep it from changing hands until the transaction is over.

    Raises LeaseLostError where another worker has it by now.
    """
    kept = update(leases).where(is_held(lease)).values(expires_at=now_s() + LEASE_S)
    if connection.execute(kept).rowcount != 1:
        raise LeaseLostError(lease.worker)
