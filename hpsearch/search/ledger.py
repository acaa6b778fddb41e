"""The ledger: our tables beside Optuna's. Studies, and leases on their trials.

Every time in it is the database's clock, in seconds since 1970; no host's clock is compared with
another's. Claims are single UPDATE statements, so that any number of workers share one budget.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, and_, case, delete, exists, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.elements import ColumnElement

from hpsearch.search.patience import Patience, patient
from hpsearch.search.tables import (
    CONFIRM_SLOT,
    FINAL_SLOT,
    confirmations,
    leases,
    now_s,
    reading,
    studies,
    workers,
)

LEASE_S = 60.0  # without renewal for so long, a trial may be taken over
MAX_ATTEMPTS = 5  # workers that may die on a trial, one after the other, before it counts as failed
LONGEST_TICK_S = 30.0  # between two ticks; where it took longer, nobody was at work

OPEN, PAUSED, STOPPED, DONE = "open", "paused", "stopped", "done"


@dataclass(frozen=True)
class StudyRow:
    """A study as the ledger knows it. Times in seconds."""

    name: str
    spec: dict[str, Any]
    identity: dict[str, Any]
    fingerprint: str
    data_summary: dict[str, Any]
    state: str
    note: str
    priority: int
    trials: int
    claimed: int
    wants_final: bool
    precision: str | None
    timeout_s: float | None
    spent_s: float
    time_left_s: float | None  # None without a timeout
    final_s: float
    confirm_due: bool


@dataclass(frozen=True)
class Waiting:
    """An open study as a worker that looks for work sees it."""

    name: str
    edition: float  # another one where it was launched again, or deleted and made anew
    fingerprint: str
    unclaimed: int  # trials that nobody has begun
    interrupted: int  # trials that are begun, and free to be taken over
    held: int  # trials that a worker is at
    time_is_up: bool  # for trials
    wants_final: bool
    confirm_due: bool  # whether finalists are to be trained again once the search is over
    confirming: int  # finalists that a worker trains again
    confirm_time_is_up: bool

    @property
    def has_work(self) -> bool:
        """Whether a worker could claim a trial now."""
        return not self.time_is_up and self.unclaimed + self.interrupted > 0

    @property
    def search_is_over(self) -> bool:
        """Whether its budget or its time is spent, and nobody is at a trial."""
        return not self.held and (self.time_is_up or self.unclaimed + self.interrupted == 0)

    @property
    def confirms(self) -> bool:
        """Whether a worker might find a finalist to train again, now or later."""
        return self.confirm_due and not self.confirm_time_is_up

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left for workers: the search is over, finalists confirmed."""
        return self.search_is_over and not self.confirms and not self.confirming


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


@dataclass(frozen=True)
class Pulse:
    """What a worker has to know of its study while it trains."""

    state: str
    time_left_s: float | None  # None without a timeout
    kept_s: float  # of it, for what comes after what is leased


@dataclass(frozen=True)
class Held:
    """A lease that a worker holds, seen from outside. Times in seconds."""

    lease: Lease
    idle_s: float  # since a batch was last over
    runs_s: float


