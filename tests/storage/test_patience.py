"""Retry: a database that is away is waited for, an error that stays is not."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from fixtures_storage import Outage, PostgresServer, on_postgres
from made_records import final_record
from made_studies import begin_trial, claimed, enter, open_leases
from optuna.trial import TrialState
from sqlalchemy import make_url, text
from sqlalchemy.exc import OperationalError

from hpsearch.errors import StorageError
from hpsearch.storage.leases import Pulse
from hpsearch.storage.retry import DATABASE_ERRORS, Retry, first_cause, passes, refuses
from hpsearch.storage.storage import Storage, open_storage

AWAY_S = 0.5
PATIENCE_S = 60  # for what takes seconds on an idle machine


@pytest.fixture
def giving_up() -> threading.Event:
    """What tells the storage of a test to wait no longer."""
    return threading.Event()


@pytest.fixture
def retrying_storage(
    outage: Outage, storage_url: str, giving_up: threading.Event
) -> Iterator[Storage]:
    """A storage as workers open it; `outage` comes first, for it sets how long SQLite waits."""
    opened = open_storage(storage_url, gives_up=giving_up.is_set)
    yield opened
    opened.close()


def waited(
    storage: Storage, outage: Outage, calls: list[Callable[[], Any]], giving_up: threading.Event
) -> list[Any]:
    """Return what calls that began while the database was away have come to."""
    with ThreadPoolExecutor(len(calls)) as threads:
        try:
            with outage(storage):
                futures = [threads.submit(call) for call in calls]
                time.sleep(AWAY_S)
                assert not any(future.done() for future in futures)
            return [future.result(PATIENCE_S) for future in futures]
        finally:
            giving_up.set()


# Waiting


def test_optunas_calls_wait_out_an_outage(
    retrying_storage: Storage, outage: Outage, giving_up: threading.Event
) -> None:
    storage = retrying_storage
    spec = enter(storage)
    first, second = (begin_trial(storage, spec, claimed(storage, spec)) for _ in range(2))
    waited(
        storage,
        outage,
        [
            lambda: first.report(0.5, 1),
            lambda: first.set_user_attr("duration_s", 2.0),
            lambda: second.study.tell(second, 0.75),
        ],
        giving_up,
    )
    ended = storage.load("made").get_trials()
    assert ended[0].intermediate_values == {1: 0.5}
    assert ended[0].user_attrs["duration_s"] == 2.0
    assert (ended[1].state, ended[1].value) == (TrialState.COMPLETE, 0.75)


def test_calls_of_the_ledger_wait_out_an_outage(
    retrying_storage: Storage, outage: Outage, giving_up: threading.Event
) -> None:
    storage = retrying_storage
    spec = enter(storage)
    held, ended = claimed(storage, spec), claimed(storage, spec)
    opening = storage.openings.write("made", "a" * 64, 0, "ann", "final choice")
    pulse, claim, *_ = waited(
        storage,
        outage,
        [
            lambda: storage.leases.renew(held),
            lambda: storage.leases.claim("made", "next"),
            lambda: storage.leases.finish(ended),
            lambda: storage.openings.write_result(opening, final_record()),
        ],
        giving_up,
    )
    assert isinstance(pulse, Pulse)
    assert claim is not None and claim.slot == 2, "no slot was spent on tries that failed"
    assert open_leases(storage, "made") == 2
    assert [o.result for o in storage.openings.of("a" * 64)] == [final_record()]


@on_postgres
def test_reading_waits_out_an_outage_too(
    retrying_storage: Storage, outage: Outage, giving_up: threading.Event
) -> None:
    storage = retrying_storage
    enter(storage)
    names, waiting, study = waited(
        storage,
        outage,
        [storage.study_names, storage.ledger.waiting, lambda: storage.load("made")],
        giving_up,
    )
    assert names == [waiting[0].name] == [study.study_name] == ["made"]


@on_postgres
def test_a_storage_that_is_away_is_opened_when_it_is_back(
    outage: Outage, storage: Storage, storage_url: str, giving_up: threading.Event
) -> None:
    enter(storage)

    def names() -> list[str]:
        opened = open_storage(storage_url, False, gives_up=giving_up.is_set, waits_to_open=True)
        try:
            return opened.study_names()
        finally:
            opened.close()

    with pytest.raises(StorageError, match="does not answer"), outage(storage):
        open_storage(storage_url, False, gives_up=giving_up.is_set)
    assert waited(storage, outage, [names], giving_up) == [["made"]]


def test_waiting_is_said_once_and_so_is_its_end(
    retrying_storage: Storage,
    outage: Outage,
    giving_up: threading.Event,
    caplog: pytest.LogCaptureFixture,
) -> None:
    enter(retrying_storage)
    with caplog.at_level(logging.INFO, "hpsearch.storage.retry"):
        call = [lambda: retrying_storage.ledger.tick("made")]
        waited(retrying_storage, outage, call, giving_up)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert retrying_storage.shown in said[0] and said[0].endswith("waiting for it")
    assert "answers after" in said[1]


# Not waiting


def test_waiting_ends_when_it_is_told_to(
    retrying_storage: Storage, outage: Outage, giving_up: threading.Event
) -> None:
    enter(retrying_storage)
    with ThreadPoolExecutor(1) as threads, outage(retrying_storage):
        waits = threads.submit(retrying_storage.ledger.tick, "made")
        time.sleep(AWAY_S)
        assert not waits.done()
        giving_up.set()
        assert isinstance(waits.exception(PATIENCE_S), DATABASE_ERRORS)


def test_whoever_has_no_reason_to_wait_hears_of_an_outage_at_once(
    outage: Outage, storage: Storage
) -> None:
    enter(storage)
    with outage(storage), pytest.raises(DATABASE_ERRORS):
        storage.ledger.tick("made")
    storage.ledger.tick("made")


def test_an_error_that_stays_is_not_waited_for(retrying_storage: Storage) -> None:
    enter(retrying_storage)
    study = retrying_storage.load("made")
    with retrying_storage.ledger.engine.begin() as connection:
        for table in ("hpsearch_leases", "trial_user_attributes", "study_user_attributes"):
            connection.execute(text(f"ALTER TABLE {table} RENAME TO {table}_elsewhere"))
    began = time.monotonic()
    with pytest.raises(DATABASE_ERRORS, match="hpsearch_leases"):
        retrying_storage.leases.unfinished("made")
    with pytest.raises(DATABASE_ERRORS):
        study.set_user_attr("x", 1)
    assert time.monotonic() - began < 5


def test_an_error_of_ours_is_not_waited_for() -> None:
    with pytest.raises(ZeroDivisionError):
        Retry("somewhere", gives_up=lambda: False).call(lambda: 1 / 0)


# What passes


def test_a_full_disk_under_sqlite_passes(tmp_path: Path) -> None:
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/full.db")
    with engine.connect() as connection, pytest.raises(OperationalError) as caught:
        connection.execute(text("CREATE TABLE notes (said TEXT)"))
        connection.execute(text("PRAGMA max_page_count = 2"))
        connection.execute(text("INSERT INTO notes VALUES (:said)"), {"said": "x" * 10_000})
    engine.dispose()
    assert first_cause(caught.value) == "database or disk is full"
    assert passes(caught.value)


@on_postgres
def test_a_connection_that_is_cut_in_the_middle_of_a_statement_passes(
    storage_url: str, postgres_server: PostgresServer
) -> None:
    url = make_url(storage_url).set(drivername="postgresql+psycopg")
    engine = sqlalchemy.create_engine(url)
    database = str(url.database)
    with engine.connect() as connection, ThreadPoolExecutor(1) as threads:
        waits = threads.submit(connection.execute, text("SELECT pg_sleep(60)"))
        time.sleep(0.2)
        with postgres_server.outage(database):
            error = waits.exception(PATIENCE_S)
    engine.dispose()
    assert isinstance(error, OperationalError)
    assert passes(error)


@pytest.mark.parametrize(
    "said", ["no such table: hpsearch_leases", "near SELECT: syntax error", "disk I/O error"]
)
def test_what_sqlite_cannot_mend_does_not_pass(said: str) -> None:
    assert not passes(OperationalError("SELECT 1", {}, sqlite3.OperationalError(said)))
    assert passes(OperationalError("SELECT 1", {}, sqlite3.OperationalError("database is locked")))


@on_postgres
def test_a_standby_that_is_to_be_promoted_is_waited_for(
    postgres_server: PostgresServer, storage: Storage, giving_up: threading.Event
) -> None:
    enter(storage)
    database = str(storage.url.database)
    waiting = open_storage(storage.url.render_as_string(False), gives_up=giving_up.is_set)
    setting = f'ALTER DATABASE "{database}" SET default_transaction_read_only = '
    try:
        postgres_server._run(f"{setting} on")
        with postgres_server.outage(database):  # every connection is a new one then
            pass
        with ThreadPoolExecutor(1) as threads:
            try:
                claim = threads.submit(waiting.leases.claim, "made", "worker")
                time.sleep(AWAY_S)
                assert not claim.done()
                postgres_server._run(f"{setting} off")
                with postgres_server.outage(database):
                    pass
                assert claim.result(PATIENCE_S) is not None
            finally:
                giving_up.set()
    finally:
        waiting.close()


@pytest.mark.parametrize(
    "said",
    [
        'connection failed: FATAL:  password authentication failed for user "ann"',
        'connection failed: FATAL:  database "hp" does not exist',
        'connection failed: FATAL:  role "ann" does not exist',
        'connection failed: FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "ann"',
        "connection failed: fe_sendauth: no password supplied",
    ],
)
def test_a_server_that_turns_a_client_away_is_told_from_one_that_is_away(said: str) -> None:
    assert refuses(OperationalError("connect", {}, Exception(said)))
    for away in ("Connection refused", "the database system is starting up", "timeout expired"):
        assert not refuses(OperationalError("connect", {}, Exception(f"connection failed: {away}")))
