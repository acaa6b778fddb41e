"""The ledger: an exact budget, leases that change hands once, whose turn it is, and a clock."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from child_processes import HALF, Crew, claim_all, decide
from made_studies import claimed, enter, spec_of
from sqlalchemy import Table

from hpsearch.search import ledger as ledger_module
from hpsearch.search import tables
from hpsearch.search.ledger import (
    DONE,
    LEASE_S,
    LONGEST_TICK_S,
    OPEN,
    PAUSED,
    STOPPED,
    Lease,
    Pulse,
    StudyRow,
)
from hpsearch.search.storage import Storage
from hpsearch.search.tables import FINAL_SLOT

BUDGET = 40


def row_of(storage: Storage, study: str = "made") -> StudyRow:
    row = storage.ledger.study(study)
    assert row is not None
    return row


def launch(storage: Storage, trials: int, timeout_s: float | None = None) -> None:
    storage.ledger.begin_launch("made", spec_of().model_dump_json(), trials, timeout_s)


def rewind(storage: Storage, table: Table, column: str, seconds: float) -> None:
    """Put what was written down as a time of the database's clock so long before it."""
    with storage.ledger.engine.begin() as connection:
        connection.execute(table.update().values({column: table.c[column] - seconds}))


# Studies


def test_an_entered_study_is_read_back_as_it_was(storage: Storage) -> None:
    spec = enter(storage, spec_of(trials=7, timeout="1h"))
    row = row_of(storage)
    assert row.spec == spec.model_dump(mode="json")
    assert row.identity == spec.identity()
    assert (row.state, row.note, row.trials, row.claimed) == (OPEN, "", 7, 0)
    assert (row.priority, row.wants_final, row.final_s) == (0, True, 0.0)
    assert (row.timeout_s, row.spent_s, row.time_left_s) == (3600.0, 0.0, 3600.0)
    assert row.data_summary == {
        "task": "single-label",
        "outputs": ["cat", "dog"],
        "counts": [[80, 10, 10]] * 2,
        "totals": [160, 20, 20],
        "groups": [],
    }
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
    row = row_of(storage)
    assert (row.claimed, row.trials) == (3, 3), "what has been begun is in the budget"


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
    assert storage.ledger.renew(lost) is None
    storage.ledger.finish(lost)
    assert storage.ledger.open_leases("made") == 1
    storage.ledger.set_trial(lost, 99)
    storage.ledger.give_back(lost)
    assert storage.ledger.claim("made", "third") is None, "the second worker has it still"
    assert storage.ledger.renew(held) is not None
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
    assert storage.ledger.renew(lease) is None
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
    with storage.ledger.engine.connect() as connection:
        expires_at = connection.execute(tables.leases.select()).one().expires_at
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


def test_time_goes_by_while_somebody_says_that_he_is_at_work(storage: Storage) -> None:
    enter(storage)
    launch(storage, trials=10, timeout_s=100)
    storage.ledger.tick("made")
    assert row_of(storage).spent_s == 0.0, "nobody was at work before the first tick"
    for _ in range(4):
        time.sleep(0.1)
        storage.ledger.tick("made")
    row = row_of(storage)
    assert 0.35 < row.spent_s < 20
    assert row.time_left_s == pytest.approx(100 - row.spent_s, abs=1)


def test_the_time_left_runs_down_between_two_ticks(storage: Storage) -> None:
    enter(storage)
    launch(storage, trials=10, timeout_s=100)
    storage.ledger.tick("made")
    first = row_of(storage).time_left_s
    time.sleep(0.2)
    second = row_of(storage).time_left_s
    assert first is not None and second is not None
    assert 0.15 < first - second < 10


def test_time_in_which_nobody_was_at_work_is_not_spent(storage: Storage) -> None:
    enter(storage)
    launch(storage, trials=10, timeout_s=100)
    storage.ledger.tick("made")
    rewind(storage, tables.studies, "ticked_at", LONGEST_TICK_S + 1)
    assert row_of(storage).time_left_s == 100
    storage.ledger.tick("made")
    assert row_of(storage).spent_s == 0.0
    rewind(storage, tables.studies, "ticked_at", LONGEST_TICK_S - 10)
    storage.ledger.tick("made")
    assert row_of(storage).spent_s == pytest.approx(LONGEST_TICK_S - 10, abs=5)


