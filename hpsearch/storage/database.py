"""The database under a storage: its engine, SQLite's file, the right to create or change tables."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from filelock import FileLock
from sqlalchemy import URL, Engine, event, text

from hpsearch.errors import NoStorageError, StorageError
from hpsearch.storage.retry import first_cause
from hpsearch.storage.url import shown_url

BUSY_TIMEOUT_S = 60  # how long a writer waits for another one on SQLite
CONNECT_TIMEOUT_S = 10  # how long an unreachable Postgres may take to say so
CREATE_LOCK = zlib.crc32(b"hpsearch schema")  # Postgres advisory lock while tables are created


def explained(url: URL, error: BaseException) -> str:
    """Return in a line what an error of the database says, without its password."""
    """Return in a line what an error of the database says, without its password."""
    reason = first_cause(error)
    if url.password:
        reason = reason.replace(str(url.password), "***")
    if url.drivername.startswith("sqlite"):
        return f"{shown_url(url)}: {reason}"
    return f"{shown_url(url)} does not answer: {reason}. Is the server up, and the URL right?"


def engine_options(url: URL) -> dict[str, Any]:
    """Return how SQLAlchemy connects to a database."""
    if url.drivername.startswith("sqlite"):
        return {"connect_args": {"timeout": BUSY_TIMEOUT_S}}
    return {
        "pool_pre_ping": True,
        "pool_recycle": 1800,
        "pool_size": 2,
        "max_overflow": 2,
        "connect_args": {"connect_timeout": CONNECT_TIMEOUT_S},
    }


def database_engine(url: URL) -> Engine:
    """Return an engine for our tables."""
    engine = sqlalchemy.create_engine(url, **engine_options(url))
    if url.drivername.startswith("sqlite"):
        event.listen(engine, "connect", sync_at_checkpoints)
    return engine


def sync_at_checkpoints(connection: Any, _record: object) -> None:
    """Have a connection to SQLite sync at checkpoints alone, which is safe with `write_ahead`."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def write_ahead(engine: Engine) -> None:
    """Let readers of a SQLite file read while one writes; the file keeps that setting."""
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")


def check_file(url: URL, create: bool) -> None:
    """Raise StorageError where a SQLite file cannot be used; make the folders above a new one."""
    path = Path(str(url.database))
    try:
        if not path.exists():
            if not create:
                raise NoStorageError(
                    f"there is no database {path} yet; 'hpsearch launch STUDY.yaml' makes one, or "
                    "name another with --storage or HPSEARCH_STORAGE"
                )
            path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise PermissionError(errno.EACCES, "permission denied", str(path))
        if path.is_dir():
            raise StorageError(
                f"{path} is a folder; SQLite needs a file, such as {path}/hpsearch.db"
            )
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written: {error.strerror}; choose another place with --storage"
        ) from None


@contextmanager
def creation_lock(url: URL, engine: Engine) -> Iterator[None]:
    """Hold the right to create tables: Optuna's creation fails when two processes try at once."""
    if url.drivername.startswith("sqlite"):
        with FileLock(f"{url.database}.lock", timeout=BUSY_TIMEOUT_S):
            yield
        return
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": CREATE_LOCK})
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": CREATE_LOCK})
