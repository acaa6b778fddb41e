"""What a process has read of studies and their trials, so that it reads each thing once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from sqlalchemy import Connection, Row, bindparam, select

from hpsearch.storage import optuna_private as private
from hpsearch.storage.schema import TRIAL, leases

# Of a lease on a paused trial: after which epoch it waits, and when it was last claimed. It changes
# whenever anybody goes on with the trial, which before that stays as it is.
Mark = tuple[int, float]

# Made once: making a statement anew takes longer than having it executed.
MARKS = select(leases.c.trial_id, leases.c.paused, leases.c.begun_at).where(
    leases.c.study
    == select(private.STUDIES.c.study_name)
    .where(private.STUDIES.c.study_id == bindparam("id_"))
    .scalar_subquery(),
    leases.c.kind == TRIAL,
    ~leases.c.done,
    leases.c.paused.is_not(None),
)


@dataclass
class StudyRead:
    """What has been read of one study."""

    name: str | None = None
    directions: list[StudyDirection] | None = None
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)  # one a parameter
    ended: dict[int, FrozenTrial] = field(default_factory=dict)  # by their ids
    unfinished: set[int] = field(default_factory=set)  # the ids of those seen so far
    last_ended: tuple[int, datetime | None] = (-1, None)  # the highest id in `ended`, and its end
    highest: int = -1  # of all ids that were seen; those below are in `ended` or `unfinished`
    pauses: bool = False  # whether any trial was seen that is paused
    paused: dict[int, tuple[Mark, FrozenTrial]] = field(default_factory=dict)  # some `unfinished`


class TrialCache:
    """Trials that have ended, which never change, and what studies never change, by their ids.

    Paused trials are read once, too, for as long as they wait: there may be many of them.

    SQLite gives the ids of what was deleted out again, so another study may stand under an id by
    now, and so may another trial. Not safe for several threads at once.
    """

    def __init__(self) -> None:
        self._studies: dict[int, StudyRead] = {}

    def study(self, study_id: int) -> StudyRead:
        """Return what has been read of a study, to be added to."""
        return self._studies.setdefault(study_id, StudyRead())

    def study_of(self, trial_id: int) -> StudyRead | None:
        """Return what has been read of the study of an unfinished trial, None if nothing."""
        return next((s for s in self._studies.values() if trial_id in s.unfinished), None)

    def put(self, study_id: int, read: StudyRead) -> None:
        """Replace what has been read of a study."""
        self._studies[study_id] = read

    def forget(self, study_id: int) -> None:
        """Forget a study, if it was read at all."""
        self._studies.pop(study_id, None)

    def ended_trial(self, trial_id: int) -> FrozenTrial | None:
        """Return a trial that has ended, None where it was not read since."""
        read = (s.ended[trial_id] for s in self._studies.values() if trial_id in s.ended)
        return next(read, None)

    def read_trials(
        self,
        connection: Connection,
        study_id: int,
        wants_unfinished: bool,
        held: Mapping[int, FrozenTrial],
    ) -> list[FrozenTrial]:
        """Return a study's trials, reading those that are new or may have changed.

        Unfinished ones are among them on demand, those in `held` as they stand there. Raises
        KeyError where there is no such study any more.
        """
        marks = self._marks(connection, study_id)
        rows = self._new_rows(connection, study_id, marks)
        study = self.study(study_id)
        ended = [r for r in rows if r.state.is_finished() and r.trial_id not in study.ended]
        unfinished = [r for r in rows if not r.state.is_finished()]
        going = unfinished if wants_unfinished else []
        others = [row for row in going if row.trial_id not in held]
        loaded = private.trials_of(connection, ended + others)
        self._keep(study, loaded[: len(ended)], ended)
        study.unfinished.update(row.trial_id for row in unfinished)
        study.highest = max([study.highest, *(row.trial_id for row in rows)])
        waiting = [trial for _, trial in study.paused.values()] if wants_unfinished else []
        self._keep_paused(study, loaded[len(ended) :], marks)
        ours = [held[row.trial_id] for row in going if row.trial_id in held]
        return [*study.ended.values(), *waiting, *loaded[len(ended) :], *ours]

    def _marks(self, connection: Connection, study_id: int) -> dict[int, Mark]:
        """Return the marks of a study's paused trials; none before one was seen."""
        if not self.study(study_id).pauses:
            return {}
        rows = connection.execute(MARKS, {"id_": study_id})
        return {row.trial_id: (row.paused, row.begun_at) for row in rows}

    def _keep_paused(
        self, study: StudyRead, trials: Sequence[FrozenTrial], marks: Mapping[int, Mark]
    ) -> None:
        """Keep the trials that were paused before they were read."""
        for trial in trials:
            trial_id = private.id_of(trial)
            study.pauses |= trial.user_attrs.get("paused") is not None
            if trial_id in marks:
                study.paused[trial_id] = marks[trial_id], trial

    def _new_rows(
        self, connection: Connection, study_id: int, marks: Mapping[int, Mark]
    ) -> Sequence[Row[Any]]:
        """Return the rows of trials that may be new or have changed, and that of the last ended.

        The last one tells when this is not the study that was read, which is then forgotten.
        """
        study = self.study(study_id)
        study.paused = {n: p for n, p in study.paused.items() if marks.get(n) == p[0]}
        among = (study.unfinished - study.paused.keys()) | {study.last_ended[0]}
        rows = private.rows_from(connection, study_id, study.highest + 1, among)
        same = any((r.trial_id, r.datetime_complete) == study.last_ended for r in rows)
        if study.ended and not same:
            self.forget(study_id)
            return self._new_rows(connection, study_id, {})
        if not rows and not private.study_exists(connection, study_id):
            self.forget(study_id)
            raise KeyError(f"there is no study with id {study_id} any more")
        return rows

    def _keep(
        self, study: StudyRead, trials: Sequence[FrozenTrial], rows: Sequence[Row[Any]]
    ) -> None:
        """Keep trials that have ended, and what they draw their parameters from."""
        for trial, row in zip(trials, rows, strict=True):
            for other in self._studies.values():
                other.ended.pop(row.trial_id, None)
            study.ended[row.trial_id] = trial
            study.unfinished.discard(row.trial_id)
            study.paused.pop(row.trial_id, None)
            study.last_ended = max(study.last_ended, (row.trial_id, row.datetime_complete))
            for param, distribution in trial.distributions.items():
                study.distributions.setdefault(param, distribution)
