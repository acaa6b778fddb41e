"""Paused trials: begun, nobody's, and not to be taken over, but resumed when it is their turn.

A trial is paused for as long as its lease says so, also while whoever resumes or ends it holds that
lease and has not done it yet: a process that dies in between has changed nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine, and_, bindparam, exists, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from hpsearch.storage.leases import Lease, is_held, taken_over, wanted_of
from hpsearch.storage.retry import Retry, retried
from hpsearch.storage.schema import TRIAL, leases, now_s, reading, studies
from hpsearch.storage.studies import OPEN, time_left_s

BEGUN = select(
    leases.c.slot,
    leases.c.trial_id,
    (leases.c.expires_at >= now_s()).label("held"),
    leases.c.paused,
).where(leases.c.study == bindparam("study_"), leases.c.kind == TRIAL, ~leases.c.done)

ALLOWANCE = select(
    studies.c.trials,
    studies.c.claimed,
    time_left_s().label("time_left_s"),
    studies.c.timeout_s,
    studies.c.final_s,
    studies.c.confirm_s,
).where(studies.c.name == bindparam("study_"))


@dataclass(frozen=True)
class Allowance:
    """What a study may do still, as its row says; see `StudyRow`."""

    trials: int
    claimed: int
    time_left_s: float | None
    timeout_s: float | None
    final_s: float
    confirm_s: float


@dataclass(frozen=True)
class Begun:
    """A trial that was claimed and has not ended."""

    slot: int
    trial_id: int | None  # Optuna's, None where it is not there yet
    is_held: bool  # by a worker
    paused: int | None  # the epoch after which it waits, None where it does not


@dataclass(frozen=True)
class Pauses:
    """Pauses and resumes trials; every method is one short transaction."""

    engine: Engine
    retry: Retry

    @retried
    def allowance(self, study: str) -> tuple[Allowance | None, list[Begun]]:
        """Return what a study may do, and its trials that were claimed and have not ended."""
        with reading(self.engine) as connection:
            row = connection.execute(ALLOWANCE, {"study_": study}).first()
            begun = connection.execute(BEGUN, {"study_": study}).all()
        allowance = None if row is None else Allowance(*row)
        return allowance, [Begun(r.slot, r.trial_id, bool(r.held), r.paused) for r in begun]

    def begun(self, study: str) -> list[Begun]:
        """Return the trials of a study that were claimed and have not ended."""
        return self.allowance(study)[1]

    @retried
    def waiting(self) -> dict[str, dict[int, int]]:
        """Return by study the epochs after which trials wait, by Optuna's ids of them."""
        is_paused = and_(leases.c.kind == TRIAL, ~leases.c.done, leases.c.paused.is_not(None))
        query = select(leases.c.study, leases.c.trial_id, leases.c.paused).where(is_paused)
        found: dict[str, dict[int, int]] = {}
        with reading(self.engine) as connection:
            for row in connection.execute(query):
                found.setdefault(row.study, {})[row.trial_id] = row.paused
        return found

    @retried
    def pause(self, lease: Lease, epoch: int) -> None:
        """Give a lease back whose trial waits after an epoch; nobody takes it but by `resume`."""
        waiting = {"worker": "", "expires_at": 0.0, "attempts": 0, "paused": epoch}
        with self.engine.begin() as connection:
            connection.execute(update(leases).where(is_held(lease)).values(waiting))

    @retried
    def resume(
        self, study: str, slot: int, worker: str, edition: float | None = None
    ) -> Lease | None:
        """Return a lease on a paused trial; None where another was quicker, or as in a claim."""
        return self._take(study, worker, edition, leases.c.slot == slot)

    @retried
    def go_on(self, lease: Lease) -> None:
        """Say that a resumed trial is at work: if its worker dies now, it is taken over."""
        with self.engine.begin() as connection:
            connection.execute(update(leases).where(is_held(lease)).values(paused=None))

    @retried
    def claim_left(
        self, study: str, worker: str, edition: float | None = None, is_over: bool = False
    ) -> Lease | None:
        """Return a lease on a trial that is left paused when the budget is spent, to end it.

        None while any trial of the study is at work or free to be taken over, or can be begun; the
        last does not matter where the search `is_over`.
        """
        other = leases.alias()
        goes_on = exists().where(
            other.c.study == study,
            other.c.kind == TRIAL,
            ~other.c.done,
            or_(other.c.paused.is_(None), other.c.expires_at >= now_s()),
        )
        is_spent = exists().where(studies.c.name == study, studies.c.claimed >= studies.c.trials)
        only = [~goes_on] if is_over else [is_spent, ~goes_on]
        return self._take(study, worker, edition, *only)

    @retried
    def end_search(self, study: str) -> bool:
        """Keep what is left of a study's time for what follows its search.

        False where anyone is at a trial of it, and where it has no timeout.
        """
        held = and_(~leases.c.done, leases.c.expires_at >= now_s())
        at_work = exists().where(wanted_of(study, TRIAL), held)
        timed = and_(studies.c.name == study, studies.c.timeout_s.is_not(None))
        with self.engine.begin() as connection:
            ended = update(studies).where(timed, ~at_work)
            kept_s = time_left_s() - studies.c.final_s
            return connection.execute(ended.values(confirm_s=kept_s)).rowcount == 1

    def _take(
        self, study: str, worker: str, edition: float | None, *which: ColumnElement[bool]
    ) -> Lease | None:
        known = [] if edition is None else [studies.c.edition == edition]
        is_open = exists().where(studies.c.name == study, studies.c.state == OPEN, *known)
        wanted = and_(wanted_of(study, TRIAL), leases.c.paused.is_not(None), *which)
        with self.engine.begin() as connection:
            return taken_over(connection, wanted, is_open, worker)
