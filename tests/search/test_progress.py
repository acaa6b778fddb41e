"""Progress: what runs, what was interrupted, what was saved, and how long it will take."""

from __future__ import annotations

import pytest
from fixtures_storage import on_sqlite
from made_studies import begin_trial, claimed, enter, run_trial, spec_of
from optuna.trial import TrialState

from hpsearch.cli.notes import summary
from hpsearch.errors import StudyNotFoundError
from hpsearch.search.progress import SUPERVISOR, Progress, epochs_of, progress_of, why_waiting
from hpsearch.storage.schema import studies
from hpsearch.storage.storage import Storage
from hpsearch.storage.studies import DONE, PAUSED, STOPPED

EPOCHS = 5


def progress(storage: Storage) -> Progress:
    return progress_of(storage, "made")


@on_sqlite
def test_a_study_without_trials_has_made_no_progress(storage: Storage) -> None:
    enter(storage, trials=7)
    now = progress(storage)
    assert (now.state, now.budget, now.finished) == ("open", 7, 0)
    assert (now.running, now.interrupted, now.best) == ([], 0, None)
    assert (now.epochs_run, now.epochs_saved, now.time_left_s) == (0, 0, None)


@on_sqlite
def test_there_is_no_progress_of_an_unknown_study(storage: Storage) -> None:
    with pytest.raises(StudyNotFoundError):
        progress(storage)


def test_trials_are_counted_by_how_they_ended(storage: Storage) -> None:
    spec = enter(storage, trials=10)
    for curve in ([0.1] * 5, [0.3] * 5, [0.2] * 5):
        run_trial(storage, spec, curve)
    for length in (2, 3):
        run_trial(storage, spec, [0.9] * length, TrialState.PRUNED)
    run_trial(storage, spec, [0.9], TrialState.FAIL)
    now = progress(storage)
    assert (now.complete, now.pruned, now.failed, now.finished) == (3, 2, 1, 6)
    assert now.best is not None
    assert now.best.number == 1
    assert [epochs_of(t) for t in now.study.trials] == [5, 5, 5, 2, 3, 1]


def test_epochs_are_saved_by_pruning_and_by_nothing_else(storage: Storage) -> None:
    spec = enter(storage, trials=10)
    run_trial(storage, spec, [0.5] * EPOCHS)
    for length in (1, 3, EPOCHS):
        run_trial(storage, spec, [0.1] * length, TrialState.PRUNED)
    run_trial(storage, spec, [0.1] * 2, TrialState.FAIL)
    trial = begin_trial(storage, spec, claimed(storage, spec))
    trial.report(0.4, 1)
    now = progress(storage)
    assert now.epochs_saved == (EPOCHS - 1) + (EPOCHS - 3) + 0
    assert now.epochs_run == EPOCHS + (1 + 3 + EPOCHS) + 2 + 1


def test_a_trial_runs_while_its_lease_is_held_and_is_interrupted_after_that(
    storage: Storage,
) -> None:
    spec = enter(storage, trials=10)
    leases = [claimed(storage, spec, worker) for worker in ("alive", "dead", "stopped")]
    trials = [begin_trial(storage, spec, lease) for lease in leases]
    assert [t.number for t in progress(storage).running] == [0, 1, 2]
    storage.leases.expire_worker("dead")
    storage.leases.give_back(leases[2])
    now = progress(storage)
    assert [t.number for t in now.running] == [0]
    assert now.interrupted == 2
    taken = claimed(storage, spec, "next")
    assert taken.trial_id == trials[1]._trial_id
    now = progress(storage)
    assert [t.number for t in now.running] == [0, 1]
    assert now.interrupted == 1
    assert now.finished == 0


def test_a_claim_whose_trial_does_not_exist_yet_is_neither_running_nor_interrupted(
    storage: Storage,
) -> None:
    spec = enter(storage)
    claimed(storage, spec, "alive")
    claimed(storage, spec, "dead")
    storage.leases.expire_worker("dead")
    now = progress(storage)
    assert (now.running, now.interrupted) == ([], 0)


@pytest.mark.parametrize("dead", [False, True], ids=["alive", "dead"])
def test_a_trial_that_ended_is_over_though_its_worker_has_not_said_so_yet(
    storage: Storage, dead: bool
) -> None:
    spec = enter(storage)
    trial = begin_trial(storage, spec, claimed(storage, spec, "worker"))
    trial.study.tell(trial, 0.5)
    if dead:
        storage.leases.expire_worker("worker")
    now = progress(storage)
    assert (now.complete, now.running, now.interrupted) == (1, [], 0)


@pytest.mark.parametrize(
    ("pruner", "waits"),
    [
        ({"name": "median", "startup_trials": 4, "min_trials": 2}, [4, 3, 2, 1, 0, 0]),
        ({"name": "median", "startup_trials": 1, "min_trials": 3}, [3, 2, 1, 0, 0, 0]),
        ({"name": "percentile", "startup_trials": 2, "min_trials": 1}, [2, 1, 0, 0, 0, 0]),
        ({"name": "hyperband"}, [0, 0]),
        ({"name": "none"}, [0, 0]),
    ],
    ids=lambda written: written["name"] if isinstance(written, dict) else "",
)
@on_sqlite
def test_the_pruner_waits_for_complete_trials(
    storage: Storage, pruner: dict[str, object], waits: list[int]
) -> None:
    spec = enter(storage, spec_of(pruner=pruner, trials=20))
    seen = []
    for _ in waits:
        seen.append(progress(storage).pruner_waits_for)
        run_trial(storage, spec, [0.5] * EPOCHS)
        run_trial(storage, spec, [0.1], TrialState.PRUNED)
    assert seen == waits