def test_time_before_the_next_launch_is_not_spent_and_that_of_earlier_ones_stays_spent(
    storage: Storage,
) -> None:
    enter(storage)
    launch(storage, trials=10, timeout_s=100)
    storage.ledger.tick("made")
    rewind(storage, tables.studies, "ticked_at", 20)
    storage.ledger.tick("made")
    rewind(storage, tables.studies, "ticked_at", 20)
    launch(storage, trials=10, timeout_s=100)
    storage.ledger.tick("made")
    row = row_of(storage)
    assert row.spent_s == pytest.approx(20, abs=5)
    assert row.time_left_s == pytest.approx(80, abs=5)


def test_many_who_tick_at_once_spend_no_more_time_than_one(storage: Storage) -> None:
    enter(storage)
    storage.ledger.tick("made")
    began = time.monotonic()
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: storage.ledger.tick("made"), range(40)))
    assert row_of(storage).spent_s <= time.monotonic() - began + 0.1


def test_a_worker_that_renews_its_lease_lets_the_time_go_by(storage: Storage) -> None:
    enter(storage)
    launch(storage, trials=10, timeout_s=100)
    lease = claimed(storage, spec_of())
    storage.ledger.set_final_s("made", 7.5)
    storage.ledger.tick("made")
    rewind(storage, tables.studies, "ticked_at", 20)
    pulse = storage.ledger.renew(lease)
    assert pulse is not None
    assert (pulse.state, pulse.kept_s) == (OPEN, 7.5)
    assert pulse.time_left_s == pytest.approx(80, abs=5)
    launch(storage, trials=10, timeout_s=None)
    assert storage.ledger.renew(lease) == Pulse(OPEN, None, 7.5)


def test_a_spent_timeout_leaves_less_than_nothing_and_none_leaves_all_time(
    storage: Storage,
) -> None:
    enter(storage)
    launch(storage, trials=10, timeout_s=5)
    storage.ledger.tick("made")
    rewind(storage, tables.studies, "ticked_at", 20)
    left = row_of(storage).time_left_s
    assert left is not None and left < 0
    launch(storage, trials=10, timeout_s=None)
    assert row_of(storage).time_left_s is None


@pytest.mark.parametrize("state", [DONE, STOPPED, PAUSED])
def test_a_launch_opens_a_study_that_was_not_open(storage: Storage, state: str) -> None:
    enter(storage)
    assert storage.ledger.set_state("made", state, "by ann")
    row = row_of(storage)
    assert (row.state, row.note) == (state, "by ann")
    launch(storage, trials=12)
    row = row_of(storage)
    assert (row.state, row.note, row.trials) == (OPEN, "", 12)


def test_a_launch_keeps_the_priority_unless_it_names_one(storage: Storage) -> None:
    enter(storage)
    spec = spec_of().model_dump_json()
    storage.ledger.begin_launch("made", spec, 10, None, wants_final=False, priority=5)
    assert (row_of(storage).priority, row_of(storage).wants_final) == (5, False)
    storage.ledger.begin_launch("made", spec, 10, None)
    assert (row_of(storage).priority, row_of(storage).wants_final) == (5, True)


def test_the_state_of_an_unknown_study_cannot_be_set(storage: Storage) -> None:
    assert not storage.ledger.set_state("nowhere", PAUSED)


def test_time_kept_for_the_final_training_is_stored(storage: Storage) -> None:
    enter(storage)
    storage.ledger.set_final_s("made", 12.5)
    assert row_of(storage).final_s == 12.5


def test_a_closed_budget_is_what_has_been_begun(storage: Storage) -> None:
    enter(storage, trials=9)
    claimed(storage, spec_of(), "first")
    interrupted = claimed(storage, spec_of(), "second")
    storage.ledger.close_budget("made")
    assert (row_of(storage).trials, row_of(storage).claimed) == (2, 2)
    assert storage.ledger.claim("made", "third") is None
    storage.ledger.give_back(interrupted)
    assert claimed(storage, spec_of(), "third").slot == interrupted.slot


def test_a_deleted_study_leaves_no_lease_behind_and_others_alone(storage: Storage) -> None:
    enter(storage)
    enter(storage, spec_of("other"))
    lease, other = claimed(storage, spec_of()), claimed(storage, spec_of("other"))
    storage.ledger.delete("made")
    assert storage.study_names() == ["other"]
    assert storage.ledger.study("made") is None
    assert storage.ledger.renew(lease) is None
    assert storage.ledger.renew(other) is not None
    storage.ledger.finish(lease)
    storage.ledger.give_back(lease)
    storage.ledger.delete("made")
    enter(storage)
    assert claimed(storage, spec_of()).slot == 0, "made anew, it begins anew"


# Whose turn it is


