"""A held lease: renewed while its trial trains, through outages, and known when it is lost."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from fixtures_storage import Outage
from made_studies import claimed, enter, spec_of

from hpsearch.storage import heartbeat as held_lease
from hpsearch.storage import leases as leases_module
from hpsearch.storage import schema as tables
from hpsearch.storage.heartbeat import HeldLease
from hpsearch.storage.storage import Storage
from hpsearch.storage.studies import DONE, OPEN, PAUSED, STOPPED

PATIENCE_S = 10  # for what takes a fraction of a second on an idle machine


@pytest.fixture(autouse=True)
def renewing_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_lease, "RENEW_EVERY_S", 0.05)


def soon(true: Callable[[], bool]) -> bool:
    """Return whether something becomes true."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.02)
    return False


def launch(storage: Storage, timeout_s: float | None) -> None:
    storage.ledger.begin_launch("made", spec_of().model_dump_json(), 10, timeout_s)


def spend(storage: Storage, seconds: float) -> None:
    """Let a study have been worked at for so long."""
    with storage.ledger.engine.begin() as connection:
        connection.execute(tables.studies.update().values(spent_s=seconds))


def row_of_lease(storage: Storage) -> Any:
    """Return the row of the lease on slot 0."""
    with storage.ledger.engine.connect() as connection:
        rows = connection.execute(tables.leases.select()).all()
    return next(row for row in rows if row.slot == 0)


def expiry(storage: Storage) -> float:
    """Return when the lease on slot 0 ends."""
    return float(row_of_lease(storage).expires_at)


# Renewing


def test_a_held_lease_outlives_its_term(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases_module, "LEASE_S", 1.0)
    spec = enter(storage, trials=1)
    with HeldLease(storage.leases, claimed(storage, spec, "first")) as held:
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            assert storage.leases.claim("made", "second") is None
            time.sleep(0.05)
        assert not held.lost


def test_a_lease_is_no_longer_renewed_once_its_holder_is_done(storage: Storage) -> None:
    spec = enter(storage)
    before = threading.active_count()
    with HeldLease(storage.leases, claimed(storage, spec)):
        first = expiry(storage)
        assert soon(lambda: expiry(storage) > first)
    assert threading.active_count() == before
    last = expiry(storage)
    time.sleep(0.2)
    assert expiry(storage) == last


def test_an_error_of_the_holder_passes_through_and_ends_the_renewing(storage: Storage) -> None:
    spec = enter(storage)
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), HeldLease(storage.leases, claimed(storage, spec)):
        raise ZeroDivisionError
    assert threading.active_count() == before


def test_a_lease_that_another_worker_took_is_known_to_be_lost(storage: Storage) -> None:
    spec = enter(storage, trials=1)
    lease = claimed(storage, spec, "first")
    storage.leases.expire_worker("first")
    taken = claimed(storage, spec, "second")
    with HeldLease(storage.leases, lease) as held:
        assert soon(lambda: held.lost)
        assert storage.leases.renew(taken)
    with HeldLease(storage.leases, taken) as held:
        time.sleep(0.2)
        assert not held.lost