@dataclass(frozen=True)
class Ledger:
    """Reads and writes our tables; every method is one short transaction."""

    engine: Engine
    patience: Patience

    # Studies

    @patient
    def study_names(self) -> list[str]:
        with reading(self.engine) as connection:
            rows = connection.execute(select(studies.c.name).order_by(studies.c.created_at))
            return [row.name for row in rows]

    @patient
    def made_at(self) -> dict[str, float]:
        """Return when each study was entered, so that a later one of its name can be told."""
        with reading(self.engine) as connection:
            rows = connection.execute(select(studies.c.name, studies.c.created_at))
            return {row.name: row.created_at for row in rows}

    @patient
    def enter(self, row: Mapping[str, Any]) -> bool:
        """Enter a new study; False where another process was first."""
        fresh: dict[str, Any] = {
            "state": OPEN,
            "note": "",
            "priority": 0,
            "wants_final": True,
            "claimed": 0,
            "spent_s": 0.0,
            "final_s": 0.0,
            "confirm_s": 0.0,
            "confirm_due": False,
        }
        try:
            with self.engine.begin() as connection:
                times = {"created_at": now_s(), "edition": now_s()}
                connection.execute(insert(studies).values(fresh | dict(row) | times))
        except IntegrityError:
            return False
        return True

    @patient
    def study(self, name: str) -> StudyRow | None:
        """Return a study's row, None where there is none."""
        with reading(self.engine) as connection:
            query = select(studies, _time_left_s().label("left")).where(studies.c.name == name)
            row = connection.execute(query).first()
        if row is None:
            return None
        return StudyRow(
            name=row.name,
            spec=json.loads(row.spec),
            identity=json.loads(row.identity),
            fingerprint=row.fingerprint,
            data_summary=json.loads(row.data_summary),
            state=row.state,
            note=row.note,
            priority=row.priority,
            trials=row.trials,
            claimed=row.claimed,
            wants_final=row.wants_final,
            precision=row.precision,
            timeout_s=row.timeout_s,
            spent_s=row.spent_s,
            time_left_s=row.left,
            final_s=row.final_s,
            confirm_due=row.confirm_due,
        )

    @patient
    def waiting(self) -> list[Waiting]:
        """Return the open studies in the order in which they should be served.

        Those of the highest priority first; of equals the one with the fewest trials at work, then
        the oldest.
        """
        open_lease = and_(
            leases.c.study == studies.c.name, ~leases.c.done, leases.c.slot != FINAL_SLOT
        )
        is_trial, is_held = leases.c.slot >= 0, leases.c.expires_at >= now_s()
        held = _count(and_(is_trial, is_held))
        confirming = _count(and_(leases.c.slot <= CONFIRM_SLOT, is_held))
        query = (
            select(
                studies.c.name,
                studies.c.edition,
                studies.c.fingerprint,
                (studies.c.trials - studies.c.claimed).label("unclaimed"),
                _count(is_trial).label("begun"),
                held.label("held"),
                confirming.label("confirming"),
                (_time_left_s() - studies.c.final_s).label("left"),
                studies.c.confirm_s,
                studies.c.confirm_due,
                studies.c.wants_final,
            )
            .join(leases, open_lease, isouter=True)
            .where(studies.c.state == OPEN)
            .group_by(studies.c.name)
            .order_by(studies.c.priority.desc(), held + confirming, studies.c.created_at)
        )
        with reading(self.engine) as connection:
            return [
                Waiting(
                    name=row.name,
                    edition=row.edition,
                    fingerprint=row.fingerprint,
                    unclaimed=max(0, row.unclaimed),
                    interrupted=row.begun - row.held,
                    held=row.held,
                    time_is_up=row.left is not None and row.left <= row.confirm_s,
                    wants_final=row.wants_final,
                    confirm_due=row.confirm_due,
                    confirming=row.confirming,
                    confirm_time_is_up=row.left is not None and row.left <= 0,
                )
                for row in connection.execute(query)
            ]

    @patient
    def begin_launch(
        self,
        name: str,
        spec: str,
        trials: int,
        timeout_s: float | None,
        wants_final: bool = True,
        priority: int | None = None,
        confirm: bool = False,
    ) -> None:
        """Open a study with this budget; trials that were claimed already are in it.

        `confirm` is whether its finalists are to be trained again.
        """
        budget = case((studies.c.claimed > trials, studies.c.claimed), else_=trials)
        values: dict[str, Any] = {} if priority is None else {"priority": priority}
        self._update_study(
            name,
            spec=spec,
            trials=budget,
            timeout_s=timeout_s,
            wants_final=wants_final,
            state=OPEN,
            note="",
            ticked_at=None,
            edition=now_s(),
            confirm_due=confirm,
            confirm_s=studies.c.confirm_s if confirm else 0.0,
            **values,
        )

    @patient
    def tick(self, name: str) -> None:
        """Say that somebody is at work on a study, whose time goes by while that is said often."""
        with self.engine.begin() as connection:
            _tick(connection, name)

    @patient
    def set_state(self, name: str, state: str, note: str = "") -> bool:
        """Set the state of a study; `note` says why. False where there is no such study."""
        return self._update_study(name, state=state, note=note)

    @patient
    def set_spec(self, name: str, spec: str) -> None:
        """Keep a study's spec, changed in what may change after its search."""
        self._update_study(name, spec=spec)

    @patient
    def close_budget(self, name: str) -> None:
        """Let no trial begin any more; those that are begun are the budget."""
        self._update_study(name, trials=studies.c.claimed)

    @patient
    def set_final_s(self, name: str, seconds: float, confirm_s: float = 0.0) -> None:
        """Say how long the final training is expected to take; that time is kept for it.

        `confirm_s` is kept from the search besides, to train finalists again.
        """
        self._update_study(name, final_s=seconds, confirm_s=confirm_s)

    @patient
    def decide_precision(self, name: str, precision: str) -> str:
        """Return the study's precision: `precision` where none was decided before."""
        with self.engine.begin() as connection:
            connection.execute(
                update(studies)
                .where(studies.c.name == name, studies.c.precision.is_(None))
                .values(precision=precision)
            )
            decided = select(studies.c.precision).where(studies.c.name == name)
            return str(connection.execute(decided).scalar_one())

    @patient
    def delete(self, name: str) -> None:
        """Delete a study, its leases and confirmations; its openings stay."""
        with self.engine.begin() as connection:
            connection.execute(delete(confirmations).where(confirmations.c.study == name))
            connection.execute(delete(leases).where(leases.c.study == name))
            connection.execute(delete(studies).where(studies.c.name == name))

    def _update_study(self, name: str, **values: Any) -> bool:
        with self.engine.begin() as connection:
            done = connection.execute(update(studies).where(studies.c.name == name).values(values))
            return done.rowcount == 1

    # Leases

    @patient
    def claim(self, study: str, worker: str) -> Lease | None:
        """Return a lease on a trial: one whose worker died, else a new one within the budget.

        None where the study has nothing to claim, or is not open.
        """
        return self._take_over(study, worker) or self._claim_new(study, worker)

    def _claim_new(self, study: str, worker: str) -> Lease | None:
        with self.engine.begin() as connection:
            claimed = connection.execute(
                update(studies)
                .where(
                    studies.c.name == study,
                    studies.c.state == OPEN,
                    studies.c.claimed < studies.c.trials,
                )
                .values(claimed=studies.c.claimed + 1)
                .returning(studies.c.claimed)
            ).scalar()
            if claimed is None:
                return None
            lease = Lease(study, claimed - 1, None, worker, attempts=1)
            connection.execute(insert(leases).values(fresh(lease)))
            return lease

    def _take_over(self, study: str, worker: str) -> Lease | None:
        is_open = exists().where(studies.c.name == study, studies.c.state == OPEN)
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
                .where(free, leases.c.slot == first, is_open)
                .values(taken_over(worker))
                .returning(leases.c.slot, leases.c.trial_id, leases.c.attempts)
            ).first()
        return None if row is None else Lease(study, row.slot, row.trial_id, worker, row.attempts)

    @patient
    def claim_final(self, study: str, worker: str) -> Lease | None:
        """Return the lease on a study's final, None while another holds it."""
        lease = Lease(study, FINAL_SLOT, None, worker, attempts=1)
        free = and_(
            leases.c.study == study,
            leases.c.slot == FINAL_SLOT,
            leases.c.done | (leases.c.expires_at < now_s()),
        )
        try:
            with self.engine.begin() as connection:
                row = fresh(lease)
                if connection.execute(update(leases).where(free).values(row)).rowcount == 0:
                    connection.execute(insert(leases).values(row))
        except IntegrityError:
            return None
        return lease

    @patient
    def set_trial(self, lease: Lease, trial_id: int) -> None:
        """Note which trial of Optuna's a lease is about."""
        self._update_lease(lease, trial_id=trial_id)

    @patient
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
            _tick(connection, lease.study)
            row = connection.execute(
                select(
                    studies.c.state,
                    _time_left_s().label("left"),
                    studies.c.final_s,
                    studies.c.confirm_s,
                ).where(studies.c.name == lease.study)
            ).first()
        if row is None:
            return None
        kept_s = row.final_s + (row.confirm_s if lease.slot >= 0 else 0.0)
        return Pulse(row.state, row.left, kept_s)

    @patient
    def finish(self, lease: Lease) -> None:
        """Say that the trial of a lease has ended."""
        self._update_lease(lease, done=True)

    @patient
    def give_back(self, lease: Lease) -> None:
        """Let another worker take the trial at once, as if this one had never tried."""
        self._update_lease(lease, worker="", expires_at=0.0, attempts=leases.c.attempts - 1)

    @patient
    def expire_worker(self, worker: str) -> None:
        """Let others take what a worker held that is known to be dead."""
        with self.engine.begin() as connection:
            held = and_(leases.c.worker == worker, ~leases.c.done)
            connection.execute(update(leases).where(held).values(expires_at=0.0))

    def _update_lease(self, lease: Lease, **values: Any) -> bool:
        with self.engine.begin() as connection:
            changed = connection.execute(update(leases).where(is_held(lease)).values(values))
            return changed.rowcount == 1

    @patient
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

    @patient
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

    @patient
    def open_leases(self, study: str) -> int:
        """Return how many claimed trials have not ended."""
        with reading(self.engine) as connection:
            query = select(func.count()).where(
                leases.c.study == study, ~leases.c.done, leases.c.slot >= 0
            )
            return int(connection.execute(query).scalar_one())


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


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    """Return how many rows of a group meet a condition."""
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


def is_held(lease: Lease) -> ColumnElement[bool]:
    return and_(
        leases.c.study == lease.study,
        leases.c.slot == lease.slot,
        leases.c.worker == lease.worker,
        ~leases.c.done,
    )


def _since_tick_s() -> ColumnElement[float]:
    """Return the time since a study was last ticked; 0 where nobody was at work meanwhile."""
    gap = now_s() - studies.c.ticked_at
    return case((gap < LONGEST_TICK_S, gap), else_=0.0)


def _time_left_s() -> ColumnElement[float]:
    return studies.c.timeout_s - studies.c.spent_s - _since_tick_s()


def _tick(connection: Connection, name: str) -> None:
    connection.execute(
        update(studies)
        .where(studies.c.name == name)
        .values(spent_s=studies.c.spent_s + _since_tick_s(), ticked_at=now_s())
    )
