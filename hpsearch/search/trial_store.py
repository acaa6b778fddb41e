"""Optuna's trials as a worker reads and writes them: in few statements, and each only once.

Optuna's own storage takes a transaction and three or more statements for every attribute and
parameter, and reads all running trials again, with all they have, whenever any trial is asked for.
With many workers that costs more than the training of small networks. This one keeps Optuna's
tables and promises, and writes in one transaction all that is known at a time.
"""

from __future__ import annotations

import copy
import functools
import json
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    distribution_to_json,
    json_to_distribution,
)
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import _CachedStorage
from optuna.storages._cached_storage import _StudyInfo
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial
from sqlalchemy import (
    Connection,
    Engine,
    Row,
    Table,
    Update,
    bindparam,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from hpsearch.search.leases import Lease, LeaseLostError
from hpsearch.search.patience import PatientStorage
from hpsearch.search.tables import leases, reading

STUDIES: Table = models.StudyModel.__table__
TRIALS: Table = models.TrialModel.__table__
PARAMS: Table = models.TrialParamModel.__table__
VALUES: Table = models.TrialValueModel.__table__
STEPS: Table = models.TrialIntermediateValueModel.__table__
USER_ATTRS: Table = models.TrialUserAttributeModel.__table__
SYSTEM_ATTRS: Table = models.TrialSystemAttributeModel.__table__

READ_AT_ONCE = 500  # trials; databases bound the number of values in a statement

Attrs = Mapping[str, Any]


def _taken(leased: bool, ended: bool) -> Update:
    """Return the statement that takes the row of a running trial, under its lease or without."""
    taken = update(TRIALS).where(
        TRIALS.c.trial_id == bindparam("id_"), TRIALS.c.state == TrialState.RUNNING
    )
    if leased:
        taken = taken.where(
            exists().where(
                leases.c.study == bindparam("study_"),
                leases.c.slot == bindparam("slot_"),
                leases.c.worker == bindparam("worker_"),
                ~leases.c.done,
            )
        )
    taken = taken.values(state=bindparam("to_"))
    return taken.values(datetime_complete=bindparam("ended_")) if ended else taken


BOTH = (False, True)
# Made once: making them anew for every epoch would take a tenth of a millisecond.
TAKEN = {(leased, ended): _taken(leased, ended) for leased in BOTH for ended in BOTH}


class TrialStore(_CachedStorage):
    """Optuna's storage with Optuna's tables; see the module.

    A finished trial never changes, so it is read once. A running trial is read only for those who
    ask for running ones. A trial that is `held` is written by this process alone, so it is not
    read at all, and its parameters are written with whatever is written next. With its lease it is
    written for as long as that is held: a process that was asleep while another took its trial
    over, or while the study was deleted and its trials' ids went to those of a new one, writes
    nothing.
    """

    def __init__(self, backend: PatientStorage) -> None:
        super().__init__(backend)
        self._patience = backend.patience
        self._engine: Engine = backend.engine
        self._held: dict[int, FrozenTrial] = {}
        self._leases: dict[int, Lease] = {}  # on those that are held
        self._made: dict[int, FrozenTrial] = {}  # by this process, and not held yet
        self._unsaved: dict[int, dict[str, tuple[float, BaseDistribution]]] = defaultdict(dict)

    @contextmanager
    def held(self, trial_id: int, lease: Lease | None = None) -> Iterator[None]:
        """Within the block no other process writes to a trial: its worker has the lease.

        What is written once the lease is lost raises LeaseLostError.
        """
        if lease is not None:
            self._leases[trial_id] = lease
        made = self._made.pop(trial_id, None)
        self._held[trial_id] = self.get_trial(trial_id) if made is None else made
        try:
            yield
        finally:
            self._leases.pop(trial_id, None)
            self._forget(trial_id)

    def _forget(self, trial_id: int) -> None:
        self._held.pop(trial_id, None)
        self._unsaved.pop(trial_id, None)

    # Writing

    def write(
        self,
        trial_id: int,
        user_attrs: Attrs | None = None,
        system_attrs: Attrs | None = None,
        steps: Mapping[int, float] | None = None,
        state: TrialState = TrialState.RUNNING,
        values: Sequence[float] | None = None,
    ) -> None:
        """Write to a running trial, in one transaction, all that is given here.

        `steps` are its intermediate values, `state` is how it ends. What was there under the same
        name is replaced. Raises UpdateFinishedTrialError where the trial has ended.
        """
        ended = _utc_now() if state.is_finished() else None
        params = dict(self._unsaved.get(trial_id, {}))

        def transaction() -> None:
            with self._engine.begin() as connection:
                self._lock_running(connection, trial_id, state, ended)
                self._put(connection, PARAMS, "param_name", _param_rows(trial_id, params))
                self._put(connection, USER_ATTRS, "key", _attr_rows(trial_id, user_attrs))
                self._put(connection, SYSTEM_ATTRS, "key", _attr_rows(trial_id, system_attrs))
                self._put(connection, STEPS, "step", _step_rows(trial_id, steps))
                self._put(connection, VALUES, "objective", _value_rows(trial_id, values))

        self._patience.call(transaction)
        self._unsaved.pop(trial_id, None)
        self._made.pop(trial_id, None)
        if trial_id in self._held:
            written = copy.copy(self._held[trial_id])
            written.user_attrs = written.user_attrs | dict(user_attrs or {})
            written.system_attrs = written.system_attrs | dict(system_attrs or {})
            written.intermediate_values = written.intermediate_values | dict(steps or {})
            written.state = state
            if values is not None:
                written.values = list(values)
            self._held[trial_id] = written

    def _lock_running(
        self, connection: Connection, trial_id: int, state: TrialState, ended: datetime | None
    ) -> None:
        """Take the trial's row; a trial that another has ended meanwhile stays as it is."""
        lease = self._leases.get(trial_id)
        given: dict[str, Any] = {"id_": trial_id, "to_": state}
        if ended is not None:
            given["ended_"] = ended
        if lease is not None:
            given |= {"study_": lease.study, "slot_": lease.slot, "worker_": lease.worker}
        taken = connection.execute(TAKEN[lease is not None, ended is not None], given)
        if taken.rowcount == 1:
            return
        self._forget(trial_id)
        query = select(TRIALS.c.state).where(TRIALS.c.trial_id == trial_id)
        found = connection.execute(query).scalar()
        if lease is not None and (found is None or not found.is_finished()):
            raise LeaseLostError(f"the trial of slot {lease.slot} of '{lease.study}'")
        if found is None:
            raise KeyError(f"there is no trial with id {trial_id} any more")
        raise UpdateFinishedTrialError(f"the trial with id {trial_id} is {found.name.lower()}")

    def _put(
        self, connection: Connection, table: Table, key: str, rows: list[dict[str, Any]]
    ) -> None:
        """Insert rows, or replace those with the same trial and key."""
        if not rows:
            return
        dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
        new = dialect.insert(table)
        replaced = {c: new.excluded[c] for c in rows[0] if c not in ("trial_id", key)}
        put = new.on_conflict_do_update(index_elements=["trial_id", key], set_=replaced)
        connection.execute(put, rows)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Make a running trial with the attributes of a template; return its id.

        May not be repeated blindly after an error: the trial may have been made unheard.
        """
        template = template_trial or create_trial(state=TrialState.RUNNING)
        if template.state != TrialState.RUNNING or template.params:
            return super().create_new_trial(study_id, template)
        with self._engine.begin() as connection:
            # Numbers count up without gaps: only one process at a time gives them out.
            locked = select(STUDIES.c.study_id).where(STUDIES.c.study_id == study_id)
            if connection.execute(locked.with_for_update()).scalar() is None:
                raise KeyError(f"there is no study with id {study_id} any more")
            made = insert(TRIALS).values(
                study_id=study_id, state=TrialState.RUNNING, datetime_start=_utc_now()
            )
            trial_id: int = connection.execute(made.returning(TRIALS.c.trial_id)).scalar_one()
            before = (TRIALS.c.study_id == study_id) & (TRIALS.c.trial_id < trial_id)
            number = connection.execute(select(func.count()).where(before)).scalar_one()
            numbered = update(TRIALS).where(TRIALS.c.trial_id == trial_id).values(number=number)
            connection.execute(numbered)
            self._put(connection, USER_ATTRS, "key", _attr_rows(trial_id, template.user_attrs))
            self._put(connection, SYSTEM_ATTRS, "key", _attr_rows(trial_id, template.system_attrs))
        trial = copy.deepcopy(template)
        trial.number, trial._trial_id, trial.datetime_start = number, trial_id, datetime.now()
        self._made[trial_id] = trial
        return trial_id

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        self._unsaved[trial_id][param_name] = (param_value_internal, distribution)
        held = self._held.get(trial_id)
        if held is None:
            self.write(trial_id)
            return
        held.params[param_name] = distribution.to_external_repr(param_value_internal)
        held.distributions[param_name] = distribution

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.write(trial_id, user_attrs={key: value})

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.write(trial_id, system_attrs={key: value})

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        self.write(trial_id, steps={step: intermediate_value})

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        if not state.is_finished():
            return super().set_trial_state_values(trial_id, state, values)
        self.write(trial_id, state=state, values=values)
        return True

    # Reading

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self._held.get(trial_id) or super().get_trial(trial_id)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        running = states is None or TrialState.RUNNING in states or TrialState.WAITING in states
        with self._lock:
            study = self._studies.setdefault(study_id, _StudyInfo())
            self._patience.call(lambda: self._read_new(study_id, study, running))
            trials = [t for t in study.trials.values() if states is None or t.state in states]
        trials.sort(key=lambda t: t.number)
        return copy.deepcopy(trials) if deepcopy else trials

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """Return the complete trial with the best value, of equals the first one."""
        complete = self.get_all_trials(study_id, deepcopy=False, states=(TrialState.COMPLETE,))
        if not complete:
            raise ValueError("no trials are complete yet")
        sign = -1 if self.get_study_directions(study_id)[0] == StudyDirection.MAXIMIZE else 1
        return min(complete, key=lambda t: (sign * (t.value or 0.0), t.number))

    def _read_new(self, study_id: int, study: _StudyInfo, running: bool) -> None:
        """Read the trials that have ended since this was last asked, and on demand running ones."""
        new = or_(
            TRIALS.c.trial_id > study.last_finished_trial_id,
            TRIALS.c.trial_id.in_(study.unfinished_trial_ids),
        )
        with reading(self._engine) as connection:
            query = select(TRIALS).where(TRIALS.c.study_id == study_id, new)
            rows = connection.execute(query).all()
            ended = [row for row in rows if row.state.is_finished()]
            going = [row for row in rows if running and not row.state.is_finished()]
            ours = [self._held[row.trial_id] for row in going if row.trial_id in self._held]
            others = [row for row in going if row.trial_id not in self._held]
            trials = _load(connection, ended + others)
        self._add_trials_to_cache(study_id, trials + ours)
        for row in rows:
            if row.state.is_finished():
                study.unfinished_trial_ids.discard(row.trial_id)
                study.last_finished_trial_id = max(study.last_finished_trial_id, row.trial_id)
            else:
                study.unfinished_trial_ids.add(row.trial_id)


def note(
    trial: Trial, user_attrs: Attrs | None = None, steps: Mapping[int, float] | None = None
) -> None:
    """Write attributes and intermediate values of a live trial of a TrialStore at once.

    Unlike Optuna's `report`, an intermediate value that is there already is replaced.
    """
    store = trial.storage
    assert isinstance(store, TrialStore)
    store.write(trial._trial_id, user_attrs, steps=steps)
    trial._cached_frozen_trial.user_attrs.update(user_attrs or {})
    trial._cached_frozen_trial.intermediate_values.update(steps or {})


def _load(connection: Connection, rows: Sequence[Row[Any]]) -> list[FrozenTrial]:
    """Return the trials of these rows of the table of trials, with all they have."""
    loaded: list[FrozenTrial] = []
    for start in range(0, len(rows), READ_AT_ONCE):
        part = rows[start : start + READ_AT_ONCE]
        ids = [row.trial_id for row in part]
        params, values, steps, user_attrs, system_attrs = (
            _by_trial(connection, table, ids)
            for table in (PARAMS, VALUES, STEPS, USER_ATTRS, SYSTEM_ATTRS)
        )
        for row in part:
            id_ = row.trial_id
            distributions = {
                p.param_name: _distribution(p.distribution_json) for p in params.get(id_, ())
            }
            loaded.append(
                FrozenTrial(
                    number=row.number,
                    state=row.state,
                    value=None,
                    values=[_value(v) for v in values.get(id_, ())] or None,
                    datetime_start=_local(row.datetime_start),
                    datetime_complete=_local(row.datetime_complete),
                    params={
                        p.param_name: distributions[p.param_name].to_external_repr(p.param_value)
                        for p in params.get(id_, ())
                    },
                    distributions=distributions,
                    user_attrs={a.key: json.loads(a.value_json) for a in user_attrs.get(id_, ())},
                    system_attrs={
                        a.key: json.loads(a.value_json) for a in system_attrs.get(id_, ())
                    },
                    intermediate_values={s.step: _step(s) for s in steps.get(id_, ())},
                    trial_id=id_,
                )
            )
    return loaded


def _by_trial(connection: Connection, table: Table, ids: list[int]) -> dict[int, list[Row[Any]]]:
    """Return the rows of some trials, by trial, in the order in which they were written."""
    first_column = next(iter(table.primary_key))
    query = select(table).where(table.c.trial_id.in_(ids)).order_by(first_column)
    found: dict[int, list[Row[Any]]] = {}
    if ids:
        for row in connection.execute(query):
            found.setdefault(row.trial_id, []).append(row)
    return found


@functools.lru_cache(4096)
def _distribution(written: str) -> BaseDistribution:
    return json_to_distribution(written)


def _param_rows(
    trial_id: int, params: Mapping[str, tuple[float, BaseDistribution]]
) -> list[dict[str, Any]]:
    return [
        {
            "trial_id": trial_id,
            "param_name": name,
            "param_value": value,
            "distribution_json": distribution_to_json(distribution),
        }
        for name, (value, distribution) in params.items()
    ]


def _attr_rows(trial_id: int, attrs: Attrs | None) -> list[dict[str, Any]]:
    return [
        {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
        for key, value in (attrs or {}).items()
    ]


def _step_rows(trial_id: int, steps: Mapping[int, float] | None) -> list[dict[str, Any]]:
    stored = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr
    rows = []
    for step, number in (steps or {}).items():
        value, kind = stored(number)
        rows.append(
            {
                "trial_id": trial_id,
                "step": step,
                "intermediate_value": value,
                "intermediate_value_type": kind,
            }
        )
    return rows


def _value_rows(trial_id: int, values: Iterable[float] | None) -> list[dict[str, Any]]:
    rows = []
    for objective, number in enumerate(values or ()):
        value, kind = models.TrialValueModel.value_to_stored_repr(number)
        rows.append(
            {"trial_id": trial_id, "objective": objective, "value": value, "value_type": kind}
        )
    return rows


def _value(row: Row[Any]) -> float:
    return models.TrialValueModel.stored_repr_to_value(row.value, row.value_type)


def _step(row: Row[Any]) -> float:
    return models.TrialIntermediateValueModel.stored_repr_to_intermediate_value(
        row.intermediate_value, row.intermediate_value_type
    )


def _utc_now() -> datetime:
    """Return the time as Optuna's tables have it."""
    return datetime.now(UTC).replace(tzinfo=None)


def _local(utc: datetime | None) -> datetime | None:
    """Return a time of Optuna's tables as its trials have it."""
    return None if utc is None else utc.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)
