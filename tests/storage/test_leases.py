"""Leases: an exact budget, each trial held by one worker at a time, and what is seen of them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from child_processes import HALF, Crew, claim_all
from made_studies import claimed, enter, launch, open_leases, rewind, row_of, spec_of

from hpsearch.storage import leases as leases_module
from hpsearch.storage import schema as tables
from hpsearch.storage.leases import LEASE_S, Lease
from hpsearch.storage.schema import FINAL
from hpsearch.storage.storage import Storage

BUDGET = 40


# The budget


def test_claims_give_every_slot_once_and_then_nothing(storage: Storage) -> None:
    enter(storage, trials=3)
    leases = [storage.leases.claim("made", f"worker {i}") for i in range(5)]
    assert leases == [
        Lease("made", 0, None, "worker 0", attempts=1),
        Lease("made", 1, None, "worker 1", attempts=1),
        Lease("made", 2, None, "worker 2", attempts=1),
        None,
        None,
    ]
    assert row_of(storage).claimed == 3


def test_a_study_that_was_never_entered_has_nothing_to_claim(storage: Storage) -> None:
    assert storage.leases.claim("nowhere", "worker") is None


def test_budgets_of_two_studies_in_one_storage_are_apart(storage: Storage) -> None:
    enter(storage, spec_of("first", trials=2))
    enter(storage, spec_of("second", trials=1))
    slots = [
        lease and (lease.study, lease.slot)
        for study in ("first", "second", "first", "second", "first")
        for lease in [storage.leases.claim(study, "worker")]
    ]
    assert slots == [("first", 0), ("second", 0), ("first", 1), None, None]


def test_eight_threads_share_a_budget_exactly(storage: Storage) -> None:
    enter(storage, trials=BUDGET)

    def claim_until_none(worker: int) -> list[int]:
        slots = []
        while (lease := storage.leases.claim("made", f"thread {worker}")) is not None:
            slots.append(lease.slot)
        return slots

    with ThreadPoolExecutor(8) as threads:
        shares = list(threads.map(claim_until_none, range(8)))
    assert sorted(slot for share in shares for slot in share) == list(range(BUDGET))


def test_four_processes_share_a_budget_exactly(
    storage: Storage, storage_url: str, crew: Crew
) -> None:
    enter(storage, trials=BUDGET)
    shares = crew.together(claim_all, storage_url, "made", count=HALF)
    assert sorted(lease for share in shares for lease in share) == [(s, 1) for s in range(BUDGET)]
    assert row_of(storage).claimed == BUDGET
    assert open_leases(storage, "made") == BUDGET


def test_a_larger_budget_gives_new_slots_and_a_smaller_one_gives_none(storage: Storage) -> None:
    enter(storage, trials=2)
    assert [claimed(storage, spec_of()).slot for _ in range(2)] == [0, 1]
    assert storage.leases.claim("made", "worker") is None
    launch(storage, trials=3)
    assert claimed(storage, spec_of()).slot == 2
    assert storage.leases.claim("made", "worker") is None
    launch(storage, trials=1)
    assert storage.leases.claim("made", "worker") is None
    row = row_of(storage)
    assert (row.claimed, row.trials) == (3, 3), "what has been begun is in the budget"


# Leases


def test_a_live_lease_is_not_taken_over(storage: Storage) -> None:
    enter(storage, trials=1)
    claimed(storage, spec_of(), "first")
    assert storage.leases.claim("made", "second") is None


def test_the_lease_of_a_dead_worker_is_taken_over_with_its_slot_and_trial(
    storage: Storage,
) -> None:
    enter(storage, trials=2)
    lease = claimed(storage, spec_of(), "first")
    storage.leases.set_trial(lease, 17)
    storage.leases.expire_worker("first")
    assert storage.leases.claim("made", "second") == Lease("made", 0, 17, "second", attempts=2)
    storage.leases.expire_worker("second")
    assert storage.leases.claim("made", "third") == Lease("made", 0, 17, "third", attempts=3)
    assert claimed(storage, spec_of(), "fourth").slot == 1, "no slot was spent on the take-over"


def test_expiring_a_worker_leaves_other_workers_and_ended_trials_alone(storage: Storage) -> None:
    enter(storage, trials=3)
    ended, live, other = (claimed(storage, spec_of(), w) for w in ("dead", "dead", "alive"))
    storage.leases.finish(ended)
    storage.leases.expire_worker("dead")
    taken = claimed(storage, spec_of(), "next")
    assert taken.slot == live.slot
    assert storage.leases.claim("made", "next") is None
    assert storage.leases.renew(other)


def test_the_lowest_free_slot_is_taken_over_first(storage: Storage) -> None:
    enter(storage, trials=5)
    for worker in ("a", "b", "c", "d"):
        claimed(storage, spec_of(), worker)
    storage.leases.expire_worker("d")
    storage.leases.expire_worker("b")
    assert [claimed(storage, spec_of(), "next").slot for _ in range(3)] == [1, 3, 4]


def test_a_lease_runs_out_unless_it_is_renewed(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases_module, "LEASE_S", 1.0)
    enter(storage, trials=2)
    renewed, left = claimed(storage, spec_of(), "renewed"), claimed(storage, spec_of(), "left")
    deadline = time.monotonic() + 20
    taken = None
    while taken is None and time.monotonic() < deadline:
        assert storage.leases.renew(renewed)
        taken = storage.leases.claim("made", "next")
        time.sleep(0.05)
    assert taken is not None
    assert taken.slot == left.slot
    assert storage.leases.claim("made", "next") is None


def test_each_expired_lease_is_taken_over_by_one_of_many(
    storage: Storage, storage_url: str, crew: Crew
) -> None:
    enter(storage, trials=BUDGET)
    for _ in range(BUDGET):
        claimed(storage, spec_of(), "dead")
    storage.leases.expire_worker("dead")
    shares = crew.together(claim_all, storage_url, "made")
    assert sorted(lease for share in shares for lease in share) == [(s, 2) for s in range(BUDGET)]


def test_a_lost_lease_can_be_neither_renewed_nor_finished_nor_given_back(
    storage: Storage,
) -> None:
    enter(storage, trials=1)
    lost = claimed(storage, spec_of(), "first")
    storage.leases.expire_worker("first")
    held = claimed(storage, spec_of(), "second")
    assert storage.leases.renew(lost) is None
    storage.leases.finish(lost)
    assert open_leases(storage, "made") == 1
    storage.leases.set_trial(lost, 99)
    storage.leases.give_back(lost)
    assert storage.leases.claim("made", "third") is None, "the second worker has it still"
    assert storage.leases.renew(held) is not None
    storage.leases.expire_worker("second")
    assert storage.leases.claim("made", "third") == Lease("made", 0, None, "third", attempts=3)


def test_a_lease_given_back_is_free_at_once_and_does_not_count_as_an_attempt(
    storage: Storage,
) -> None:
    enter(storage, trials=1)
    lease = claimed(storage, spec_of(), "first")
    storage.leases.set_trial(lease, 5)
    for worker in ("second", "third", "fourth"):
        storage.leases.give_back(lease)
        lease = claimed(storage, spec_of(), worker)
        assert (lease.slot, lease.trial_id, lease.attempts) == (0, 5, 1)


def test_a_lease_given_back_is_not_renewed_by_the_thread_that_still_runs(
    storage: Storage,
) -> None:
    enter(storage, trials=1)
    lease = claimed(storage, spec_of(), "first")
    storage.leases.give_back(lease)
    assert storage.leases.renew(lease) is None
    assert storage.leases.claim("made", "second") is not None


def test_a_finished_lease_is_never_given_to_another(storage: Storage) -> None:
    enter(storage, trials=1)
    lease = claimed(storage, spec_of(), "first")
    storage.leases.finish(lease)
    storage.leases.expire_worker("first")
    assert storage.leases.claim("made", "second") is None
    assert open_leases(storage, "made") == 0


def test_a_finished_lease_stays_finished_when_its_term_has_run_out(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases_module, "LEASE_S", -1.0)  # run out as soon as it is given
    enter(storage, trials=1)
    lease = claimed(storage, spec_of(), "first")
    again = claimed(storage, spec_of(), "second")
    assert (again.slot, again.attempts) == (lease.slot, 2)
    storage.leases.finish(again)
    assert storage.leases.claim("made", "third") is None


def test_unfinished_trials_are_held_or_interrupted(storage: Storage) -> None:
    enter(storage, trials=4)
    leases = [claimed(storage, spec_of(), w) for w in ("alive", "dead", "alive", "new")]
    for lease, trial_id in zip(leases[:3], (10, 11, 12), strict=True):
        storage.leases.set_trial(lease, trial_id)
    storage.leases.expire_worker("dead")
    storage.leases.finish(leases[2])
    assert storage.leases.unfinished("made") == ({10}, {11})
    assert open_leases(storage, "made") == 3


def test_a_lease_lasts_as_long_as_it_says_by_the_databases_clock(storage: Storage) -> None:
    enter(storage, trials=1)
    before = time.time()
    claimed(storage, spec_of())
    with storage.ledger.engine.connect() as connection:
        expires_at = connection.execute(tables.leases.select()).one().expires_at
    assert before + LEASE_S - 1 <= expires_at <= time.time() + LEASE_S + 1


# Finals


def test_a_final_is_held_by_one_and_free_when_it_is_finished(storage: Storage) -> None:
    enter(storage)
    lease = storage.leases.claim("made", "first", kind=FINAL)
    assert lease == Lease("made", 0, None, "first", attempts=1, kind=FINAL)
    assert storage.leases.claim("made", "second", kind=FINAL) is None
    assert storage.leases.claim("made", "first", kind=FINAL) is None
    assert storage.leases.renew(lease) is not None
    storage.leases.finish(lease)
    assert storage.leases.claim("made", "second", kind=FINAL) is not None


def test_a_final_whose_worker_died_is_free_again(storage: Storage) -> None:
    enter(storage)
    lost = storage.leases.claim("made", "first", kind=FINAL)
    assert lost is not None
    storage.leases.expire_worker("first")
    assert storage.leases.claim("made", "second", kind=FINAL) is not None
    assert storage.leases.renew(lost) is None
    storage.leases.finish(lost)
    assert storage.leases.claim("made", "third", kind=FINAL) is None, "the second has it still"


def test_a_final_is_no_trial(storage: Storage) -> None:
    enter(storage, trials=1)
    assert storage.leases.claim("made", "final", kind=FINAL) is not None
    assert open_leases(storage, "made") == 0
    assert storage.leases.held_by(["final"]) == []
    storage.leases.expire_worker("final")
    assert [storage.leases.claim("made", "worker") for _ in range(2)] == [
        Lease("made", 0, None, "worker", attempts=1),
        None,
    ]


def test_of_many_who_would_conclude_one_may(storage: Storage) -> None:
    enter(storage)
    for _ in range(2):  # where there is no lease yet, and where one has run out
        with ThreadPoolExecutor(4) as threads:
            got = list(
                threads.map(lambda n: storage.leases.claim("made", str(n), kind=FINAL), range(8))
            )
        (lease,) = [lease for lease in got if lease is not None]
        storage.leases.expire_worker(lease.worker)


# What a supervisor sees


def test_leases_that_workers_hold_are_seen_with_their_ages(storage: Storage) -> None:
    enter(storage, trials=5)
    leases = [claimed(storage, spec_of(), worker) for worker in ("ann", "bob", "cid", "ann")]
    storage.leases.set_trial(leases[0], 17)
    storage.leases.finish(leases[3])
    for column, seconds in (("begun_at", 100), ("progress_at", 40)):
        rewind(storage, tables.leases, column, seconds)
    ann, bob = sorted(storage.leases.held_by(["ann", "bob", "dan"]), key=lambda h: h.lease.slot)
    assert ann.lease == Lease("made", 0, 17, "ann", attempts=1)
    assert bob.lease == leases[1]
    assert ann.runs_s == pytest.approx(100, abs=5)
    assert ann.idle_s == pytest.approx(40, abs=5)
    assert storage.leases.held_by([]) == []


def test_a_lease_is_idle_since_a_batch_was_last_over(storage: Storage) -> None:
    enter(storage)
    lease = claimed(storage, spec_of(), "ann")
    for column in ("begun_at", "progress_at"):
        rewind(storage, tables.leases, column, 40)
    storage.leases.renew(lease, batches=False)
    (held,) = storage.leases.held_by(["ann"])
    assert held.idle_s > 39
    storage.leases.renew(lease)
    (held,) = storage.leases.held_by(["ann"])
    assert held.idle_s < 20 and held.runs_s > 39


def test_a_trial_that_is_taken_over_begins_anew_for_its_supervisor(storage: Storage) -> None:
    enter(storage, trials=1)
    claimed(storage, spec_of(), "dead")
    for column in ("begun_at", "progress_at"):
        rewind(storage, tables.leases, column, 1000)
    storage.leases.expire_worker("dead")
    claimed(storage, spec_of(), "ann")
    (held,) = storage.leases.held_by(["ann"])
    assert held.idle_s < 20 and held.runs_s < 20


def test_an_epoch_that_is_over_takes_back_what_was_held_against_a_trial(
    storage: Storage,
) -> None:
    enter(storage, trials=1)
    for worker in ("first", "second", "third"):
        lease = claimed(storage, spec_of(), worker)
        storage.leases.expire_worker(worker)
    assert lease.attempts == 3
    lease = claimed(storage, spec_of(), "fourth")
    storage.leases.renew(lease, epochs=True)
    storage.leases.expire_worker("fourth")
    assert claimed(storage, spec_of(), "fifth").attempts == 2


def test_a_renewed_lease_shows_that_its_worker_is_there(storage: Storage) -> None:
    enter(storage)
    storage.workers.enter("ann", "cpu", "1")
    rewind(storage, tables.workers, "seen_at", 100)
    storage.leases.renew(claimed(storage, spec_of(), "ann"))
    (ann,) = storage.workers.present()
    assert ann.seen_s < 20
