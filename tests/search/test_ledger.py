"""The ledger: an exact budget, leases that change hands once, a clock, and openings of the seal."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from child_processes import HALF, Crew, claim_all, decide
from made_studies import claimed, enter, spec_of

from hpsearch.search import ledger as ledger_module
from hpsearch.search.ledger import LEASE_S, Lease, StudyRow
from hpsearch.search.storage import Storage

BUDGET = 40


def row_of(storage: Storage, study: str = "made") -> StudyRow:
    row = storage.ledger.study(study)
    assert row is not None
    return row


def launch(storage: Storage, trials: int, timeout_s: float | None = None) -> None:
    storage.ledger.begin_launch("made", spec_of().model_dump_json(), trials, timeout_s)


# Studies


def test_an_entered_study_is_read_back_as_it_was(storage: Storage) -> None:
    spec = enter(storage, spec_of(trials=7, timeout="1h"))
    row = row_of(storage)
    assert row.spec == spec.model_dump(mode="json")
    assert row.identity == spec.identity()
    assert (row.state, row.trials, row.claimed) == ("open", 7, 0)
    assert (row.timeout_s, row.spent_s, row.time_left_s) == (3600.0, 0.0, None)
    assert row.data_summary == {"classes": ["cat", "dog"], "counts": [[80, 10, 10]] * 2}
    assert storage.ledger.study("another") is None


def test_studies_are_named_in_the_order_they_were_entered(storage: Storage) -> None:
    for name in ("zebra", "ant", "moth"):
        enter(storage, spec_of(name))
        time.sleep(0.01)
    assert storage.study_names() == ["zebra", "ant", "moth"]


def test_a_second_entry_under_a_name_is_refused_and_changes_nothing(storage: Storage) -> None:
    enter(storage)
    entered = {
        "name": "made",
        "spec": "{}",
        "identity": "{}",
        "fingerprint": "b" * 64,
        "data_summary": "{}",
        "trials": 1,
        "timeout_s": None,
    }
    assert storage.ledger.enter(entered) is False
    assert storage.ledger.enter(entered | {"name": "another"}) is True
    assert row_of(storage).fingerprint == "a" * 64


# The budget


def test_claims_give_every_slot_once_and_then_nothing(storage: Storage) -> None:
    enter(storage, trials=3)
    leases = [storage.ledger.claim("made", f"worker {i}") for i in range(5)]
    assert leases == [
        Lease("made", 0, None, "worker 0", attempts=1),
        Lease("made", 1, None, "worker 1", attempts=1),
        Lease("made", 2, None, "worker 2", attempts=1),
        None,
        None,
    ]
    assert row_of(storage).claimed == 3


def test_a_study_that_was_never_entered_has_nothing_to_claim(storage: Storage) -> None:
    assert storage.ledger.claim("nowhere", "worker") is None


def test_budgets_of_two_studies_in_one_storage_are_apart(storage: Storage) -> None:
    enter(storage, spec_of("first", trials=2))
    enter(storage, spec_of("second", trials=1))
    slots = [
        lease and (lease.study, lease.slot)
        for study in ("first", "second", "first", "second", "first")
        for lease in [storage.ledger.claim(study, "worker")]
    ]
    assert slots == [("first", 0), ("second", 0), ("first", 1), None, None]


def test_eight_threads_share_a_budget_exactly(storage: Storage) -> None:
    enter(storage, trials=BUDGET)

    def claim_until_none(worker: int) -> list[int]:
        slots = []
        while (lease := storage.ledger.claim("made", f"thread {worker}")) is not None:
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
    assert storage.ledger.open_leases("made") == BUDGET


def test_a_larger_budget_gives_new_slots_and_a_smaller_one_gives_none(storage: Storage) -> None:
    enter(storage, trials=2)
    assert [claimed(storage, spec_of()).slot for _ in range(2)] == [0, 1]
    assert storage.ledger.claim("made", "worker") is None
    launch(storage, trials=3)
    assert claimed(storage, spec_of()).slot == 2
    assert storage.ledger.claim("made", "worker") is None
    launch(storage, trials=1)
    assert storage.ledger.claim("made", "worker") is None
    assert row_of(storage).claimed == 3


# Leases


def test_a_live_lease_is_not_taken_over(storage: Storage) -> None:
    enter(storage, trials=1)
    claimed(storage, spec_of(), "first")
    assert storage.ledger.claim("made", "second") is None


def test_the_lease_of_a_dead_worker_is_taken_over_with_its_slot_and_trial(
    storage: Storage,
) -> None:
    enter(storage, trials=2)
    lease = claimed(storage, spec_of(), "first")
    storage.ledger.set_trial(lease, 17)
    storage.ledger.expire_worker("first")
    assert storage.ledger.claim("made", "second") == Lease("made", 0, 17, "second", attempts=2)
    storage.ledger.expire_worker("second")
    assert storage.ledger.claim("made", "third") == Lease("made", 0, 17, "third", attempts=3)
    assert claimed(storage, spec_of(), "fourth").slot == 1, "no slot was spent on the take-over"


def test_expiring_a_worker_leaves_other_workers_and_ended_trials_alone(storage: Storage) -> None:
    enter(storage, trials=3)
    ended, live, other = (claimed(storage, spec_of(), w) for w in ("dead", "dead", "alive"))
    storage.ledger.finish(ended)
    storage.ledger.expire_worker("dead")
    taken = claimed(storage, spec_of(), "next")
    assert taken.slot == live.slot
    assert storage.ledger.claim("made", "next") is None
    assert storage.ledger.renew(other)


def test_the_lowest_free_slot_is_taken_over_first(storage: Storage) -> None:
    enter(storage, trials=5)
    for worker in ("a", "b", "c", "d"):
        claimed(storage, spec_of(), worker)
    storage.ledger.expire_worker("d")
    storage.ledger.expire_worker("b")
    assert [claimed(storage, spec_of(), "next").slot for _ in range(3)] == [1, 3, 4]


def test_a_lease_runs_out_unless_it_is_renewed(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "LEASE_S", 1.0)
    enter(storage, trials=2)
    renewed, left = claimed(storage, spec_of(), "renewed"), claimed(storage, spec_of(), "left")
    deadline = time.monotonic() + 20
    taken = None
    while taken is None and time.monotonic() < deadline:
        assert storage.ledger.renew(renewed)
        taken = storage.ledger.claim("made", "next")
        time.sleep(0.05)
    assert taken is not None
    assert taken.slot == left.slot
    assert storage.ledger.claim("made", "next") is None


def test_each_expired_lease_is_taken_over_by_one_of_many(
    storage: Storage, storage_url: str, crew: Crew
) -> None:
    enter(storage, trials=BUDGET)
    for _ in range(BUDGET):
        claimed(storage, spec_of(), "dead")
    storage.ledger.expire_worker("dead")
    shares = crew.together(claim_all, storage_url, "made")
    assert sorted(lease for share in shares for lease in share) == [(s, 2) for s in range(BUDGET)]


def test_a_lost_lease_can_be_neither_renewed_nor_finished_nor_given_back(
    storage: Storage,
) -> None:
    enter(storage, trials=1)
    lost = claimed(storage, spec_of(), "first")
    storage.ledger.expire_worker("first")
    held = claimed(storage, spec_of(), "second")
    assert storage.ledger.renew(lost) is False
    storage.ledger.finish(lost)
    assert storage.ledger.open_leases("made") == 1
    storage.ledger.set_trial(lost, 99)
    storage.ledger.give_back(lost)
    assert storage.ledger.claim("made", "third") is None, "the second worker has it still"
    assert storage.ledger.renew(held) is True
    storage.ledger.expire_worker("second")
    assert storage.ledger.claim("made", "third") == Lease("made", 0, None, "third", attempts=3)


def test_a_lease_given_back_is_free_at_once_and_does_not_count_as_an_attempt(
    storage: Storage,
) -> None:
    enter(storage, trials=1)
    lease = claimed(storage, spec_of(), "first")
    storage.ledger.set_trial(lease, 5)
    for worker in ("second", "third", "fourth"):
        storage.ledger.give_back(lease)
        lease = claimed(storage, spec_of(), worker)
        assert (lease.slot, lease.trial_id, lease.attempts) == (0, 5, 1)


def test_a_lease_given_back_is_not_renewed_by_the_thread_that_still_runs(
    storage: Storage,
) -> None:
    enter(storage, trials=1)
    lease = claimed(storage, spec_of(), "first")
    storage.ledger.give_back(lease)
    assert storage.ledger.renew(lease) is False
    assert storage.ledger.claim("made", "second") is not None


def test_a_finished_lease_is_never_given_to_another(storage: Storage) -> None:
    enter(storage, trials=1)
    lease = claimed(storage, spec_of(), "first")
    storage.ledger.finish(lease)
    storage.ledger.expire_worker("first")
    assert storage.ledger.claim("made", "second") is None
    assert storage.ledger.open_leases("made") == 0


def test_a_finished_lease_stays_finished_when_its_term_has_run_out(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "LEASE_S", -1.0)  # run out as soon as it is given
    enter(storage, trials=1)
    lease = claimed(storage, spec_of(), "first")
    again = claimed(storage, spec_of(), "second")
    assert (again.slot, again.attempts) == (lease.slot, 2)
    storage.ledger.finish(again)
    assert storage.ledger.claim("made", "third") is None


def test_unfinished_trials_are_held_or_interrupted(storage: Storage) -> None:
    enter(storage, trials=4)
    leases = [claimed(storage, spec_of(), w) for w in ("alive", "dead", "alive", "new")]
    for lease, trial_id in zip(leases[:3], (10, 11, 12), strict=True):
        storage.ledger.set_trial(lease, trial_id)
    storage.ledger.expire_worker("dead")
    storage.ledger.finish(leases[2])
    assert storage.ledger.unfinished("made") == ({10}, {11})
    assert storage.ledger.open_leases("made") == 3


def test_a_lease_lasts_as_long_as_it_says_by_the_databases_clock(storage: Storage) -> None:
    enter(storage, trials=1)
    before = time.time()
    claimed(storage, spec_of())
    with storage.ledger._engine.connect() as connection:
        expires_at = connection.execute(ledger_module.leases.select()).one().expires_at
    assert before + LEASE_S - 1 <= expires_at <= time.time() + LEASE_S + 1


# Decisions and the clock


def test_the_first_precision_wins(storage: Storage) -> None:
    enter(storage)
    assert row_of(storage).precision is None
    assert storage.ledger.decide_precision("made", "bf16") == "bf16"
    assert storage.ledger.decide_precision("made", "fp32") == "bf16"
    assert row_of(storage).precision == "bf16"


def test_processes_that_decide_at_once_agree(
    storage: Storage, storage_url: str, crew: Crew
) -> None:
    enter(storage)
    decided = crew.together(decide, storage_url, "made", count=HALF)
    assert decided == [row_of(storage).precision] * HALF


def test_the_time_left_is_the_timeout_less_what_earlier_launches_spent(storage: Storage) -> None:
    enter(storage)
    launch(storage, trials=10, timeout_s=100)
    first = row_of(storage).time_left_s
    assert first is not None and 90 < first <= 100
    storage.ledger.add_spent("made", 30)
    storage.ledger.add_spent("made", 12.5)
    during = row_of(storage)
    assert during.spent_s == 42.5
    assert during.time_left_s is not None and 90 < during.time_left_s <= first, "not counted twice"
    launch(storage, trials=10, timeout_s=100)
    second = row_of(storage).time_left_s
    assert second is not None and 47.5 < second <= 57.5


def test_the_time_left_runs_down(storage: Storage) -> None:
    enter(storage)
    launch(storage, trials=10, timeout_s=100)
    first = row_of(storage).time_left_s
    time.sleep(0.2)
    second = row_of(storage).time_left_s
    assert first is not None and second is not None
    assert 0.15 < first - second < 10


def test_a_spent_timeout_leaves_less_than_nothing_and_none_leaves_all_time(
    storage: Storage,
) -> None:
    enter(storage)
    storage.ledger.add_spent("made", 200)
    launch(storage, trials=10, timeout_s=100)
    left = row_of(storage).time_left_s
    assert left is not None and left < 0
    launch(storage, trials=10, timeout_s=None)
    assert row_of(storage).time_left_s is None


def test_a_launch_opens_a_study_that_was_done(storage: Storage) -> None:
    enter(storage)
    storage.ledger.set_state("made", "done")
    assert row_of(storage).state == "done"
    launch(storage, trials=12)
    row = row_of(storage)
    assert (row.state, row.trials) == ("open", 12)


def test_time_kept_for_the_final_training_is_stored(storage: Storage) -> None:
    enter(storage)
    storage.ledger.set_final_s("made", 12.5)
    assert row_of(storage).final_s == 12.5


# Openings of the validation split


def test_openings_are_kept_by_data_with_what_they_showed(storage: Storage) -> None:
    ledger = storage.ledger
    before = time.time()
    first = ledger.write_opening("made", "a" * 64, 3, "ann", "final choice")
    second = ledger.write_opening("other", "a" * 64, 4, "bob", "once more")
    ledger.write_opening("made", "b" * 64, 5, "ann", "other data")
    assert [o.result for o in ledger.openings("a" * 64)] == [None, None]
    result = {"metric": 0.9375, "trial": 4, "classes": ["cat", "dög"]}
    ledger.write_result(second, result)
    one, two = ledger.openings("a" * 64)
    assert (one.id, one.study, one.trial_number, one.who, one.why, one.result) == (
        first,
        "made",
        3,
        "ann",
        "final choice",
        None,
    )
    assert (two.id, two.study, two.result) == (second, "other", result)
    assert before - 1 <= one.opened_at <= two.opened_at <= time.time() + 1
    assert ledger.openings("c" * 64) == []


def test_openings_outlive_their_study(storage: Storage) -> None:
    enter(storage)
    storage.ledger.write_opening("made", "a" * 64, 0, "ann", "final choice")
    with storage.ledger._engine.begin() as connection:
        connection.execute(ledger_module.studies.delete())
    assert storage.study_names() == []
    assert [o.study for o in storage.ledger.openings("a" * 64)] == ["made"]
