"""Optuna's trials as a worker reads and writes them: in few statements, and each only once.

Optuna's own storage takes a transaction and three or more statements for every attribute and
parameter, and reads all running trials again, with all they have, whenever any trial is asked for.
With many workers that costs more than the training of small networks. This one keeps Optuna's
tables and promises, and writes in one transaction all that is known at a time.
"""

from __future__ import annotations

import copy
import threading
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial
from sqlalchemy import Connection, Engine, bindparam, exists

from hpsearch.storage import optuna_private as private
from hpsearch.storage.leases import Lease, LeaseLostError
from hpsearch.storage.optuna_rows import Attrs, Changes
from hpsearch.storage.retry import RetryingStorage
from hpsearch.storage.schema import TRIAL, leases, reading
from hpsearch.storage.trial_cache import StudyRead, TrialCache

UNDER_LEASE = exists().where(
    leases.c.study == bindparam("study_"),
    leases.c.kind == TRIAL,
    leases.c.slot == bindparam("slot_"),
    leases.c.worker == bindparam("worker_"),
    ~leases.c.done,
)
TAKING = {False: private.Taking(), True: private.Taking(UNDER_LEASE)}  # by whether under a lease


class TrialStore(BaseStorage):
    """A storage for Optuna, with Optuna's tables; see the module.

    A finished trial never changes, so it is read once. A running trial is read only for those who
    ask for running ones. A trial that is `held` is written by this process alone, so it is not
    read at all, and its parameters are written with whatever is written next. With its lease it is
    written for as long as that is held: a process that was asleep while another took its trial
    over, or while the study was deleted and its trials' ids went to those of a new one, writes
    nothing.
    """

    def __init__(self, backend: RetryingStorage) -> None:
        self._backend = backend
        self._retry = backend.retry
        self._engine: Engine = backend.engine
        self._lock = threading.Lock()
        self._read = TrialCache()
        self._held: dict[int, FrozenTrial] = {}
        self._leases: dict[int, Lease] = {}  # on those that are held
        self._made: dict[int, FrozenTrial] = {}  # by this process, and not held yet
        self._unsaved: dict[int, dict[str, tuple[float, BaseDistribution]]] = defaultdict(dict)

    @property
    def backend(self) -> RetryingStorage:
        """Optuna's own storage below this one, for another one like this."""
        return self._backend

    def __reduce__(self) -> tuple[type[TrialStore], tuple[RetryingStorage]]:
        """A copy in another process connects by itself; what is held here, it does not hold."""
        return TrialStore, (self._backend,)

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

    # Studies

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        study_id = self._backend.create_new_study(directions, study_name)
        with self._lock:
            self._read.put(study_id, StudyRead(study_name, list(directions)))
        return study_id

    def delete_study(self, study_id: int) -> None:
        with self._lock:
            self._read.forget(study_id)
        self._backend.delete_study(study_id)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._backend.set_study_user_attr(study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._backend.set_study_system_attr(study_id, key, value)

    def get_study_id_from_name(self, study_name: str) -> int:
        study_id = self._backend.get_study_id_from_name(study_name)
        with self._lock:
            if self._read.study(study_id).name not in (None, study_name):
                self._read.forget(study_id)  # that study was deleted, and its id given out again
            self._read.study(study_id).name = study_name
        return study_id

    def get_study_name_from_id(self, study_id: int) -> str:
        with self._lock:
            name = self._read.study(study_id).name
        if name is None:
            name = self._backend.get_study_name_from_id(study_id)
            with self._lock:
                self._read.study(study_id).name = name
        return name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        with self._lock:
            directions = self._read.study(study_id).directions
        if directions is None:
            directions = self._backend.get_study_directions(study_id)
            with self._lock:
                self._read.study(study_id).directions = directions
        return directions

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return self._backend.get_study_user_attrs(study_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self._backend.get_study_system_attrs(study_id)

    def get_all_studies(self) -> list[Any]:
        return self._backend.get_all_studies()

    def remove_session(self) -> None:
        self._backend.remove_session()

    # Writing

    def write(
        self,
        trial_id: int,
        user_attrs: Attrs | None = None,
        steps: Mapping[int, float] | None = None,
    ) -> None:
        """Write attributes and intermediate values to a trial, in one transaction.

        What was there under the same name is replaced. Raises UpdateFinishedTrialError where the
        trial has ended.
        """
        self._write(trial_id, Changes(user_attrs=user_attrs or {}, steps=steps or {}))

    def _write(self, trial_id: int, changes: Changes) -> None:
        params = dict(self._unsaved.get(trial_id, {}))

        def transaction() -> None:
            with self._engine.begin() as connection:
                self._lock_trial(connection, trial_id, changes.state)
                for name, (_, distribution) in changes.params.items():
                    self._check(trial_id, name, distribution, connection)
                whole = replace(changes, params=params | dict(changes.params))
                private.put_changes(connection, trial_id, whole)

        self._retry.call(transaction)
        self._unsaved.pop(trial_id, None)
        self._made.pop(trial_id, None)
        if trial_id in self._held:
            written = copy.copy(self._held[trial_id])
            written.user_attrs = written.user_attrs | dict(changes.user_attrs)
            written.system_attrs = written.system_attrs | dict(changes.system_attrs)
            written.intermediate_values = written.intermediate_values | dict(changes.steps)
            written.state = changes.state or written.state
            if changes.values is not None:
                written.values = list(changes.values)
            self._held[trial_id] = written

    def _lock_trial(
        self, connection: Connection, trial_id: int, ends_as: TrialState | None
    ) -> None:
        """Take the trial's row; a trial that another has ended meanwhile stays as it is."""
        lease = self._leases.get(trial_id)
        given: dict[str, Any] = {}
        if lease is not None:
            given = {"study_": lease.study, "slot_": lease.slot, "worker_": lease.worker}
        if TAKING[lease is not None].take(connection, trial_id, ends_as, given):
            return
        self._forget(trial_id)
        state = private.state_of(connection, trial_id)
        if lease is not None and (state is None or not state.is_finished()):
            raise LeaseLostError(f"{lease.on} of '{lease.study}'")
        if state is None:
            raise KeyError(f"there is no trial with id {trial_id} any more")
        raise UpdateFinishedTrialError(f"the trial with id {trial_id} is {state.name.lower()}")

    def _check(
        self,
        trial_id: int,
        param: str,
        drawn: BaseDistribution,
        connection: Connection | None = None,
    ) -> None:
        """Raise ValueError where other trials of the study draw a parameter from something else.

        What they draw it from is read once, and not at all where a trial that has ended told.
        """
        with self._lock:
            study = self._read.study_of(trial_id)
        known = study.distributions.get(param) if study else None
        if known is None:
            with nullcontext(connection) if connection else reading(self._engine) as connected:
                known = private.a_distribution(connected, trial_id, param) or drawn
        check_distribution_compatibility(known, drawn)
        if study is not None:
            study.distributions[param] = known

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Make a trial after a template, or a running one; return its id.

        May not be repeated blindly after an error: the trial may have been made unheard.
        """
        template = template_trial or create_trial(state=TrialState.RUNNING)
        has_more = template.params or template.values or template.intermediate_values
        if template.state != TrialState.RUNNING or has_more:
            return self._backend.create_new_trial(study_id, template)
        with self._engine.begin() as connection:
            trial = private.insert_running(connection, study_id, template)
        trial_id = private.id_of(trial)
        self._made[trial_id] = trial
        with self._lock:
            self._read.study(study_id).unfinished.add(trial_id)
        return trial_id

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        held = self._held.get(trial_id)
        if held is None:
            params = {param_name: (param_value_internal, distribution)}
            self._write(trial_id, Changes(params=params))
            return
        self.check_trial_is_updatable(trial_id, held.state)
        self._retry.call(lambda: self._check(trial_id, param_name, distribution))
        self._unsaved[trial_id][param_name] = (param_value_internal, distribution)
        drawn = copy.copy(held)  # whoever was given `held` finds it as it was
        drawn.params = held.params | {
            param_name: distribution.to_external_repr(param_value_internal)
        }
        drawn.distributions = held.distributions | {param_name: distribution}
        self._held[trial_id] = drawn

    def undraw(self, trial_id: int) -> None:
        """Forget the parameters that a held trial has drawn, and that nobody was told of yet."""
        self._unsaved.pop(trial_id, None)
        fresh = copy.copy(self._held[trial_id])
        fresh.params, fresh.distributions = {}, {}
        self._held[trial_id] = fresh

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._write(trial_id, Changes(user_attrs={key: value}))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._write(trial_id, Changes(system_attrs={key: value}))

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        self._write(trial_id, Changes(steps={step: intermediate_value}))

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        if not state.is_finished():
            return self._backend.set_trial_state_values(trial_id, state, values)
        self._write(trial_id, Changes(state=state, values=values))
        return True

    # Reading

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        return self._backend.get_trial_id_from_study_id_trial_number(study_id, trial_number)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        found = self._held.get(trial_id)
        if found is None:
            with self._lock:
                found = self._read.ended_trial(trial_id)
        return self._backend.get_trial(trial_id) if found is None else found

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        wants_unfinished = states is None or any(s in states for s in private.UNFINISHED)

        def reading_them() -> list[FrozenTrial]:
            with reading(self._engine) as connection:
                return self._read.read_trials(connection, study_id, wants_unfinished, self._held)

        with self._lock:
            trials = self._retry.call(reading_them)
        trials = [t for t in trials if states is None or t.state in states]
        trials.sort(key=lambda t: t.number)
        return copy.deepcopy(trials) if deepcopy else trials

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """Return the complete trial with the best value, of equals the first one."""
        directions = self.get_study_directions(study_id)
        if len(directions) > 1:
            raise RuntimeError("a study of several objectives has no single best trial")
        complete = self.get_all_trials(study_id, deepcopy=False, states=(TrialState.COMPLETE,))
        if not complete:
            raise ValueError("no trials are complete yet")
        sign = -1 if directions[0] == StudyDirection.MAXIMIZE else 1
        return min(complete, key=lambda t: (sign * (t.value or 0.0), t.number))


def note(
    trial: Trial, user_attrs: Attrs | None = None, steps: Mapping[int, float] | None = None
) -> None:
    """Write attributes and intermediate values of a live trial of a TrialStore at once.

    Unlike Optuna's `report`, an intermediate value that is there already is replaced.
    """
    store = trial.storage
    assert isinstance(store, TrialStore)
    store.write(private.id_of(trial), user_attrs, steps)
    private.remember(trial, user_attrs, steps)
