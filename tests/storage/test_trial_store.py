"""Trials written in few statements are, to Optuna's own storage, trials like any other."""

from __future__ import annotations

import math
import pickle
import threading
from typing import Any

import optuna
import pytest
from fixtures_storage import Outage
from made_studies import begin_trial, claimed, enter, rewind, run_trial
from optuna.distributions import FloatDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event

from hpsearch.storage.leases import LeaseLostError
from hpsearch.storage.optuna_trials import note
from hpsearch.storage.retry import DATABASE_ERRORS
from hpsearch.storage.schema import leases
from hpsearch.storage.storage import Storage, open_storage


def as_optuna_reads(storage: Storage, study: str) -> list[FrozenTrial]:
    """Read trials through a storage of Optuna's own, as optuna-dashboard does."""
    plain = RDBStorage(storage.url.render_as_string(False))
    try:
        return optuna.load_study(study_name=study, storage=plain).get_trials()
    finally:
        plain.remove_session()
        plain.engine.dispose()


class Counted:
    """Counts the statements of a storage's engines."""

    def __init__(self, storage: Storage) -> None:
        self.statements: list[str] = []
        for engine in storage.engines:
            event.listen(engine, "before_cursor_execute", self._count)

    def _count(self, _c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        self.statements.append(statement)


def test_optuna_reads_what_was_written(storage: Storage) -> None:
    spec = enter(storage)
    trial = begin_trial(storage, spec, claimed(storage, spec))
    note(trial, {"curve": [{"epoch": 1}], "worker": "w"}, steps={1: 0.25, 2: 0.5})
    trial.set_constraint("memory", 1.0)
    trial.study.tell(trial, 0.75)
    (theirs,), (ours,) = as_optuna_reads(storage, spec.name), storage.load(spec.name).get_trials()
    assert theirs.state == TrialState.COMPLETE
    assert theirs.value == 0.75
    assert theirs.params.keys() == {"learning_rate", "filters"}
    assert theirs.intermediate_values == {1: 0.25, 2: 0.5}
    assert theirs.user_attrs["curve"] == [{"epoch": 1}]
    assert theirs.constraints == {"memory": 1.0}
    assert theirs.datetime_start is not None
    assert theirs.datetime_complete is not None
    assert theirs.datetime_start <= theirs.datetime_complete
    assert ours == theirs


def test_a_held_trial_is_the_same_as_one_that_is_read_each_time(storage: Storage) -> None:
    spec = enter(storage)
    lease = claimed(storage, spec)
    template = begin_trial(storage, spec, lease)
    with storage.optuna.held(template._trial_id):
        note(template, {"a": 1}, steps={1: 0.5})
        note(template, {"a": 2}, steps={2: 0.75})
        held = storage.optuna.get_trial(template._trial_id)
    read = storage.optuna.get_trial(template._trial_id)
    assert held is not read
    assert held == read
    assert read.user_attrs["a"] == 2


def test_a_trial_made_here_is_held_without_being_read(storage: Storage) -> None:
    spec = enter(storage)
    study_id = storage.load(spec.name)._study_id
    template = optuna.trial.create_trial(state=TrialState.RUNNING, user_attrs={"slot": 0})
    trial_id = storage.optuna.create_new_trial(study_id, template)
    counted = Counted(storage)
    with storage.optuna.held(trial_id):
        held = storage.optuna.get_trial(trial_id)
    assert counted.statements == []
    read = storage.optuna.get_trial(trial_id)
    assert (held.number, held.user_attrs) == (read.number, read.user_attrs) == (0, {"slot": 0})


def test_parameters_of_a_held_trial_are_written_with_what_follows(storage: Storage) -> None:
    spec = enter(storage)
    lease = claimed(storage, spec)
    study = storage.load(spec.name, optuna.samplers.RandomSampler(seed=0))
    template = optuna.trial.create_trial(state=TrialState.RUNNING)
    trial_id = storage.optuna.create_new_trial(study._study_id, template)
    storage.leases.set_trial(lease, trial_id)
    with storage.optuna.held(trial_id):
        trial = optuna.trial.Trial(study, trial_id)
        asked = trial.suggest_float("dropout", 0.0, 0.5), trial.suggest_int("filters", 8, 64)
        assert as_optuna_reads(storage, spec.name)[0].params == {}
        note(trial, {"parameters": 7})
    (read,) = as_optuna_reads(storage, spec.name)
    assert (read.params["dropout"], read.params["filters"]) == asked
    assert read.user_attrs["parameters"] == 7


def test_a_trial_that_another_has_ended_is_not_written_to(storage: Storage) -> None:
    spec = enter(storage)
    trial = begin_trial(storage, spec, claimed(storage, spec))
    other = open_storage(storage.url.render_as_string(False))
    with storage.optuna.held(trial._trial_id):
        other.optuna.set_trial_state_values(trial._trial_id, TrialState.PRUNED, [0.5])
        with pytest.raises(UpdateFinishedTrialError):
            note(trial, {"late": True})
        assert storage.optuna.get_trial(trial._trial_id).state == TrialState.PRUNED
    other.close()
    assert "late" not in as_optuna_reads(storage, spec.name)[0].user_attrs


def test_a_trial_whose_study_was_deleted_says_so(storage: Storage) -> None:
    spec = enter(storage)
    trial = begin_trial(storage, spec, claimed(storage, spec))
    study_id = trial.study._study_id
    storage.delete_study(spec.name)
    with pytest.raises(KeyError, match="any more"):
        note(trial, {"late": True})
    with pytest.raises(KeyError, match="any more"):
        storage.optuna.create_new_trial(study_id)


def test_who_lost_the_lease_writes_nothing(storage: Storage) -> None:
    spec = enter(storage)
    lease = claimed(storage, spec, "asleep")
    trial = begin_trial(storage, spec, lease)
    with storage.optuna.held(trial._trial_id, lease):
        note(trial, {"worker": "asleep"}, steps={1: 0.5})
        rewind(storage, leases, "expires_at", 100)
        note(trial, steps={2: 0.6})  # late, and nobody has taken it over
        assert claimed(storage, spec, "awake").slot == lease.slot
        for write in (
            lambda: note(trial, {"worker": "asleep still"}, steps={3: 0.7}),
            lambda: trial.study.tell(trial, 0.7),
        ):
            with pytest.raises(LeaseLostError, match="slot 0 of 'made'"):
                write()
    (read,) = as_optuna_reads(storage, spec.name)
    assert read.state == TrialState.RUNNING
    assert read.user_attrs["worker"] == "asleep"
    assert read.intermediate_values == {1: 0.5, 2: 0.6}


def test_a_worker_of_a_deleted_study_writes_nothing_to_one_made_anew(storage: Storage) -> None:
    spec = enter(storage)
    lease = claimed(storage, spec, "unaware")
    old = begin_trial(storage, spec, lease)
    with storage.optuna.held(old._trial_id, lease):
        other = open_storage(storage.url.render_as_string(False))
        other.delete_study(spec.name)
        enter(other, spec)
        new = begin_trial(other, spec, claimed(other, spec, "aware"))
        if storage.url.drivername == "sqlite":
            assert new._trial_id == old._trial_id, "SQLite gives ids again"
        with pytest.raises(LeaseLostError):
            note(old, {"worker": "unaware"}, steps={1: 0.5})
        other.close()
    (read,) = as_optuna_reads(storage, spec.name)
    assert read.intermediate_values == {} and "worker" not in read.user_attrs


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_numbers_that_are_not_finite_come_back(storage: Storage, number: float) -> None:
    spec = enter(storage)
    trial = begin_trial(storage, spec, claimed(storage, spec))
    note(trial, steps={1: number})
    trial.study.tell(trial, state=TrialState.PRUNED)
    (ours,) = storage.load(spec.name).get_trials()
    (theirs,) = as_optuna_reads(storage, spec.name)
    assert str(ours.intermediate_values[1]) == str(theirs.intermediate_values[1]) == str(number)


def test_running_trials_of_others_are_read_only_when_asked_for(storage: Storage) -> None:
    spec = enter(storage)
    run_trial(storage, spec, [0.5])
    for _ in range(3):
        begin_trial(storage, spec, claimed(storage, spec))
    reader = open_storage(storage.url.render_as_string(False))
    study = reader.load(spec.name)
    assert len(study.get_trials(states=(TrialState.COMPLETE,))) == 1
    counted = Counted(reader)
    assert len(study.get_trials(states=(TrialState.COMPLETE,))) == 1
    assert len(counted.statements) == 1
    assert len(study.get_trials()) == 4
    reader.close()


def test_a_trial_that_ends_after_later_ones_is_noticed(storage: Storage) -> None:
    spec = enter(storage)
    first = begin_trial(storage, spec, claimed(storage, spec))
    run_trial(storage, spec, [0.5])
    reader = open_storage(storage.url.render_as_string(False))
    study = reader.load(spec.name)
    assert [t.number for t in study.get_trials(states=(TrialState.COMPLETE,))] == [1]
    first.study.tell(first, 0.25)
    assert [t.number for t in study.get_trials(states=(TrialState.COMPLETE,))] == [0, 1]
    assert study.best_trial.number == 1
    reader.close()


def test_the_best_of_equal_trials_is_the_first(storage: Storage) -> None:
    spec = enter(storage)
    for value in (0.5, 0.75, 0.75):
        run_trial(storage, spec, [value])
    assert storage.load(spec.name).best_trial.number == 1


def test_an_epoch_takes_one_transaction(storage: Storage) -> None:
    spec = enter(storage)
    trial = begin_trial(storage, spec, claimed(storage, spec))
    counted = Counted(storage)
    with storage.optuna.held(trial._trial_id):
        counted.statements.clear()
        note(trial, {"curve": [1, 2, 3], "duration_s": 1.0}, steps={1: 0.5})
        assert len(counted.statements) == 3  # the trial's row, attributes, intermediate value
        trial.should_prune()
        assert len(counted.statements) == 4


def test_a_study_made_anew_under_the_ids_of_a_deleted_one_is_read_anew(storage: Storage) -> None:
    """SQLite gives ids out again, and a worker of a pool outlives many studies."""
    spec = enter(storage)
    old = run_trial(storage, spec, [0.25])
    reader = open_storage(storage.url.render_as_string(False))
    assert reader.load(spec.name).best_value == 0.25
    storage.delete_study(spec.name)
    enter(storage, spec)
    assert reader.load(spec.name).get_trials() == []
    new = run_trial(storage, spec, [0.75])
    if storage.url.drivername.startswith("sqlite"):
        assert new._trial_id == old._trial_id
    assert reader.load(spec.name).best_value == 0.75
    assert reader.optuna.get_trial(new._trial_id) == new
    reader.close()


def test_an_incompatible_parameter_of_a_held_trial_is_refused_and_not_written(
    storage: Storage,
) -> None:
    spec = enter(storage)
    run_trial(storage, spec, [0.5])
    other = open_storage(storage.url.render_as_string(False))  # has read nothing yet
    study = other.load(spec.name)
    trial_id = other.optuna.create_new_trial(study._study_id)
    with other.optuna.held(trial_id):
        trial = optuna.trial.Trial(study, trial_id)
        with pytest.raises(ValueError, match="distribution kind"):
            trial.suggest_categorical("filters", ["few", "many"])
        trial.suggest_int("filters", 1, 100)
        note(trial, {"parameters": 7})
    other.close()
    assert storage.load(spec.name).get_trials()[1].distributions.keys() == {"filters"}


def test_what_parameters_are_drawn_from_is_read_once(storage: Storage) -> None:
    spec = enter(storage)
    run_trial(storage, spec, [0.5])
    other = open_storage(storage.url.render_as_string(False))
    study = other.load(spec.name, optuna.samplers.RandomSampler(seed=0))
    ids = [other.optuna.create_new_trial(study._study_id) for _ in range(2)]
    counted = Counted(other)
    for trial_id, statements in zip(ids, (2, 0), strict=True):
        counted.statements.clear()
        with other.optuna.held(trial_id):
            trial = optuna.trial.Trial(study, trial_id)
            trial.suggest_int("filters", 8, 64)
            trial.suggest_float("dropout", 0.0, 0.5)  # in no trial yet
            assert len(counted.statements) == statements
    other.close()


def test_a_trial_that_was_given_out_stays_as_it_was(storage: Storage) -> None:
    store, spec = storage.optuna, enter(storage)
    study_id = storage.load(spec.name)._study_id
    trial_id = store.create_new_trial(study_id)
    with store.held(trial_id):
        (before,) = store.get_all_trials(study_id, deepcopy=False)
        store.set_trial_param(trial_id, "dropout", 0.25, FloatDistribution(0.0, 0.5))
        store.write(trial_id, {"a": 1}, steps={1: 0.5})
        store.set_trial_param(trial_id, "smoothing", 0.25, FloatDistribution(0.0, 0.5))
        (after,) = store.get_all_trials(study_id, deepcopy=False)
    assert (before.params, before.user_attrs, before.intermediate_values) == ({}, {}, {})
    assert after.params == {"dropout": 0.25, "smoothing": 0.25}


def test_a_pickled_storage_does_not_wait_for_a_database(outage: Outage, storage_url: str) -> None:
    stays = threading.Event()  # cannot be pickled
    opened = open_storage(storage_url, gives_up=stays.is_set)
    spec = enter(opened)
    run_trial(opened, spec, [0.5])
    copy = pickle.loads(pickle.dumps(opened.optuna))
    study = optuna.load_study(study_name=spec.name, storage=copy)
    assert study.best_value == 0.5
    with outage(opened), pytest.raises(DATABASE_ERRORS):
        study.set_user_attr("x", 1)
    copy.remove_session()
    copy._backend.engine.dispose()
    opened.close()


def test_optuna_optimizes_on_this_storage_without_a_lease(storage: Storage) -> None:
    """As a user does who goes on with `optuna` alone, enqueued trials included."""
    study = optuna.create_study(storage=storage.optuna, study_name="plain")
    study.enqueue_trial({"x": 0.5})
    study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0) ** 2, n_trials=3)
    states = [t.state for t in as_optuna_reads(storage, "plain")]
    assert states == [TrialState.COMPLETE] * 3
    assert study.get_trials()[0].params == {"x": 0.5}