@on_sqlite
def test_what_the_pruner_waits_for_is_when_it_begins(storage: Storage) -> None:
    spec = enter(storage, pruner={"name": "median", "startup_trials": 2, "min_trials": 2})
    while progress(storage).pruner_waits_for:
        weak = begin_trial(storage, spec, claimed(storage, spec))
        for epoch in range(1, EPOCHS + 1):
            weak.report(0.0, epoch)
            assert not weak.should_prune()
        run_trial(storage, spec, [0.9] * EPOCHS)
    weak = begin_trial(storage, spec, claimed(storage, spec))
    weak.report(0.0, 1)
    weak.report(0.0, 2)
    assert weak.should_prune()


# Time left


@on_sqlite
def test_the_time_left_is_the_mean_duration_of_what_is_left_shared_by_the_workers(
    storage: Storage,
) -> None:
    spec = enter(storage, trials=10)
    run_trial(storage, spec, [0.5], duration_s=30.0)
    run_trial(storage, spec, [0.1], TrialState.PRUNED, duration_s=10.0)
    assert progress(storage).time_left_s == pytest.approx(8 * 20.0)
    for worker in ("ann", "bob", "cid", "dan"):
        begin_trial(storage, spec, claimed(storage, spec, worker))
    assert progress(storage).time_left_s == pytest.approx(8 * 20.0 / 4)


@on_sqlite
def test_what_running_trials_have_done_is_not_left(storage: Storage) -> None:
    spec = enter(storage, trials=4)
    run_trial(storage, spec, [0.5], duration_s=20.0)
    for worker in ("first", "second"):
        trial = begin_trial(storage, spec, claimed(storage, spec, worker))
        trial.set_user_attr("duration_s", 5.0)
    assert progress(storage).time_left_s == pytest.approx((3 * 20.0 - 10.0) / 2)


def test_the_time_left_is_never_beyond_the_deadline_nor_below_nothing(storage: Storage) -> None:
    spec = enter(storage, trials=1000)
    storage.ledger.begin_launch("made", spec.model_dump_json(), 1000, 50.0)
    storage.ledger.tick("made")
    before = progress(storage).time_left_s
    assert before is not None and 40 < before <= 50
    run_trial(storage, spec, [0.5], duration_s=30.0)
    during = progress(storage).time_left_s
    assert during is not None and 30 < during <= before
    with storage.ledger.engine.begin() as connection:
        connection.execute(studies.update().values(spent_s=100.0))
    assert progress(storage).time_left_s == 0.0


@on_sqlite
def test_a_final_that_is_due_is_what_is_left_when_all_trials_have_ended(storage: Storage) -> None:
    spec = enter(storage, trials=2)
    run_trial(storage, spec, [0.5])
    storage.ledger.set_final_s("made", 30.0)
    now = progress(storage)
    assert not now.final_is_due and now.time_left_s is not None and now.time_left_s > 30.0
    run_trial(storage, spec, [0.6])
    now = progress(storage)
    assert now.final_is_due and now.time_left_s == 30.0
    assert "the final is due, about 30 s" in summary(now) and "time left" not in summary(now)
    storage.ledger.set_final_s("made", 0.0)
    assert summary(progress(storage)).endswith("; the final is due")
    storage.ledger.begin_launch("made", spec.model_dump_json(), 2, None, wants_final=False)
    now = progress(storage)
    assert not now.final_is_due and now.time_left_s == 0.0
    storage.ledger.set_state("made", DONE)
    assert "due" not in summary(progress(storage))


def test_nothing_is_left_of_a_done_study(storage: Storage) -> None:
    spec = enter(storage, trials=2)
    run_trial(storage, spec, [0.5], duration_s=30.0)
    storage.ledger.set_state("made", DONE)
    now = progress(storage)
    assert now.state == DONE
    assert now.time_left_s is None


# Why a study waits


def why(storage: Storage) -> str | None:
    return why_waiting(storage, progress(storage))


@on_sqlite
@pytest.mark.parametrize("state", [PAUSED, STOPPED])
def test_a_study_that_is_not_open_waits_for_whoever_closed_it(storage: Storage, state: str) -> None:
    enter(storage)
    storage.ledger.set_state("made", state, "by ann")
    assert why(storage) == f"it is {state} (by ann); 'hpsearch resume made' goes on"


@on_sqlite
def test_a_study_that_somebody_is_at_and_one_that_is_done_do_not_wait(storage: Storage) -> None:
    spec = enter(storage)
    begin_trial(storage, spec, claimed(storage, spec))
    assert why(storage) is None
    storage.leases.expire_worker("worker")
    assert why(storage) is not None
    storage.ledger.set_state("made", DONE)
    assert why(storage) is None


@on_sqlite
def test_a_study_without_workers_waits_for_some(storage: Storage) -> None:
    enter(storage)
    said = why(storage)
    assert said is not None and "start some with 'hpsearch worker'" in said
    storage.workers.enter("pool", SUPERVISOR, "1")  # alone it trains nothing
    assert why(storage) == said
    storage.workers.enter("ann", "cpu", "1")
    assert why(storage) == "its turn comes: 1 worker(s) are starting, or at studies before it"


@on_sqlite
def test_what_workers_lack_for_a_study_is_why_it_waits(storage: Storage) -> None:
    enter(storage)
    storage.workers.enter("pool", SUPERVISOR, "1")
    storage.workers.enter("ann", "cpu", "1")
    storage.workers.see("ann", "another: its data is not here")
    assert "its turn comes" in (why(storage) or "")
    storage.workers.see("ann", "made: its data is not here")
    storage.workers.see("pool", "made: /pictures does not exist")
    said = why(storage)
    assert said is not None
    assert "made: its data is not here" in said and "/pictures does not exist" in said
