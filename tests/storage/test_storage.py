"""The door to the storage: it opens for many at once, and an error says why without secrets."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import traceback
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from child_processes import CREW, Crew, open_it
from fixtures_storage import (
    GUARDED_PASSWORD,
    GUARDED_ROLE,
    PostgresServer,
    on_postgres,
    on_sqlite,
)
from made_studies import enter, run_trial
from sqlalchemy import make_url, text

from hpsearch.errors import HpsearchError, StorageError, StudyNotFoundError
from hpsearch.storage.database import BUSY_TIMEOUT_S
from hpsearch.storage.schema import SCHEMA_VERSION
from hpsearch.storage.storage import Storage, open_storage, storage_errors
from hpsearch.storage.url import shown_url

NORMAL = 1  # of SQLite's synchronous


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    """Ask a database through a connection of our own."""
    engine = sqlalchemy.create_engine(make_url(url).set(drivername=driver(url)))
    with engine.begin() as connection:
        result = connection.execute(text(query))
        found = [tuple(row) for row in result] if result.returns_rows else []
    engine.dispose()
    return found


def driver(url: str) -> str:
    return "sqlite" if url.startswith("sqlite") else "postgresql+psycopg"


def tables(url: str) -> set[str]:
    engine = sqlalchemy.create_engine(make_url(url).set(drivername=driver(url)))
    names = set(sqlalchemy.inspect(engine).get_table_names())
    engine.dispose()
    return names


def told(error: BaseException) -> str:
    """Return all that an exception and those behind it say, as a log would show it and beyond."""
    said = "".join(traceback.format_exception(error))
    ahead: list[BaseException | None] = [error]
    while ahead:
        here = ahead.pop()
        if here is not None:
            said += str(here)
            ahead += [here.__cause__, here.__context__]
    return said


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


# Opening


def test_opening_creates_optunas_tables_and_ours_once(empty_url: str) -> None:
    open_storage(empty_url).close()
    first = tables(empty_url)
    assert {"hpsearch_studies", "hpsearch_leases", "hpsearch_openings", "trials"} <= first
    storage = open_storage(empty_url)
    enter(storage)
    storage.close()
    storage = open_storage(empty_url)
    assert storage.study_names() == ["made"]
    storage.close()
    assert tables(empty_url) == first
    assert rows(empty_url, "SELECT version FROM hpsearch_schema") == [(SCHEMA_VERSION,)]


def test_eight_processes_open_a_fresh_storage_at_once(empty_url: str, crew: Crew) -> None:
    assert crew.together(open_it, empty_url) == [[]] * CREW
    assert rows(empty_url, "SELECT version FROM hpsearch_schema") == [(SCHEMA_VERSION,)]


SLEEPER = """
import os, signal, sys
from hpsearch.storage import storage

