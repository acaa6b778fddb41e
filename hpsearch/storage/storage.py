"""The one door to the storage: SQLite or Postgres, Optuna's tables and ours in one database."""

from __future__ import annotations

import errno
import logging
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from filelock import FileLock
from filelock import Timeout as LockTimeout
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.study import Study
from sqlalchemy import URL, Engine, event, inspect, text
from sqlalchemy.exc import NoSuchModuleError

from hpsearch.errors import NoStorageError, StorageError, StudyNotFoundError
from hpsearch.storage.confirmations import Confirmations
from hpsearch.storage.examples import Examples
from hpsearch.storage.leases import Leases
from hpsearch.storage.openings import Openings
from hpsearch.storage.optuna_trials import TrialStore
from hpsearch.storage.retry import DATABASE_ERRORS, Patience, PatientStorage, first_cause, refuses
from hpsearch.storage.schema import create_ledger
from hpsearch.storage.studies import Ledger, StudyRow
from hpsearch.storage.url import parse_url, shown_url
from hpsearch.storage.worker_registry import WorkerList

BUSY_TIMEOUT_S = 60  # how long a writer waits for another one on SQLite
CONNECT_TIMEOUT_S = 10  # how long an unreachable Postgres may take to say so
CREATE_LOCK = zlib.crc32(b"hpsearch schema")  # Postgres advisory lock while tables are created


@dataclass(frozen=True)
class Storage:
    """An open storage: Optuna's view of it, our ledger, and a name that shows no password."""

    url: URL
    optuna: TrialStore
    ledger: Ledger
    leases: Leases
    openings: Openings
    examples: Examples
    confirmations: Confirmations
    workers: WorkerList
    patience: Patience
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
        self.row(name)
        return self.known(name, sampler, pruner)

    def row(self, name: str) -> StudyRow:
        """Return what the ledger has of a study; StudyNotFoundError names those there are."""
        row = self.ledger.study(name)
        if row is None:
            known = ", ".join(self.study_names()) or "none yet"
            raise StudyNotFoundError(f"{self.shown} holds no study '{name}'; studies here: {known}")
        return row

    def known(
        self, name: str, sampler: BaseSampler | None = None, pruner: BasePruner | None = None
    ) -> Study:
        """Return a study like `load`, for those who know that it is here."""
        return Study(name, self.optuna, sampler, pruner)

    def delete_study(self, name: str) -> None:
        """Delete a study of Optuna's and of ours; openings of its validation split are kept."""
        self.row(name)
        self.ledger.delete(name)  # first: whoever is at a trial of it then loses the lease
        self.delete_leftover(name)

    def delete_leftover(self, name: str) -> None:
        """Delete Optuna's part of a study that is not in the ledger any more, if it is there."""
        with suppress(KeyError):
            self.optuna.delete_study(self.optuna.get_study_id_from_name(name))

    def close(self) -> None:
        """Give every connection back."""
        self.optuna.remove_session()
        for engine in self.engines:
            engine.dispose()


def open_storage(
    url: str,
    create: bool = True,
    gives_up: Callable[[], bool] | None = None,
    patiently: bool = False,
) -> Storage:
    """Return the storage at a URL, its tables created where `create` allows it.

    Many processes may do so at once: one creates, the others wait. Once it is open, an outage of
    the database is waited out until `gives_up()` turns true, and `patiently` waits for it to open
    too, unless the server is there and turns us away; without `gives_up`, every error is raised at
    once. Raises StorageError, never with the password in it.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("optuna").setLevel(logging.WARNING)
    parsed = parse_url(url)
    if parsed.drivername.startswith("sqlite"):
        _check_file(parsed, create)
    try:
        with ExitStack() as opened:
            shown = shown_url(parsed)
            patience = Patience(shown, gives_up) if gives_up else Patience(shown)
            opening = patience if patiently else Patience(shown)
            storage = opening.call(lambda: _open_unless_refused(parsed, create, patience, opened))
            opened.pop_all()  # now it is for whoever has the storage to close it
            return storage
    except (*DATABASE_ERRORS, LockTimeout) as error:
        raise StorageError(_explained(parsed, error)) from None
    except OSError as error:  # of the file that keeps two from creating the tables at once
        raise StorageError(
            f"{error.filename or shown_url(parsed)}: cannot be written: {error.strerror or error}; "
            "free space, allow it, or choose another place with --storage"
        ) from None
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise StorageError(f"the driver of {shown_url(parsed)} is not installed: {error}") from None


def _open_unless_refused(url: URL, create: bool, patience: Patience, opened: ExitStack) -> Storage:
    """Open the storage; StorageError, for which nobody waits, where a server turns us away."""
    try:
        return _open(url, create, patience, opened)
    except DATABASE_ERRORS as error:
        if refuses(error):
            raise StorageError(_explained(url, error)) from None
        raise


def _open(url: URL, create: bool, patience: Patience, opened: ExitStack) -> Storage:
    engine = _engine(url)
    opened.callback(engine.dispose)
    with _creation_lock(url, engine):
        if not create and not inspect(engine).has_table("hpsearch_schema"):
            raise NoStorageError(
                f"{shown_url(url)} holds no studies of hpsearch; 'hpsearch launch STUDY.yaml' "
                "makes the first, or name another storage with --storage or HPSEARCH_STORAGE"
            )
        # The check of versions is ours: Optuna's raises out of the constructor, connections open.
        backend = PatientStorage(
            url.render_as_string(False),
            patience,
            engine_kwargs=_options(url),
            skip_compatibility_check=True,
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
        url=url,
        optuna=TrialStore(backend),
        ledger=Ledger(engine, patience),
        leases=Leases(engine, patience),
        openings=Openings(engine, patience),
        examples=Examples(engine, patience),
        confirmations=Confirmations(engine, patience),
        workers=WorkerList(engine, patience),
        patience=patience,
        engines=(engine, backend.engine),
    )


@contextmanager
def storage_errors(storage: Storage) -> Iterator[None]:
    """Turn the database's errors inside the block into StorageError."""
    try:
        yield
    except DATABASE_ERRORS as error:
        raise StorageError(_explained(storage.url, error)) from None


def _explained(url: URL, error: BaseException) -> str:
    reason = first_cause(error)
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
