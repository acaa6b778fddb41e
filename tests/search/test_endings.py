"""How trials end, and when their study has to."""

from __future__ import annotations

from fixtures_storage import on_sqlite
from made_studies import begin_trial, claimed, enter, open_leases, run_trial, stored
from optuna.trial import TrialState

from hpsearch.search import outcomes as endings
from hpsearch.storage.storage import Storage
from hpsearch.storage.studies import OPEN, STOPPED
from hpsearch.study.spec import StudySpec


def fail(storage: Storage, spec: StudySpec, reason: str) -> None:
    lease = claimed(storage, spec)
    endings.fail(storage, begin_trial(storage, spec, lease), lease, reason, "Traceback ...")


def state_of(storage: Storage, spec: StudySpec) -> tuple[str, str]:
    row = storage.ledger.study(spec.name)
    assert row is not None
    return row.state, row.note


def test_three_failures_in_a_row_from_one_cause_stop_the_study(storage: Storage) -> None:
    spec = enter(storage)
    for number in range(3):
        assert state_of(storage, spec)[0] == OPEN
        fail(storage, spec, f"IndexError: target {number} is out of bounds")
    assert state_of(storage, spec) == (
        STOPPED,
        "3 trials in a row failed: IndexError: target 2 is out of bounds",
    )
    assert storage.leases.claim(spec.name, "worker") is None
    assert all(t.user_attrs["traceback"] == "Traceback ..." for t in stored(storage, spec).trials)


@on_sqlite
def test_failures_from_different_causes_do_not_stop_the_study(storage: Storage) -> None:
    spec = enter(storage)
    for reason in ("a disk", "a network", "a disk", "a network"):
        fail(storage, spec, reason)
    assert state_of(storage, spec)[0] == OPEN


@on_sqlite
def test_a_trial_that_succeeds_between_failures_keeps_the_study_open(storage: Storage) -> None:
    spec = enter(storage)
    for _ in range(2):
        fail(storage, spec, "a disk")
    run_trial(storage, spec)
    for _ in range(2):
        fail(storage, spec, "a disk")
    assert state_of(storage, spec)[0] == OPEN


def test_an_infeasible_trial_is_pruned_with_a_constraint_that_samplers_read(
    storage: Storage,
) -> None:
    spec = enter(storage)
    lease = claimed(storage, spec)
    trial = begin_trial(storage, spec, lease)
    assert endings.prune(storage, trial, lease, "too large", "memory") == TrialState.PRUNED
    (ended,) = stored(storage, spec).trials
    assert ended.constraints == {"memory": 1.0}
    assert ended.user_attrs["reason"] == "too large"
    assert open_leases(storage, spec.name) == 0


@on_sqlite
def test_ending_a_trial_that_has_ended_changes_nothing(storage: Storage) -> None:
    """As after an outage in which the first word was carried out, and the answer lost."""
    spec = enter(storage)
    lease = claimed(storage, spec)
    trial = begin_trial(storage, spec, lease)
    endings.complete(storage, trial, lease, 0.9)
    endings.complete(storage, trial, lease, 0.1)
    (ended,) = stored(storage, spec).trials
    assert ended.value == 0.9


@on_sqlite
def test_a_supervisor_finds_the_trial_of_a_lease_unless_it_has_ended(storage: Storage) -> None:
    spec = enter(storage)
    lease = claimed(storage, spec)
    assert endings.live_trial(storage, lease) is None, "it does not exist yet"
    trial = begin_trial(storage, spec, lease)
    (held,) = storage.leases.held_by([lease.worker])
    found = endings.live_trial(storage, held.lease)
    assert found is not None and found.number == trial.number
    endings.complete(storage, trial, lease, 0.9)
    assert endings.live_trial(storage, held.lease) is None


@on_sqlite
def test_failures_are_in_a_row_by_when_trials_ended(storage: Storage) -> None:
    spec = enter(storage)
    lease = claimed(storage, spec, "slow")
    slow = begin_trial(storage, spec, lease)
    for _ in range(2):
        fail(storage, spec, "a disk")
    endings.complete(storage, slow, lease, 0.5)  # begun before them, ended after them
    fail(storage, spec, "a disk")
    assert state_of(storage, spec)[0] == OPEN


@on_sqlite
def test_a_study_that_was_resumed_in_vain_stops_again(storage: Storage) -> None:
    spec = enter(storage)
    for _ in range(3):
        fail(storage, spec, "a disk")
    storage.ledger.set_state(spec.name, OPEN)
    fail(storage, spec, "a disk")
    assert state_of(storage, spec)[0] == STOPPED