def waiting_names(storage: Storage) -> list[str]:
    return [study.name for study in storage.ledger.waiting()]


def enter_many(storage: Storage, *names: str, **search: object) -> None:
    for name in names:
        enter(storage, spec_of(name, **search))
        time.sleep(0.002)  # SQLite's clock has milliseconds


def test_the_highest_priority_is_served_first_then_the_oldest(storage: Storage) -> None:
    enter_many(storage, "zebra", "ant", "moth", "bee")
    assert waiting_names(storage) == ["zebra", "ant", "moth", "bee"]
    for name, priority in (("moth", 3), ("zebra", -1), ("bee", 3)):
        storage.ledger.begin_launch(name, "{}", 10, None, priority=priority)
    assert waiting_names(storage) == ["moth", "bee", "ant", "zebra"]


def test_of_equals_the_study_with_the_fewest_trials_at_work_is_served_first(
    storage: Storage,
) -> None:
    enter_many(storage, "first", "second", "third")
    turns = []
    for number in range(7):
        name = waiting_names(storage)[0]
        turns.append(name)
        assert storage.ledger.claim(name, f"worker {number}")
    assert turns == ["first", "second", "third"] * 2 + ["first"]
    storage.ledger.expire_worker("worker 1")
    storage.ledger.expire_worker("worker 4")
    assert waiting_names(storage)[0] == "second", "what nobody holds is not at work"


def test_what_waits_is_counted_by_whether_somebody_is_at_it(storage: Storage) -> None:
    enter_many(storage, "made", trials=6)
    leases = [claimed(storage, spec_of(), worker) for worker in ("a", "b", "c", "dead")]
    storage.ledger.finish(leases[0])
    storage.ledger.give_back(leases[1])
    storage.ledger.expire_worker("dead")
    assert storage.ledger.claim_final("made", "final") is not None
    (made,) = storage.ledger.waiting()
    assert (made.unclaimed, made.interrupted, made.held) == (2, 2, 1), "a final is no trial"
    assert made.has_work and not made.is_over
    assert (made.fingerprint, made.wants_final) == ("a" * 64, True)


def test_a_study_is_over_when_its_budget_is_spent_and_nobody_is_at_it(storage: Storage) -> None:
    enter(storage, trials=2)
    first, second = claimed(storage, spec_of()), claimed(storage, spec_of())
    storage.ledger.finish(first)
    (made,) = storage.ledger.waiting()
    assert not made.has_work and not made.is_over
    storage.ledger.finish(second)
    (made,) = storage.ledger.waiting()
    assert not made.has_work and made.is_over


def test_a_study_whose_time_is_up_has_no_work_and_is_over_when_its_trials_are_given_back(
    storage: Storage,
) -> None:
    enter(storage, trials=5)
    launch(storage, trials=5, timeout_s=100)
    lease = claimed(storage, spec_of())
    storage.ledger.set_final_s("made", 101)  # what the final needs is not for trials
    (made,) = storage.ledger.waiting()
    assert made.time_is_up and not made.has_work and not made.is_over
    storage.ledger.give_back(lease)
    (made,) = storage.ledger.waiting()
    assert made.time_is_up and not made.has_work and made.is_over


@pytest.mark.parametrize("state", [PAUSED, STOPPED, DONE])
def test_a_study_that_is_not_open_does_not_wait_and_gives_nothing_to_claim(
    storage: Storage, state: str
) -> None:
    enter(storage, trials=5)
    lease = claimed(storage, spec_of(), "first")
    storage.ledger.set_state("made", state, "for a while")
    storage.ledger.give_back(lease)
    assert storage.ledger.waiting() == []
    assert storage.ledger.claim("made", "second") is None, "neither new nor interrupted trials"
    assert row_of(storage).claimed == 1
    storage.ledger.set_state("made", OPEN)
    assert [claimed(storage, spec_of()).slot for _ in range(2)] == [0, 1]


def test_a_worker_sees_that_a_study_was_launched_again_or_made_anew(storage: Storage) -> None:
    def edition() -> float:
        time.sleep(0.002)  # SQLite's clock has milliseconds
        return storage.ledger.waiting()[0].edition

    enter(storage)
    first = edition()
    assert edition() == first
    launch(storage, trials=10)
    second = edition()
    storage.ledger.delete("made")
    enter(storage)
    assert first < second < edition()


# Finals


