"""The one door to the storage: SQLite or Postgres, Optuna's tables and ours in one database."""

from __future__ import annotations

import errno
import logging
import os
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from filelock import FileLock
from filelock import Timeout as LockTimeout
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import Study
from sqlalchemy import URL, Engine, event, inspect, text
from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError

from hpsearch.errors import StorageError, StudyNotFoundError
from hpsearch.search.ledger import Ledger
from hpsearch.search.tables import create_ledger
from hpsearch.search.url import parse_url, shown_url

BUSY_TIMEOUT_S = 60  # how long a writer waits for another one on SQLite
CONNECT_TIMEOUT_S = 10  # how long an unreachable Postgres may take to say so
CREATE_LOCK = zlib.crc32(b"hpsearch schema")  # Postgres advisory lock while tables are created


@dataclass(frozen=True)
class Storage:
    """An open storage: Optuna's view of it, our ledger, and a name that shows no password."""

    url: URL
    optuna: BaseStorage
    ledger: Ledger
    engines: tuple[Engine, ...]

    @property
    def shown(self) -> str:
        """The URL without its password."""
        return shown_url(self.url)

    def study_names(self) -> list[str]:
        """Return the names of the studies that hpsearch has entered here."""
        return self.ledger.study_names()

    def load(
        self, name: str, sampler: BaseSampler | None = None, pruner: BasePruner | None = None
    ) -> Study:
        """Return a study of Optuna's. Sampler and pruner are not stored: whoever asks a trial or
        judges it has to say which."""
        if name not in self.study_names():
            known = ", ".join(self.study_names()) or "none yet"
            raise StudyNotFoundError(f"{self.shown} holds no study '{name}'; studies here: {known}")
        return optuna.load_study(
            study_name=name, storage=self.optuna, sampler=sampler, pruner=pruner
        )

    def close(self) -> None:
        """Give every connection back."""
        self.optuna.remove_session()
        for engine in self.engines:
            engine.dispose()


def open_storage(url: str, create: bool = True) -> Storage:
    """Return the storage at a URL, its tables created where `create` allows it.

    Many processes may do so at once: one creates, the others wait. Raises StorageError, never
    with the password in it.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("optuna").setLevel(logging.WARNING)
    parsed = parse_url(url)
    if parsed.drivername.startswith("sqlite"):
        _check_file(parsed, create)
    try:
        with ExitStack() as opened:
            storage = _open(parsed, create, opened)
            opened.pop_all()  # now it is for whoever has the storage to close it
            return storage
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError, LockTimeout) as error:
        raise StorageError(_explained(parsed, error)) from None
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise StorageError(f"the driver of {shown_url(parsed)} is not installed: {error}") from None


def _open(url: URL, create: bool, opened: ExitStack) -> Storage:
    engine = _engine(url)
    opened.callback(engine.dispose)
    with _creation_lock(url, engine):
        if not create and not inspect(engine).has_table("hpsearch_schema"):
            raise StorageError(
                f"{shown_url(url)} holds no studies of hpsearch; 'hpsearch launch STUDY.yaml' "
                "makes the first, or name another storage with --storage or HPSEARCH_STORAGE"
            )
        # The check of versions is ours: Optuna's raises out of the constructor, connections open.
        backend = RDBStorage(
            url.render_as_string(False), engine_kwargs=_options(url), skip_compatibility_check=True
        )
        opened.callback(backend.engine.dispose)
        opened.callback(backend.remove_session)
        if backend.get_current_version() != backend.get_head_version():
            raise StorageError(
                f"{shown_url(url)} was made by another version of Optuna; try "
                "'optuna storage upgrade', or another storage"
            )
        create_ledger(engine)
    if url.drivername.startswith("sqlite"):
        event.listen(backend.engine, "connect", _tune_sqlite)
        backend.engine.dispose()  # what it has in its pool was connected untuned
    return Storage(
        url, optuna.storages.get_storage(backend), Ledger(engine), (engine, backend.engine)
    )


@contextmanager
def storage_errors(storage: Storage) -> Iterator[None]:
    """Turn the database's errors inside the block into StorageError."""
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise StorageError(_explained(storage.url, error)) from None


def _explained(url: URL, error: BaseException) -> str:
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__ or getattr(causes[-1], "orig", None)) is not None:
        causes.append(cause)
    said = str(causes[-1]).strip().splitlines()
    reason = said[0] if said else type(causes[-1]).__name__
    if url.password:
        reason = reason.replace(str(url.password), "***")
    if url.drivername.startswith("sqlite"):
        return f"{shown_url(url)}: {reason}"
    return f"{shown_url(url)} does not answer: {reason}. Is the server up, and the URL right?"


def _options(url: URL) -> dict[str, Any]:
    if url.drivername.startswith("sqlite"):
        return {"connect_args": {"timeout": BUSY_TIMEOUT_S}}
    return {
        "pool_pre_ping": True,
        "pool_recycle": 1800,
        "pool_size": 2,
        "max_overflow": 2,
        "connect_args": {"connect_timeout": CONNECT_TIMEOUT_S},
    }


def _engine(url: URL) -> Engine:
    engine = sqlalchemy.create_engine(url, **_options(url))
    if url.drivername.startswith("sqlite"):
        event.listen(engine, "connect", _tune_sqlite)
    return engine


def _tune_sqlite(connection: Any, _record: object) -> None:
    """WAL lets readers read while one writes; with it, NORMAL is safe against process crashes."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _check_file(url: URL, create: bool) -> None:
    path = Path(str(url.database))
    try:
        if not path.exists():
            if not create:
                raise StorageError(
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
def _creation_lock(url: URL, engine: Engine) -> Iterator[None]:
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