def test_that_a_lease_is_lost_is_said_once(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    spec = enter(storage, trials=1)
    with (
        caplog.at_level(logging.DEBUG, "hpsearch"),
        HeldLease(storage.leases, claimed(storage, spec, "first")) as held,
    ):

        def taken_over() -> bool:
            storage.leases.expire_worker("first")
            return storage.leases.claim("made", "second") is not None

        assert soon(taken_over)
        assert soon(lambda: held.lost)
        time.sleep(1)
    assert len(caplog.records) == 1 and "held no longer" in caplog.text


def test_a_lease_of_a_study_that_was_deleted_is_lost(storage: Storage) -> None:
    spec = enter(storage)
    lease = claimed(storage, spec)
    with HeldLease(storage.leases, lease) as held:
        with storage.ledger.engine.begin() as connection:
            connection.execute(tables.leases.delete())
            connection.execute(tables.studies.delete())
        assert soon(lambda: held.lost)


# Why a trial has to stop

TIME_IS_UP = "the study's time is up"


def test_without_a_timeout_the_time_is_never_up(storage: Storage) -> None:
    spec = enter(storage)
    launch(storage, timeout_s=None)
    with HeldLease(storage.leases, claimed(storage, spec)) as held:
        time.sleep(0.2)
        assert held.why_stop() is None


def test_time_runs_out_while_the_trial_trains(storage: Storage) -> None:
    spec = enter(storage)
    launch(storage, timeout_s=1.5)
    began = time.monotonic()
    with HeldLease(storage.leases, claimed(storage, spec)) as held:
        early = held.why_stop()
        asked_in_time = time.monotonic() - began < 1.0
        assert soon(lambda: held.why_stop() == TIME_IS_UP)
        assert not held.lost
    assert time.monotonic() - began >= 1.4
    assert not (early and asked_in_time)


def test_time_that_is_up_is_known_from_the_beginning(storage: Storage) -> None:
    spec = enter(storage)
    spend(storage, 100)
    launch(storage, timeout_s=10)
    with HeldLease(storage.leases, claimed(storage, spec)) as held:
        assert held.why_stop() == TIME_IS_UP


def test_time_goes_by_while_a_lease_is_held_and_at_no_other_time(storage: Storage) -> None:
    spec = enter(storage)
    launch(storage, timeout_s=1000)
    with HeldLease(storage.leases, claimed(storage, spec)):
        assert soon(lambda: spent(storage) > 0.3)
    after = spent(storage)
    time.sleep(0.2)
    assert spent(storage) == after


def spent(storage: Storage) -> float:
    row = storage.ledger.study("made")
    assert row is not None
    return row.spent_s


def test_time_kept_for_the_final_training_is_not_the_trials(storage: Storage) -> None:
    spec = enter(storage)
    launch(storage, timeout_s=1000)
    with HeldLease(storage.leases, claimed(storage, spec)) as held:
        assert held.why_stop() is None
        storage.ledger.set_final_s("made", 1001)
        assert soon(lambda: held.why_stop() == TIME_IS_UP)


@pytest.mark.parametrize("timeout_s", [1000, None])
def test_an_end_that_is_put_off_or_lifted_no_longer_counts(
    storage: Storage, timeout_s: float | None
) -> None:
    spec = enter(storage)
    spend(storage, 100)
    launch(storage, timeout_s=10)
    with HeldLease(storage.leases, claimed(storage, spec)) as held:
        assert held.why_stop() == TIME_IS_UP
        launch(storage, timeout_s=timeout_s)
        assert soon(lambda: held.why_stop() is None)


@pytest.mark.parametrize("state", [PAUSED, STOPPED, DONE])
def test_a_trial_stops_when_its_study_is_no_longer_open_and_keeps_its_lease(
    storage: Storage, state: str
) -> None:
    spec = enter(storage)
    with HeldLease(storage.leases, claimed(storage, spec)) as held:
        assert held.why_stop() is None
        storage.ledger.set_state("made", state)
        assert soon(lambda: held.why_stop() == f"the study is {state}")
        storage.ledger.set_state("made", OPEN)
        assert soon(lambda: held.why_stop() is None)
        assert not held.lost


def test_a_lease_that_another_worker_has_is_why_a_trial_stops(storage: Storage) -> None:
    spec = enter(storage, trials=1)
    lease = claimed(storage, spec, "first")
    storage.leases.expire_worker("first")
    claimed(storage, spec, "second")
    with HeldLease(storage.leases, lease) as held:
        assert held.why_stop() == "another worker has it"


# What the ledger hears of a trial


def test_a_trial_that_hangs_holds_its_lease_without_progress(storage: Storage) -> None:
    spec = enter(storage)
    with HeldLease(storage.leases, claimed(storage, spec)) as held:
        first = row_of_lease(storage)
        assert soon(lambda: expiry(storage) > first.expires_at + 0.2)
        assert row_of_lease(storage).progress_at == first.progress_at
        held.batch_over()
        assert soon(lambda: row_of_lease(storage).progress_at > first.progress_at)


def test_an_epoch_that_is_over_shows_that_the_trial_kills_no_workers(storage: Storage) -> None:
    spec = enter(storage, trials=1)
    for worker in ("first", "second"):
        claimed(storage, spec, worker)
        storage.leases.expire_worker(worker)
    with HeldLease(storage.leases, claimed(storage, spec, "third")) as held:
        held.batch_over()
        time.sleep(0.2)
        assert row_of_lease(storage).attempts == 3
        held.epoch_over()
        assert soon(lambda: row_of_lease(storage).attempts == 1)


# Outages


def test_renewing_goes_on_after_an_outage_of_the_database(
    outage: Outage,
    storage: Storage,
    caplog: pytest.LogCaptureFixture,
) -> None:
    spec = enter(storage, trials=1)
    with HeldLease(storage.leases, claimed(storage, spec, "first")) as held:
        with caplog.at_level(logging.DEBUG, "hpsearch"), outage(storage):
            assert soon(lambda: caplog.text.count("not renewed, trying again") >= 2)
        before = expiry(storage)
        assert soon(lambda: expiry(storage) > before)
        assert not held.lost

        def taken_over() -> bool:
            storage.leases.expire_worker("first")
            return storage.leases.claim("made", "second") is not None

        assert soon(taken_over)
        assert soon(lambda: held.lost), "what happens after an outage is noticed too"


def test_what_was_over_during_an_outage_is_said_after_it(
    outage: Outage,
    storage: Storage,
    caplog: pytest.LogCaptureFixture,
) -> None:
    spec = enter(storage, trials=1)
    claimed(storage, spec, "first")
    storage.leases.expire_worker("first")
    with HeldLease(storage.leases, claimed(storage, spec, "second")) as held:
        before = row_of_lease(storage)
        assert before.attempts == 2
        with caplog.at_level(logging.DEBUG, "hpsearch"), outage(storage):
            assert soon(lambda: caplog.text.count("not renewed, trying again") >= 1)
            held.batch_over()
            held.epoch_over()
            so_far = caplog.text.count("not renewed, trying again")
            assert soon(lambda: caplog.text.count("not renewed, trying again") >= so_far + 3)
        said = [r for r in caplog.records if "not renewed" in r.getMessage()]
        assert [r.levelno for r in said][:2] == [logging.INFO, logging.DEBUG]
        assert sum(r.levelno > logging.DEBUG for r in said) == 1, "an outage is one line"
        assert soon(lambda: row_of_lease(storage).attempts == 1)
        assert row_of_lease(storage).progress_at > before.progress_at