def test_a_final_is_held_by_one_and_free_when_it_is_finished(storage: Storage) -> None:
    enter(storage)
    lease = storage.ledger.claim_final("made", "first")
    assert lease == Lease("made", FINAL_SLOT, None, "first", attempts=1)
    assert storage.ledger.claim_final("made", "second") is None
    assert storage.ledger.claim_final("made", "first") is None
    assert storage.ledger.renew(lease) is not None
    storage.ledger.finish(lease)
    assert storage.ledger.claim_final("made", "second") is not None


def test_a_final_whose_worker_died_is_free_again(storage: Storage) -> None:
    enter(storage)
    lost = storage.ledger.claim_final("made", "first")
    assert lost is not None
    storage.ledger.expire_worker("first")
    assert storage.ledger.claim_final("made", "second") is not None
    assert storage.ledger.renew(lost) is None
    storage.ledger.finish(lost)
    assert storage.ledger.claim_final("made", "third") is None, "the second has it still"


def test_a_final_is_no_trial(storage: Storage) -> None:
    enter(storage, trials=1)
    assert storage.ledger.claim_final("made", "final") is not None
    assert storage.ledger.open_leases("made") == 0
    assert storage.ledger.held_by(["final"]) == []
    storage.ledger.expire_worker("final")
    assert [storage.ledger.claim("made", "worker") for _ in range(2)] == [
        Lease("made", 0, None, "worker", attempts=1),
        None,
    ]


def test_of_many_who_would_conclude_one_may(storage: Storage) -> None:
    enter(storage)
    for _ in range(2):  # where there is no lease yet, and where one has run out
        with ThreadPoolExecutor(4) as threads:
            got = list(threads.map(lambda n: storage.ledger.claim_final("made", str(n)), range(8)))
        (lease,) = [lease for lease in got if lease is not None]
        storage.ledger.expire_worker(lease.worker)


# What a supervisor sees


def test_leases_that_workers_hold_are_seen_with_their_ages(storage: Storage) -> None:
    enter(storage, trials=5)
    leases = [claimed(storage, spec_of(), worker) for worker in ("ann", "bob", "cid", "ann")]
    storage.ledger.set_trial(leases[0], 17)
    storage.ledger.finish(leases[3])
    for column, seconds in (("begun_at", 100), ("progress_at", 40)):
        rewind(storage, tables.leases, column, seconds)
    ann, bob = sorted(storage.ledger.held_by(["ann", "bob", "dan"]), key=lambda h: h.lease.slot)
    assert ann.lease == Lease("made", 0, 17, "ann", attempts=1)
    assert bob.lease == leases[1]
    assert ann.runs_s == pytest.approx(100, abs=5)
    assert ann.idle_s == pytest.approx(40, abs=5)
    assert storage.ledger.held_by([]) == []


def test_a_lease_is_idle_since_a_batch_was_last_over(storage: Storage) -> None:
    enter(storage)
    lease = claimed(storage, spec_of(), "ann")
    for column in ("begun_at", "progress_at"):
        rewind(storage, tables.leases, column, 40)
    storage.ledger.renew(lease, batches=False)
    (held,) = storage.ledger.held_by(["ann"])
    assert held.idle_s > 39
    storage.ledger.renew(lease)
    (held,) = storage.ledger.held_by(["ann"])
    assert held.idle_s < 20 and held.runs_s > 39


def test_a_trial_that_is_taken_over_begins_anew_for_its_supervisor(storage: Storage) -> None:
    enter(storage, trials=1)
    claimed(storage, spec_of(), "dead")
    for column in ("begun_at", "progress_at"):
        rewind(storage, tables.leases, column, 1000)
    storage.ledger.expire_worker("dead")
    claimed(storage, spec_of(), "ann")
    (held,) = storage.ledger.held_by(["ann"])
    assert held.idle_s < 20 and held.runs_s < 20


def test_an_epoch_that_is_over_takes_back_what_was_held_against_a_trial(
    storage: Storage,
) -> None:
    enter(storage, trials=1)
    for worker in ("first", "second", "third"):
        lease = claimed(storage, spec_of(), worker)
        storage.ledger.expire_worker(worker)
    assert lease.attempts == 3
    lease = claimed(storage, spec_of(), "fourth")
    storage.ledger.renew(lease, epochs=True)
    storage.ledger.expire_worker("fourth")
    assert claimed(storage, spec_of(), "fifth").attempts == 2


def test_a_renewed_lease_shows_that_its_worker_is_there(storage: Storage) -> None:
    enter(storage)
    storage.workers.enter("ann", "cpu", "1")
    rewind(storage, tables.workers, "seen_at", 100)
    storage.ledger.renew(claimed(storage, spec_of(), "ann"))
    (ann,) = storage.workers.present()
    assert ann.seen_s < 20
