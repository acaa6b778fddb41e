"""The ledger: our tables beside Optuna's. Studies, leases on trials, openings of the seal.

Every time in it is the database's clock, in seconds since 1970; no host's clock is compared with
another's. Claims are single UPDATE statements, so that any number of workers share one budget.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, and_, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.elements import ColumnElement

from hpsearch.search.tables import leases, now_s, openings, studies

LEASE_S = 60.0  # without renewal for so long, a trial may be taken over
MAX_ATTEMPTS = 3  # workers that may die on one trial before it counts as failed


@dataclass(frozen=True)
class StudyRow:
    """A study as the ledger knows it. Times in seconds."""

    name: str
    spec: dict[str, Any]
    identity: dict[str, Any]
    fingerprint: str
    data_summary: dict[str, Any]
    state: str
    trials: int
    claimed: int
    precision: str | None
    timeout_s: float | None
    spent_s: float
    time_left_s: float | None  # of the present launch; None without a timeout
    final_s: float


@dataclass(frozen=True)
class Lease:
    """The right of one worker to run the trial of one slot until it expires."""

    study: str
    slot: int
    trial_id: int | None
    worker: str
    attempts: int


@dataclass(frozen=True)
class Opening:
    """One opening of the validation split."""

    id: int
    study: str
    fingerprint: str
    trial_number: int
    who: str
    why: str
    opened_at: float
    result: dict[str, Any] | None


class Ledger:
    """Reads and writes our tables; every method is one short transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # Studies

    def study_names(self) -> list[str]:
        with self._engine.connect() as connection:
            rows = connection.execute(select(studies.c.name).order_by(studies.c.created_at))
            return [row.name for row in rows]

    def enter(self, row: Mapping[str, Any]) -> bool:
        """Enter a new study; False where another process was first."""
        try:
            with self._engine.begin() as connection:
                connection.execute(
                    insert(studies).values(
                        state="open", claimed=0, spent_s=0.0, final_s=0.0, created_at=now_s(), **row
                    )
                )
        except IntegrityError:
            return False
        return True

    def study(self, name: str) -> StudyRow | None:
        """Return a study's row, None where there is none."""
        left = (studies.c.deadline - now_s()).label("time_left_s")
        with self._engine.connect() as connection:
            row = connection.execute(select(studies, left).where(studies.c.name == name)).first()
        if row is None:
            return None
        return StudyRow(
            name=row.name,
            spec=json.loads(row.spec),
            identity=json.loads(row.identity),
            fingerprint=row.fingerprint,
            data_summary=json.loads(row.data_summary),
            state=row.state,
            trials=row.trials,
            claimed=row.claimed,
            precision=row.precision,
            timeout_s=row.timeout_s,
            spent_s=row.spent_s,
            time_left_s=row.time_left_s,
            final_s=row.final_s,
        )

    def begin_launch(self, name: str, spec: str, trials: int, timeout_s: float | None) -> None:
        """Set the budget of a study, and its clock going."""
        deadline = None if timeout_s is None else now_s() + timeout_s - studies.c.spent_s
        self._update_study(
            name, spec=spec, trials=trials, timeout_s=timeout_s, deadline=deadline, state="open"
        )

    def add_spent(self, name: str, seconds: float) -> None:
        """Add wall time of a launch to what the study has spent."""
        self._update_study(name, spent_s=studies.c.spent_s + seconds)

    def set_state(self, name: str, state: str) -> None:
        self._update_study(name, state=state)

    def set_final_s(self, name: str, seconds: float) -> None:
        """Say how long the final training is expected to take; that time is kept for it."""
        self._update_study(name, final_s=seconds)

    def decide_precision(self, name: str, precision: str) -> str:
        """Return the study's precision: `precision` where none was decided before."""
        with self._engine.begin() as connection:
            connection.execute(
                update(studies)
                .where(studies.c.name == name, studies.c.precision.is_(None))
                .values(precision=precision)
            )
            decided = select(studies.c.precision).where(studies.c.name == name)
            return str(connection.execute(decided).scalar_one())

    def _update_study(self, name: str, **values: Any) -> None:
        with self._engine.begin() as connection:
            connection.execute(update(studies).where(studies.c.name == name).values(**values))

    # Leases

    def claim(self, study: str, worker: str) -> Lease | None:
        """Return a lease on a trial: one whose worker died, else a new one within the budget."""
        return self._take_over(study, worker) or self._claim_new(study, worker)

    def _claim_new(self, study: str, worker: str) -> Lease | None:
        with self._engine.begin() as connection:
            claimed = connection.execute(
                update(studies)
                .where(studies.c.name == study, studies.c.claimed < studies.c.trials)
                .values(claimed=studies.c.claimed + 1)
                .returning(studies.c.claimed)
            ).scalar()
            if claimed is None:
                return None
            lease = Lease(study, claimed - 1, None, worker, attempts=1)
            connection.execute(
                insert(leases).values(
                    study=study,
                    slot=lease.slot,
                    worker=worker,
                    expires_at=now_s() + LEASE_S,
                    attempts=1,
                    done=False,
                )
            )
            return lease

    def _take_over(self, study: str, worker: str) -> Lease | None:
        free = and_(leases.c.study == study, ~leases.c.done, leases.c.expires_at < now_s())
        first = select(func.min(leases.c.slot)).where(free).scalar_subquery()
        with self._engine.begin() as connection:
            row = connection.execute(
                update(leases)
                .where(free, leases.c.slot == first)
                .values(worker=worker, expires_at=now_s() + LEASE_S, attempts=leases.c.attempts + 1)
                .returning(leases.c.slot, leases.c.trial_id, leases.c.attempts)
            ).first()
        return None if row is None else Lease(study, row.slot, row.trial_id, worker, row.attempts)

    def set_trial(self, lease: Lease, trial_id: int) -> None:
        """Note which trial of Optuna's a lease is about."""
        self._update_lease(lease, trial_id=trial_id)

    def renew(self, lease: Lease) -> bool:
        """Prolong a lease; False where another worker has it by now."""
        return self._update_lease(lease, expires_at=now_s() + LEASE_S)

    def finish(self, lease: Lease) -> None:
        """Say that the trial of a lease has ended."""
        self._update_lease(lease, done=True)

    def give_back(self, lease: Lease) -> None:
        """Let another worker take the trial at once, as if this one had never tried."""
        self._update_lease(lease, worker="", expires_at=0.0, attempts=leases.c.attempts - 1)

    def expire_worker(self, worker: str) -> None:
        """Let others take what a worker held that is known to be dead."""
        with self._engine.begin() as connection:
            held = and_(leases.c.worker == worker, ~leases.c.done)
            connection.execute(update(leases).where(held).values(expires_at=0.0))

    def _update_lease(self, lease: Lease, **values: Any) -> bool:
        mine: ColumnElement[bool] = and_(
            leases.c.study == lease.study,
            leases.c.slot == lease.slot,
            leases.c.worker == lease.worker,
        )
        with self._engine.begin() as connection:
            return connection.execute(update(leases).where(mine).values(**values)).rowcount == 1

    def unfinished(self, study: str) -> tuple[set[int], set[int]]:
        """Return Optuna's ids of trials begun and not ended: (held by a worker, interrupted)."""
        held = (leases.c.expires_at >= now_s()).label("held")
        with self._engine.connect() as connection:
            rows = connection.execute(
                select(leases.c.trial_id, held).where(
                    leases.c.study == study, ~leases.c.done, leases.c.trial_id.is_not(None)
                )
            ).all()
        return {r.trial_id for r in rows if r.held}, {r.trial_id for r in rows if not r.held}

    def open_leases(self, study: str) -> int:
        """Return how many claimed trials have not ended."""
        with self._engine.connect() as connection:
            query = select(func.count()).where(leases.c.study == study, ~leases.c.done)
            return int(connection.execute(query).scalar_one())

    # Openings of the validation split

    def openings(self, fingerprint: str) -> list[Opening]:
        """Return every opening of this data's validation split, oldest first."""
        with self._engine.connect() as connection:
            rows = connection.execute(
                select(openings)
                .where(openings.c.fingerprint == fingerprint)
                .order_by(openings.c.id)
            ).all()
        return [
            Opening(
                id=row.id,
                study=row.study,
                fingerprint=row.fingerprint,
                trial_number=row.trial_number,
                who=row.who,
                why=row.why,
                opened_at=row.opened_at,
                result=None if row.result is None else json.loads(row.result),
            )
            for row in rows
        ]

    def write_opening(
        self, study: str, fingerprint: str, trial_number: int, who: str, why: str
    ) -> int:
        """Write that the seal is about to be opened; returns the id of the entry."""
        with self._engine.begin() as connection:
            made = connection.execute(
                insert(openings)
                .values(
                    study=study,
                    fingerprint=fingerprint,
                    trial_number=trial_number,
                    who=who,
                    why=why,
                    opened_at=now_s(),
                )
                .returning(openings.c.id)
            )
            return int(made.scalar_one())

    def write_result(self, opening_id: int, result: Mapping[str, Any]) -> None:
        """Write what an opening showed."""
        with self._engine.begin() as connection:
            connection.execute(
                update(openings)
                .where(openings.c.id == opening_id)
                .values(result=json.dumps(result))
            )