def test_a_waiting_trial_can_be_ended_as_the_dashboard_does(storage: Storage) -> None:
    study = optuna.create_study(storage=storage.optuna, study_name="plain")
    study.enqueue_trial({"x": 0.5})
    (waiting,) = study.get_trials()
    assert storage.optuna.set_trial_state_values(waiting._trial_id, TrialState.COMPLETE, [0.5])
    assert [t.state for t in as_optuna_reads(storage, "plain")] == [TrialState.COMPLETE]


def test_a_paused_trial_is_read_once_for_as_long_as_it_waits(storage: Storage) -> None:
    spec = enter(storage)
    reader = open_storage(storage.url.render_as_string(False))
    leases_of = [claimed(storage, spec) for _ in range(2)]
    trials = [begin_trial(storage, spec, lease) for lease in leases_of]
    study = reader.load(spec.name)

    def read() -> list[FrozenTrial]:
        return study.get_trials(deepcopy=False)

    note(trials[0], {"paused": 1, "until": "later"}, steps={1: 0.5})
    storage.pauses.pause(leases_of[0], 1)
    read()
    first = read()[0]
    counted = Counted(reader)
    again = read()
    assert again[0] is first and again[1] is not first and len(again) == 2
    in_detail = [s for s in counted.statements if "trial_intermediate_values" in s]
    assert len(in_detail) == 1, "of the one that runs"
    lease = storage.pauses.resume(spec.name, 0, "another")
    assert lease is not None
    note(trials[0], {"paused": None, "resumed": 1})
    storage.pauses.go_on(lease)
    note(trials[0], steps={2: 0.75})
    assert read()[0].intermediate_values == {1: 0.5, 2: 0.75}
    note(trials[0], {"paused": 2})
    storage.pauses.pause(lease, 2)
    read()
    assert read()[0] is read()[0]
    assert read()[0].user_attrs["paused"] == 2
    left = storage.pauses.resume(spec.name, 0, "third")
    assert left is not None
    trials[0].study.tell(trials[0], state=TrialState.PRUNED)
    assert [t.state for t in read()] == [TrialState.PRUNED, TrialState.RUNNING]
    reader.close()
