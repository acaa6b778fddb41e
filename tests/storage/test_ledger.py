"""The ledger: its studies, what is decided of them once, whose turn it is, and a clock."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

import pytest
from child_processes import HALF, Crew, decide
from made_studies import PREPARED, claimed, enter, launch, rewind, row_of, spec_of

from hpsearch.data.account import account_json
from hpsearch.storage import schema as tables
from hpsearch.storage.leases import Pulse
from hpsearch.storage.schema import FINAL, studies
from hpsearch.storage.storage import Storage
from hpsearch.storage.studies import DONE, LONGEST_TICK_S, OPEN, PAUSED, STOPPED

# Studies


def test_an_entered_study_is_read_back_as_it_was(storage: Storage) -> None:
    spec = enter(storage, spec_of(trials=7, timeout="1h"))
    row = row_of(storage)
    assert row.spec == spec and row.spec_json == spec.model_dump_json()
    assert row.version == version("hpsearch")
    assert (row.state, row.note, row.trials, row.claimed) == (OPEN, "", 7, 0)
    assert (row.priority, row.wants_final, row.final_s) == (0, True, 0.0)
    assert (row.timeout_s, row.spent_s, row.time_left_s) == (3600.0, 0.0, 3600.0)
    assert row.data_summary == {
        "task": "single-label",
        "outputs": ["cat", "dog"],
        "counts": [[80, 10, 10]] * 2,
        "totals": [160, 20, 20],
        "groups": [],
        "account": account_json(PREPARED.account) | {"left_out": [], "decided": []},
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
    pulse = storage.leases.renew(lease)
    assert pulse is not None
    assert (pulse.state, pulse.kept_s) == (OPEN, 7.5)
    assert pulse.time_left_s == pytest.approx(80, abs=5)
    launch(storage, trials=10, timeout_s=None)
    assert storage.leases.renew(lease) == Pulse(OPEN, None, 7.5)


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
    assert storage.leases.claim("made", "third") is None
    storage.leases.give_back(interrupted)
    assert claimed(storage, spec_of(), "third").slot == interrupted.slot


def test_a_deleted_study_leaves_no_lease_behind_and_others_alone(storage: Storage) -> None:
    enter(storage)
    enter(storage, spec_of("other"))
    lease, other = claimed(storage, spec_of()), claimed(storage, spec_of("other"))
    storage.ledger.delete("made")
    assert storage.study_names() == ["other"]
    assert storage.ledger.study("made") is None
    assert storage.leases.renew(lease) is None
    assert storage.leases.renew(other) is not None
    storage.leases.finish(lease)
    storage.leases.give_back(lease)
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
        assert storage.leases.claim(name, f"worker {number}")
    assert turns == ["first", "second", "third"] * 2 + ["first"]
    storage.leases.expire_worker("worker 1")
    storage.leases.expire_worker("worker 4")
    assert waiting_names(storage)[0] == "second", "what nobody holds is not at work"


def test_what_waits_is_counted_by_whether_somebody_is_at_it(storage: Storage) -> None:
    enter_many(storage, "made", trials=6)
    leases = [claimed(storage, spec_of(), worker) for worker in ("a", "b", "c", "dead")]
    storage.leases.finish(leases[0])
    storage.leases.give_back(leases[1])
    storage.leases.expire_worker("dead")
    assert storage.leases.claim("made", "final", kind=FINAL) is not None
    (made,) = storage.ledger.waiting()
    assert (made.unclaimed, made.interrupted, made.held) == (2, 2, 1), "a final is no trial"
    assert made.has_work and not made.is_over
    assert (made.fingerprint, made.wants_final) == ("a" * 64, True)


def test_a_study_is_over_when_its_budget_is_spent_and_nobody_is_at_it(storage: Storage) -> None:
    enter(storage, trials=2)
    first, second = claimed(storage, spec_of()), claimed(storage, spec_of())
    storage.leases.finish(first)
    (made,) = storage.ledger.waiting()
    assert not made.has_work and not made.is_over
    storage.leases.finish(second)
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
    storage.leases.give_back(lease)
    (made,) = storage.ledger.waiting()
    assert made.time_is_up and not made.has_work and made.is_over


@pytest.mark.parametrize("state", [PAUSED, STOPPED, DONE])
def test_a_study_that_is_not_open_does_not_wait_and_gives_nothing_to_claim(
    storage: Storage, state: str
) -> None:
    enter(storage, trials=5)
    lease = claimed(storage, spec_of(), "first")
    storage.ledger.set_state("made", state, "for a while")
    storage.leases.give_back(lease)
    assert storage.ledger.waiting() == []
    assert storage.leases.claim("made", "second") is None, "neither new nor interrupted trials"
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


def test_a_clock_that_is_put_back_gives_a_study_no_more_time(storage: Storage) -> None:
    enter(storage, timeout="1h")
    storage.ledger.tick("made")
    rewind(storage, studies, "ticked_at", 10)
    storage.ledger.tick("made")
    spent_s = row_of(storage).spent_s
    assert spent_s >= 10
    rewind(storage, studies, "ticked_at", -3600)  # the last tick lies an hour ahead
    time_left_s = row_of(storage).time_left_s
    assert time_left_s is not None and time_left_s <= 3600 - spent_s
    storage.ledger.tick("made")
    assert row_of(storage).spent_s == spent_s
