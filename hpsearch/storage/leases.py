"""Leases on trials, finalists and finals of studies: who may run what, until when.

Claims are single UPDATE statements, so that any number of workers share one budget.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Row, and_, exists, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.elements import ColumnElement

from hpsearch.storage.retry import Retry, retried
from hpsearch.storage.schema import (
    FINAL,
    FINALIST,
    SCHEMA_VERSION,
    TRIAL,
    Kind,
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
    """The right of one worker to run something of a study until it expires.

    That is the trial of a slot; or, by its `kind`, the training of that trial's configuration with
    another seed, the `repeat`-th, or the final, which has neither. `trial_id` is Optuna's, once the
    trial exists.
    """

    study: str
    slot: int
    trial_id: int | None
    worker: str
    attempts: int
    kind: Kind = TRIAL
    repeat: int = 0
    paused: int | None = None  # the epoch after which its trial waits: see `pauses`

    @property
    def on(self) -> str:
        """What it is on, in words."""
        repeat = f", seed {self.repeat + 1}" if self.kind == FINALIST else ""
        return "the final" if self.kind == FINAL else f"the {self.kind} of slot {self.slot}{repeat}"

    @property
    def training(self) -> str:
        """What it is on, as a name of which a study has no two."""
        if self.kind == FINAL:
            return FINAL
        slot = f"{self.slot:06d}"
        return slot if self.kind == TRIAL else f"{slot}-{self.kind}-{self.repeat}"


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
    def claim(
        self,
        study: str,
        worker: str,
        edition: float | None = None,
        *,
        kind: Kind = TRIAL,
        slot: int | None = None,
        repeat: int = 0,
        begins: bool = True,
    ) -> Lease | None:
        """Return a lease: one whose worker died, else, where it `begins` any, a new one.

        On a trial: the first that is free, or that of a `slot`, else a new one within the budget;
        on the training of a finalist, the trial of a `slot`; or on the final. None where another
        has what is asked for or it has ended, where the budget is spent, where the study does not
        go on (a final does in one that is done), and where it was launched or made anew since the
        `edition` that the worker knows. Raises SchemaError where something new begins, but for a
        trial, and the schema was changed since the storage was opened.

        For a final, `worker` has to be a name that no other claim has: whoever lost the lease must
        not be taken for the one that has it now, though they be one process.
        """
        goes_on = and_(studies.c.name == study, _may_begin(kind))
        if edition is not None:
            goes_on = and_(goes_on, studies.c.edition == edition)
        if kind == FINAL:
            slot = 0
        mine = wanted_of(study, kind, slot, repeat)
        lost = and_(mine, leases.c.paused.is_(None))
        try:
            with self.engine.begin() as connection:
                lease = taken_over(connection, lost, exists().where(goes_on), worker)
                if lease is not None or not begins:
                    return lease
                if kind == TRIAL:
                    slot = _next_slot(connection, goes_on) if slot is None else None
                elif not self._is_there(connection, goes_on):
                    return None
                if slot is None:
                    return None
                lease = Lease(study, slot, None, worker, 1, kind, repeat)
                again = update(leases).where(mine, leases.c.done).values(_fresh(lease))
                if kind != FINAL or connection.execute(again).rowcount == 0:
                    connection.execute(insert(leases).values(_fresh(lease)))
        except IntegrityError:  # another has it, or it has ended
            return None
        return lease

    def _is_there(self, connection: Connection, study: ColumnElement[bool]) -> bool:
        """Whether there is such a study; SchemaError in a storage that is not of our schema."""
        schema = connection.execute(select(stored_version()).where(study)).scalar()
        if schema is not None:
            check_same(schema, self.retry.shown)
        return schema is not None

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
        kept_s = row.final_s + (row.confirm_s if lease.kind == TRIAL else 0.0)
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
        ).where(leases.c.worker.in_(names), ~leases.c.done, leases.c.kind != FINAL)
        with reading(self.engine) as connection:
            rows = connection.execute(query).all()
        return [Held(_lease(row), row.idle_s, row.runs_s) for row in rows]

    @retried
    def unfinished(self, study: str) -> tuple[set[int], set[int]]:
        """Return Optuna's ids of trials begun and not ended: (held by a worker, interrupted).

        Those that are paused, and that nobody holds, are neither.
        """
        held = (leases.c.expires_at >= now_s()).label("held")
        mine = (leases.c.study == study, ~leases.c.done, leases.c.trial_id.is_not(None))
        query = select(leases.c.trial_id, held, leases.c.paused).where(*mine)
        with reading(self.engine) as connection:
            rows = connection.execute(query).all()
        free = {r.trial_id for r in rows if not r.held and r.paused is None}
        return {r.trial_id for r in rows if r.held}, free


def _may_begin(kind: Kind) -> ColumnElement[bool]:
    """Whether something of this kind begins in a study in its state."""
    if kind == FINAL:
        return studies.c.state.not_in((PAUSED, STOPPED))
    return studies.c.state == OPEN


def wanted_of(
    study: str, kind: Kind, slot: int | None = None, repeat: int = 0
) -> ColumnElement[bool]:
    """Whether a lease is what is asked for; without a slot, any of its kind."""
    wanted = and_(leases.c.study == study, leases.c.kind == kind, leases.c.repeat == repeat)
    return wanted if slot is None else and_(wanted, leases.c.slot == slot)


def taken_over(
    connection: Connection,
    wanted: ColumnElement[bool],
    goes_on: ColumnElement[bool],
    worker: str,
) -> Lease | None:
    """Return the first lease that is wanted and that nobody keeps alive, as this worker's now."""
    free = and_(wanted, ~leases.c.done, leases.c.expires_at < now_s())
    first = select(func.min(leases.c.slot)).where(free).scalar_subquery()
    taken = (
        update(leases)
        .where(free, leases.c.slot == first, goes_on)
        .values(_begins_now(worker) | {"attempts": leases.c.attempts + 1})
        .returning(leases)
    )
    row = connection.execute(taken).first()
    return None if row is None else _lease(row)


def _next_slot(connection: Connection, goes_on: ColumnElement[bool]) -> int | None:
    """Return a slot of a study's budget that nobody has had, None where there is none left."""
    claimed = connection.execute(
        update(studies)
        .where(goes_on, studies.c.claimed < studies.c.trials)
        .values(claimed=studies.c.claimed + 1)
        .returning(studies.c.claimed)
    ).scalar()
    return None if claimed is None else claimed - 1


def _lease(row: Row[Any]) -> Lease:
    return Lease(
        row.study,
        row.slot,
        row.trial_id,
        row.worker,
        row.attempts,
        row.kind,
        row.repeat,
        row.paused,
    )


def _begins_now(worker: str) -> dict[str, Any]:
    """Return what the row of a lease says of the worker that has it from now on."""
    return {
        "worker": worker,
        "expires_at": now_s() + LEASE_S,
        "begun_at": now_s(),
        "progress_at": now_s(),
    }


def _fresh(lease: Lease) -> dict[str, Any]:
    """Return the row of a lease that begins now."""
    what = {name: getattr(lease, name) for name in ("study", "kind", "slot", "repeat")}
    return what | _begins_now(lease.worker) | {"attempts": 1, "done": False}


def is_held(lease: Lease) -> ColumnElement[bool]:
    return and_(
        wanted_of(lease.study, lease.kind, lease.slot, lease.repeat),
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