class Sleeper(storage.RetryingStorage):
    def __init__(self, *arguments, **options):
        print("asleep", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
        super().__init__(*arguments, **options)

storage.RetryingStorage = Sleeper
storage.open_storage(sys.argv[1]).close()
"""


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="stops a process")
def test_a_process_that_sleeps_while_it_opens_a_storage_holds_up_nobody(empty_url: str) -> None:
    open_storage(empty_url).close()
    words = [sys.executable, "-c", SLEEPER, empty_url]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as asleep:
        try:
            assert asleep.stdout is not None and asleep.stdout.readline() == "asleep\n"
            began = time.monotonic()
            storage = open_storage(empty_url)
            enter(storage)
            storage.close()
            assert time.monotonic() - began < BUSY_TIMEOUT_S / 2
            os.kill(asleep.pid, signal.SIGCONT)
            assert asleep.wait(timeout=60) == 0
        finally:
            asleep.kill()


@on_postgres
def test_closing_gives_every_connection_to_postgres_back(
    empty_url: str, postgres_server: PostgresServer
) -> None:
    database = str(make_url(empty_url).database)
    storage = open_storage(empty_url)
    run_trial(storage, enter(storage))
    assert postgres_server.connections(database) > 0
    storage.close()
    deadline = time.monotonic() + 5  # a server process needs a moment to see its client gone
    while postgres_server.connections(database) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert postgres_server.connections(database) == 0


@on_sqlite
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are listed on Linux")
def test_closing_gives_every_file_of_sqlite_back(empty_url: str) -> None:
    storage = open_storage(empty_url)
    run_trial(storage, enter(storage))
    path = str(make_url(empty_url).database)

    def held() -> list[str]:
        links = Path("/proc/self/fd").iterdir()
        return [t for link in links if (t := _target(link)).startswith(path)]

    assert held()
    storage.close()
    assert not held()


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:  # closed since it was listed
        return ""


@on_sqlite
def test_sqlite_writes_ahead_so_that_readers_and_a_writer_do_not_wait(storage: Storage) -> None:
    enter(storage)
    with sqlite3.connect(str(storage.url.database)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


@on_sqlite
def test_every_connection_to_sqlite_waits_for_a_writer_and_saves_syncs(storage: Storage) -> None:
    enter(storage)
    for engine in (storage.ledger.engine, storage.optuna._backend.engine):
        with engine.connect() as pooled:
            assert pooled.execute(text("PRAGMA busy_timeout")).scalar_one() == 60_000
            assert pooled.execute(text("PRAGMA synchronous")).scalar_one() == NORMAL


@on_sqlite
def test_a_new_sqlite_file_writes_ahead_too(empty_url: str) -> None:
    open_storage(empty_url).close()
    assert rows(empty_url, "PRAGMA journal_mode") == [("wal",)]


def test_folders_above_a_new_sqlite_file_are_made(tmp_path: Path) -> None:
    open_storage(f"sqlite:///{tmp_path}/deep/down/x.db").close()
    assert (tmp_path / "deep" / "down" / "x.db").is_file()


# Refusals


def test_without_create_a_missing_file_is_an_error_and_stays_missing(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"no database .*study\.db"):
        open_storage(f"sqlite:///{tmp_path}/runs/study.db", create=False)
    assert list(tmp_path.iterdir()) == []


def test_without_create_an_empty_database_is_an_error_and_stays_empty(
    empty_url: str, backend: str
) -> None:
    if backend == "sqlite":
        Path(str(make_url(empty_url).database)).touch()
    with pytest.raises(StorageError):
        open_storage(empty_url, create=False)
    assert tables(empty_url) == set()


def test_a_postgres_that_is_not_there_is_named_without_its_password() -> None:
    port, secret = closed_port(), "tr0ub4dor"
    with pytest.raises(StorageError, match=r"does not answer.*Is the server up") as caught:
        open_storage(f"postgresql://ann:{secret}@127.0.0.1:{port}/hp")
    assert f"127.0.0.1:{port}/hp" in str(caught.value)
    assert secret not in told(caught.value)


@pytest.mark.parametrize(
    "secret", ["tr0ub4dor", "tr%400ub%2F4dor", "tr0ub4dor%25"], ids=["plain", "quoted", "percent"]
)
@pytest.mark.parametrize("place", ["login", "query"])
def test_a_wrong_password_is_an_error_that_does_not_repeat_it(
    postgres_server: PostgresServer, secret: str, place: str
) -> None:
    if place == "login":
        url = postgres_server.url("postgres", GUARDED_ROLE, secret)
    else:
        url = postgres_server.url("postgres", GUARDED_ROLE) + f"&password={secret}"
    with pytest.raises(StorageError, match="password authentication failed") as caught:
        open_storage(url)
    said = told(caught.value)
    assert GUARDED_ROLE in said
    assert secret not in said
    assert "ub4dor" not in said and "4dor" not in said


def test_a_right_password_opens_and_is_never_shown(postgres_server: PostgresServer) -> None:
    postgres_server.create("guarded_storage", owner=GUARDED_ROLE)
    storage = open_storage(postgres_server.url("guarded_storage", GUARDED_ROLE, GUARDED_PASSWORD))
    assert "guarded_storage" in storage.shown
    assert GUARDED_PASSWORD not in storage.shown
    assert GUARDED_PASSWORD not in repr(storage)
    storage.close()
    postgres_server.drop("guarded_storage")


def test_a_database_that_postgres_does_not_hold_is_an_error(
    postgres_server: PostgresServer,
) -> None:
    with pytest.raises(StorageError, match='database "nowhere" does not exist'):
        open_storage(postgres_server.url("nowhere"))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mysql://ann:tr0ub4dor@host/hp", "'mysql' is not supported"),
        ("redis://ann:tr0ub4dor@host", "'redis' is not supported"),
        ("runs/hpsearch.db", "cannot be read; write sqlite:///"),
        ("", "cannot be read"),
        ("postgresql://ann:tr0ub4dor@host:port/hp", "cannot be read"),
        ("sqlite://", "SQLite needs a file"),
        ("sqlite:///", "SQLite needs a file"),
        ("sqlite:///:memory:", "SQLite needs a file"),
        ("sqlite:///file::memory:?uri=true", "SQLite needs a file"),
        ("sqlite:///file:shared?mode=memory&cache=shared&uri=true", "SQLite needs a file"),
        ("sqlite+nosuchdriver:///x.db", "driver"),
    ],
)
def test_a_url_that_cannot_be_used_is_an_error_that_says_what_can(
    url: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError, match=reason) as caught:
        open_storage(url)
    assert "tr0ub4dor" not in told(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"is a folder; SQLite needs a file, such as"):
        open_storage(f"sqlite:///{tmp_path}")


def test_a_lock_that_cannot_be_taken_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "hp.db.lock").mkdir()
    with pytest.raises(StorageError, match=r"hp\.db\.lock: cannot be written: .*--storage"):
        open_storage(f"sqlite:///{tmp_path}/hp.db")


def test_a_file_has_no_folders_in_it(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a folder")
    with pytest.raises(StorageError, match="choose another place with --storage"):
        open_storage(f"sqlite:///{tmp_path}/notes.txt/x.db")


def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("these are notes, and no database at all\n" * 100)
    with pytest.raises(StorageError, match=r"notes\.txt: .*not a database"):
        open_storage(f"sqlite:///{notes}")
    assert notes.read_text().startswith("these are notes")


def test_a_ledger_of_a_newer_hpsearch_is_refused(storage_url: str) -> None:
    rows(storage_url, f"UPDATE hpsearch_schema SET version = {SCHEMA_VERSION + 1}")
    with pytest.raises(StorageError, match=f"schema version {SCHEMA_VERSION + 1}.*another storage"):
        open_storage(storage_url)
    assert rows(storage_url, "SELECT version FROM hpsearch_schema") == [(SCHEMA_VERSION + 1,)]


def test_tables_of_another_optuna_are_refused(storage_url: str) -> None:
    rows(storage_url, "UPDATE alembic_version SET version_num = 'v99.0.0'")
    with pytest.raises(StorageError, match="optuna"):
        open_storage(storage_url)


@on_postgres
def test_an_opening_that_fails_leaves_no_connection_behind(
    storage_url: str, postgres_server: PostgresServer
) -> None:
    rows(storage_url, f"UPDATE hpsearch_schema SET version = {SCHEMA_VERSION + 1}")
    with pytest.raises(StorageError):
        open_storage(storage_url)
    database = str(make_url(storage_url).database)
    deadline = time.monotonic() + 5
    while postgres_server.connections(database) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert postgres_server.connections(database) == 0


def test_errors_of_an_open_storage_become_ours(storage: Storage, storage_url: str) -> None:
    rows(storage_url, "ALTER TABLE hpsearch_leases RENAME TO elsewhere")
    with pytest.raises(HpsearchError) as caught, storage_errors(storage):
        storage.leases.unfinished("made")
    assert isinstance(caught.value, StorageError)
    assert storage.shown in str(caught.value)


# Names and passwords


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:tr0ub4dor@host/hp",
        "postgresql://ann@host/hp?password=tr0ub4dor",
        "postgresql://ann@host/hp?sslpassword=tr0ub4dor&sslmode=require",
        "postgresql://ann@host/hp?PASSWORD=tr0ub4dor",
        "postgresql://ann:tr0ub4dor@host:nonsense/hp",
        "//ann:tr0ub4dor@host/hp",
        "ann:tr0ub4dor",
    ],
)
def test_a_shown_url_hides_the_password_wherever_it_stands(url: str) -> None:
    assert "tr0ub4dor" not in shown_url(url)


def test_a_shown_url_still_says_which_storage_it_is() -> None:
    shown = shown_url("postgresql://ann:tr0ub4dor@host/hp?password=x&sslmode=require")
    assert "ann" in shown and "host/hp" in shown and "sslmode=require" in shown
    assert shown_url("sqlite:///runs/hpsearch.db") == "sqlite:///runs/hpsearch.db"


# Studies in it


def test_an_unknown_study_is_an_error_that_names_the_known_ones(storage: Storage) -> None:
    with pytest.raises(StudyNotFoundError, match="no study 'gone'; studies here: none yet"):
        storage.load("gone")
    enter(storage)
    with pytest.raises(StudyNotFoundError, match="no study 'gone'; studies here: made"):
        storage.load("gone")


def test_a_study_of_optunas_that_we_did_not_enter_is_not_ours(storage: Storage) -> None:
    optuna.create_study(storage=storage.optuna, study_name="foreign")
    assert storage.study_names() == []
    with pytest.raises(StudyNotFoundError):
        storage.load("foreign")


# Optuna's own tools


def test_optuna_itself_reads_the_study(storage: Storage) -> None:
    spec = enter(storage)
    run_trial(storage, spec, [0.3, 0.6])
    run_trial(storage, spec, [0.4, 0.9])
    backend = optuna.storages.RDBStorage(storage.url.render_as_string(hide_password=False))
    try:
        study = optuna.load_study(study_name="made", storage=backend)
        assert study.best_value == 0.9
        assert study.direction == optuna.study.StudyDirection.MAXIMIZE
        assert set(study.best_params) == {"learning_rate", "filters"}
        assert [t.intermediate_values for t in study.trials] == [{1: 0.3, 2: 0.6}, {1: 0.4, 2: 0.9}]
        assert study.metric_names == ["test accuracy"]
    finally:
        backend.remove_session()
        backend.engine.dispose()


def test_optunas_command_line_reads_the_study(storage: Storage) -> None:
    spec = enter(storage)
    run_trial(storage, spec, [0.25, 0.75])
    url = storage.url.render_as_string(hide_password=False)
    said = subprocess.run(
        [sys.executable, "-c", OPTUNAS_COMMANDS, url],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    studies, trials = map(json.loads, said.stdout.splitlines())
    assert [(s["name"], s["n_trials"]) for s in studies] == [("made", 1)]
    assert [(t["number"], t["state"], t["value"]) for t in trials] == [
        (0, "COMPLETE", {"test accuracy": 0.75})
    ]


# Both in one process: most of the time goes into importing Optuna.
OPTUNAS_COMMANDS = """
import sys
from optuna.cli import main
url = sys.argv[1]
for command in (["studies"], ["trials", "--study-name", "made"]):
    sys.argv = ["optuna", *command, "--storage", url, "--format", "json"]
    assert not main()
"""
