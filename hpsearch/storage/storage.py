"""The one door to the storage: SQLite or Postgres, Optuna's tables and ours in one database."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass

import optuna
from filelock import Timeout as LockTimeout
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.study import Study
from sqlalchemy import URL, Engine, event
from sqlalchemy.exc import NoSuchModuleError

from hpsearch.errors import NoStorageError, SchemaError, StorageError, StudyNotFoundError
from hpsearch.storage.confirmations import Confirmations
from hpsearch.storage.database import (
    check_file,
    creation_lock,
    database_engine,
    engine_options,
    explained,
    sync_at_checkpoints,
    write_ahead,
)
from hpsearch.storage.examples import Examples
from hpsearch.storage.leases import Leases
from hpsearch.storage.openings import Openings
from hpsearch.storage.optuna_trials import TrialStore
from hpsearch.storage.pauses import Pauses
from hpsearch.storage.retry import DATABASE_ERRORS, Retry, RetryingStorage, passes, refuses
from hpsearch.storage.schema import (
    check_unchanged,
    check_version,
    create_ledger,
    reading,
    schema_version,
)
from hpsearch.storage.studies import Ledger, StudyRow
from hpsearch.storage.url import parse_url, shown_url
from hpsearch.storage.worker_registry import WorkerList
from hpsearch.study.names import shortened


@dataclass(frozen=True)
class Storage:
    """An open storage: Optuna's view of it, our ledger, and a name that shows no password."""

    url: URL
    optuna: TrialStore
    ledger: Ledger
    leases: Leases
    pauses: Pauses
    openings: Openings
    examples: Examples
    confirmations: Confirmations
    workers: WorkerList
    retry: Retry
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
            raise StudyNotFoundError(
                f"{self.shown} holds no study '{shortened(name)}'; studies here: {known}"
            )
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
    waits_to_open: bool = False,
) -> Storage:
    """Return the storage at a URL, its tables created where `create` allows it.

    Tables of another version are refused, never changed: that is `upgrade`'s alone. Without
    `create`, opening writes nothing.

    Many processes may do so at once: one creates, the others wait. Once it is open, an outage of
    the database is waited out until `gives_up()` turns true, and `waits_to_open` waits for it to
    open too, unless the server is there and turns us away; without `gives_up`, every error is
    raised at once. Raises StorageError, never with the password in it.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("optuna").setLevel(logging.WARNING)
    parsed = parse_url(url)
    if parsed.drivername.startswith("sqlite"):
        check_file(parsed, create)
    try:
        with ExitStack() as opened:
            shown = shown_url(parsed)
            retry = Retry(shown, gives_up) if gives_up else Retry(shown)
            opening = retry if waits_to_open else Retry(shown)
            storage = opening.call(lambda: _open_unless_refused(parsed, create, retry, opened))
            opened.pop_all()  # now it is for whoever has the storage to close it
            return storage
    except (*DATABASE_ERRORS, LockTimeout) as error:
        raise StorageError(explained(parsed, error)) from None
    except OSError as error:  # of the file that keeps two from creating the tables at once
        raise StorageError(
            f"{error.filename or shown_url(parsed)}: cannot be written: {error.strerror or error}; "
            "free space, allow it, or choose another place with --storage"
        ) from None
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise StorageError(f"the driver of {shown_url(parsed)} is not installed: {error}") from None


def _open_unless_refused(url: URL, create: bool, retry: Retry, opened: ExitStack) -> Storage:
    """Open the storage; StorageError, for which nobody waits, where a server turns us away."""
    try:
        return _open(url, create, retry, opened)
    except DATABASE_ERRORS as error:
        if refuses(error):
            raise StorageError(explained(url, error)) from None
        raise


def _open(url: URL, create: bool, retry: Retry, opened: ExitStack) -> Storage:
    engine = database_engine(url)
    opened.callback(engine.dispose)
    version = schema_version(engine, shown_url(url))
    # Where the tables are, none waits for another: it may be asleep, or hang.
    with creation_lock(url, engine) if create and version is None else nullcontext():
        if create and version is None:  # another process may have been first
            version = schema_version(engine, shown_url(url))
        if version is not None:
            check_version(version, shown_url(url))
        elif not create:
            raise NoStorageError(
                f"{shown_url(url)} holds no studies of hpsearch; 'hpsearch launch STUDY.yaml' "
                "makes the first, or name another storage with --storage or HPSEARCH_STORAGE"
            )
        if create:
            write_ahead(engine)
        # The check of versions is ours: Optuna's raises out of the constructor, connections open.
        backend = RetryingStorage(
            url.render_as_string(False),
            retry,
            engine_kwargs=engine_options(url),
            skip_compatibility_check=True,
            skip_table_creation=version is not None,  # ours are created last
        )
        opened.callback(backend.engine.dispose)
        opened.callback(backend.remove_session)
        if backend.get_current_version() != backend.get_head_version():
            raise StorageError(
                f"{shown_url(url)} was made by another version of Optuna; try "
                "'optuna storage upgrade', or another storage"
            )
        if version is None:
            create_ledger(engine)
    if url.drivername.startswith("sqlite"):
        event.listen(backend.engine, "connect", sync_at_checkpoints)
        backend.engine.dispose()  # what it has in its pool was connected untuned
    return Storage(
        url=url,
        optuna=TrialStore(backend),
        ledger=Ledger(engine, retry),
        leases=Leases(engine, retry),
        pauses=Pauses(engine, retry),
        openings=Openings(engine, retry),
        examples=Examples(engine, retry),
        confirmations=Confirmations(engine, retry),
        workers=WorkerList(engine, retry),
        retry=retry,
        engines=(engine, backend.engine),
    )


@contextmanager
def opened_storage(
    url: str,
    create: bool = False,
    gives_up: Callable[[], bool] | None = None,
    waits_to_open: bool = False,
) -> Iterator[Storage]:
    """Open a storage for the block, as `open_storage` does, and close it whatever happens.

    Errors of its database are StorageErrors inside, too.
    """
    storage = open_storage(url, create, gives_up, waits_to_open)
    try:
        with storage_errors(storage):
            yield storage
    finally:
        storage.close()


@contextmanager
def storage_errors(storage: Storage) -> Iterator[None]:
    """Turn the database's errors inside the block into StorageError."""
    try:
        yield
    except DATABASE_ERRORS as error:
        raise _schema_error(storage, error) or StorageError(explained(storage.url, error)) from None


def _schema_error(storage: Storage, error: BaseException) -> SchemaError | None:
    """Return that the schema was changed under us, where an error may come from that."""
    if passes(error):
        return None
    try:
        with reading(storage.ledger.engine) as connection:
            check_unchanged(connection, storage.shown)
    except SchemaError as changed:
        return changed
    except DATABASE_ERRORS:
        pass
    return None
