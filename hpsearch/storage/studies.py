"""The ledger: our tables beside Optuna's, and the studies in them.

Every time in it is the database's clock, in seconds since 1970; no host's clock is compared with
another's. Claims are single UPDATE statements, so that any number of workers share one budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any

from sqlalchemy import Connection, Engine, and_, case, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.elements import ColumnElement

from hpsearch.storage.retry import Retry, retried
from hpsearch.storage.schema import (
    FINAL,
    FINALIST,
    TRIAL,
    check_same,
    confirmations,
    leases,
    now_s,
    reading,
    stored_version,
    studies,
)
from hpsearch.storage.stored_records import stored_spec, stored_summary
from hpsearch.storage.waiting import Waiting
from hpsearch.study.names import can_be_stored
from hpsearch.study.spec import StudySpec

LONGEST_TICK_S = 30.0  # between two ticks; where it took longer, nobody was at work

OPEN, PAUSED, STOPPED, DONE = "open", "paused", "stopped", "done"


@dataclass(frozen=True)
class StudyRow:
    """A study as the ledger knows it. Times in seconds.

    `version` is the hpsearch that wrote the spec, None where none is on record. What stands in the
    row as JSON is parsed when it is asked for: UnreadableStudyError then.
    """

    name: str
    version: str | None
    spec_json: str
    data_summary_json: str
    fingerprint: str
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
    confirm_s: float  # kept of it besides, to train finalists again
    confirm_due: bool
    searched_examples: str | None  # digests, by `examples`; None in those of before version 4
    sealed_examples: str | None
    continues: str | None  # the study whose seal this one shares
    open_again: bool  # whether its final may open a seal that was opened before

    @cached_property
    def spec(self) -> StudySpec:
        return stored_spec(self.name, self.version, self.spec_json)

    @cached_property
    def data_summary(self) -> dict[str, Any]:
        return stored_summary(self.name, self.version, self.data_summary_json)


@dataclass(frozen=True)
class Ledger:
    """Reads and writes our tables; every method is one short transaction."""

    engine: Engine
    retry: Retry

    @retried
    def study_names(self) -> list[str]:
        with reading(self.engine) as connection:
            rows = connection.execute(select(studies.c.name).order_by(studies.c.created_at))
            return [row.name for row in rows]

    @retried
    def made_at(self) -> dict[str, float]:
        """Return when each study was entered, to tell a later one of its name apart."""
        with reading(self.engine) as connection:
            made = select(studies.c.name, studies.c.created_at)
            return {row.name: row.created_at for row in connection.execute(made)}

    @retried
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
            "version": version("hpsearch"),
            "open_again": False,
        }
        try:
            with self.engine.begin() as connection:
                times = {"created_at": now_s(), "edition": now_s()}
                connection.execute(insert(studies).values(fresh | dict(row) | times))
        except IntegrityError:
            return False
        return True

    @retried
    def study(self, name: str) -> StudyRow | None:
        """Return a study's row, None where there is none."""
        if not can_be_stored(name):
            return None
        with reading(self.engine) as connection:
            query = select(studies, time_left_s().label("left")).where(studies.c.name == name)
            row = connection.execute(query).first()
        if row is None:
            return None
        return StudyRow(
            name=row.name,
            version=row.version,
            spec_json=row.spec,
            data_summary_json=row.data_summary,
            fingerprint=row.fingerprint,
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
            confirm_s=row.confirm_s,
            confirm_due=row.confirm_due,
            searched_examples=row.searched_examples,
            sealed_examples=row.sealed_examples,
            continues=row.continues,
            open_again=row.open_again,
        )

    @retried
    def waiting(self) -> list[Waiting]:
        """Return the open studies in the order in which they should be served.

        Those of the highest priority first; of equals the one with the fewest trials at work, then
        the oldest. Raises SchemaError where the schema was changed since the storage was opened.
        """
        open_lease = and_(leases.c.study == studies.c.name, ~leases.c.done, leases.c.kind != FINAL)
        is_trial, is_held = leases.c.kind == TRIAL, leases.c.expires_at >= now_s()
        held = _count(and_(is_trial, is_held))
        confirming = _count(and_(leases.c.kind == FINALIST, is_held))
        query = (
            select(
                studies.c.name,
                studies.c.edition,
                studies.c.fingerprint,
                (studies.c.trials - studies.c.claimed).label("unclaimed"),
                _count(is_trial).label("begun"),
                held.label("held"),
                _count(and_(is_trial, ~is_held, leases.c.paused.is_not(None))).label("paused"),
                confirming.label("confirming"),
                (time_left_s() - studies.c.final_s).label("left"),
                studies.c.confirm_s,
                studies.c.confirm_due,
                studies.c.wants_final,
                stored_version().label("schema"),
            )
            .join(leases, open_lease, isouter=True)
            .where(studies.c.state == OPEN)
            .group_by(studies.c.name)
            .order_by(studies.c.priority.desc(), held + confirming, studies.c.created_at)
        )
        with reading(self.engine) as connection:
            rows = connection.execute(query).all()
        for row in rows[:1]:
            check_same(row.schema, self.retry.shown)
        return [
            Waiting(
                name=row.name,
                edition=row.edition,
                fingerprint=row.fingerprint,
                unclaimed=max(0, row.unclaimed),
                interrupted=row.begun - row.held - row.paused,
                paused=row.paused,
                held=row.held,
                time_is_up=row.left is not None and row.left <= row.confirm_s,
                wants_final=row.wants_final,
                confirm_due=row.confirm_due,
                confirming=row.confirming,
                confirm_time_is_up=row.left is not None and row.left <= 0,
            )
            for row in rows
        ]

    @retried
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
            version=version("hpsearch"),
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

    @retried
    def tick(self, name: str) -> None:
        """Say that somebody is at work on a study, whose time goes by while that is said often."""
        with self.engine.begin() as connection:
            tick(connection, name)

    @retried
    def set_state(self, name: str, state: str, note: str = "") -> bool:
        """Set the state of a study; `note` says why. False where there is no such study."""
        return self._update_study(name, state=state, note=note)

    @retried
    def set_spec(self, name: str, spec: str) -> None:
        """Keep a study's spec, changed in what may change after its search."""
        self._update_study(name, spec=spec, version=version("hpsearch"))

    @retried
    def set_examples(self, name: str, searched: str, sealed: str) -> None:
        """Say which examples the parts of a study's data hold, where that was not recorded yet."""
        with self.engine.begin() as connection:
            connection.execute(
                update(studies)
                .where(studies.c.name == name, studies.c.sealed_examples.is_(None))
                .values(searched_examples=searched, sealed_examples=sealed)
            )

    @retried
    def set_continues(self, name: str, earlier: str) -> None:
        """Say which earlier study shares a study's seal."""
        self._update_study(name, continues=earlier)

    @retried
    def set_open_again(self, name: str, asked: bool) -> None:
        """Say whether a study's final may open a seal that was opened before."""
        self._update_study(name, open_again=asked)

    @retried
    def close_budget(self, name: str) -> None:
        """Let no trial begin any more; those that are begun are the budget."""
        self._update_study(name, trials=studies.c.claimed)

    @retried
    def set_final_s(
        self, name: str, seconds: float, confirm_s: float = 0.0, spent_s: float = 0.0
    ) -> None:
        """Say how long the final training is expected to take; that time is kept for it.

        `confirm_s` is kept from the search besides, to train finalists again; `spent_s` are over.
        """
        spent: Any = studies.c.spent_s + spent_s
        self._update_study(name, final_s=seconds, confirm_s=confirm_s, spent_s=spent)

    @retried
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

    @retried
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


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    """Return how many rows of a group meet a condition."""
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


def _since_tick_s() -> ColumnElement[float]:
    """Return the time since a study was last ticked; 0 where nobody was at work meanwhile."""
    gap = now_s() - studies.c.ticked_at
    # Below 0 where the database's clock was put back, which gives no study more time.
    return case((and_(gap > 0, gap < LONGEST_TICK_S), gap), else_=0.0)


def time_left_s() -> ColumnElement[float]:
    """Return what is left of a study's time, NULL where it has no timeout."""
    return studies.c.timeout_s - studies.c.spent_s - _since_tick_s()


def tick(connection: Connection, name: str) -> None:
    """Let the time since a study was last ticked count as spent on it."""
    connection.execute(
        update(studies)
        .where(studies.c.name == name)
        .values(spent_s=studies.c.spent_s + _since_tick_s(), ticked_at=now_s())
    )
