"""Bringing an older storage up to date: the one place that changes a schema, when asked to."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from filelock import Timeout as LockTimeout
from sqlalchemy import URL, Connection, Engine, select

from hpsearch.errors import NoStorageError, StorageError
from hpsearch.storage.database import check_file, creation_lock, database_engine, explained
from hpsearch.storage.migrations import MIGRATIONS
from hpsearch.storage.retry import DATABASE_ERRORS
from hpsearch.storage.schema import (
    OLDEST_VERSION,
    SCHEMA_VERSION,
    check_version,
    leases,
    now_s,
    reading,
    schema_version,
    workers,
)
from hpsearch.storage.url import parse_url, shown_url
from hpsearch.storage.worker_registry import GONE_AFTER_S


def upgrade_storage(url: str, dry_run: bool, say: Callable[[str], None]) -> None:
    """Bring the schema of a storage to our version, step by step, saying what is done.

    A SQLite file is copied first. With `dry_run` it says what would be done, and changes nothing.
    Raises StorageError while workers are at work on it, and where there is no way from its version
    to ours; a step is done or not begun, so that another try goes on behind the last one.
    """
    parsed = parse_url(url)
    if parsed.drivername.startswith("sqlite"):
        check_file(parsed, create=False)
    engine = database_engine(parsed)
    try:
        if dry_run:
            _plan(parsed, engine, say)
            return
        with creation_lock(parsed, engine):  # nobody opens it meanwhile to work on it
            _upgrade(parsed, engine, say)
    except (*DATABASE_ERRORS, LockTimeout) as error:
        raise StorageError(explained(parsed, error)) from None
    finally:
        engine.dispose()


def _plan(url: URL, engine: Engine, say: Callable[[str], None]) -> None:
    version = _version(url, engine)
    if version == SCHEMA_VERSION:
        say(f"{shown_url(url)} has schema version {version} already: nothing to do")
        return
    say(f"{shown_url(url)} has schema version {version}; an upgrade would bring it to")
    for migration in MIGRATIONS[version - OLDEST_VERSION :]:
        say(f"  version {migration.before + 1}: {migration.why}")
    if url.drivername.startswith("sqlite"):
        say(f"after a copy to {_free_name(url, version)}")
    with reading(engine) as connection:
        busy = _at_work(connection)
    say(f"not now: {busy} at work on it" if busy else "nobody is at work on it")


def _upgrade(url: URL, engine: Engine, say: Callable[[str], None]) -> None:
    version = _version(url, engine)
    if version == SCHEMA_VERSION:
        say(f"{shown_url(url)} has schema version {version} already: nothing was done")
        return

    def refuse_while_at_work(connection: Connection) -> None:
        busy = _at_work(connection)
        if busy:
            raise StorageError(
                f"{shown_url(url)} is not upgraded: {busy} at work on it. End workers and launches "
                f"of it and try again; one that was killed counts as gone after {GONE_AFTER_S:g} s"
            )

    with reading(engine) as connection:
        refuse_while_at_work(connection)
    say(f"{shown_url(url)} has schema version {version}")
    if url.drivername.startswith("sqlite"):
        copy = _free_name(url, version)
        _copy(engine, Path(str(url.database)), copy)
        say(f"copied to {copy}")
    for migration in MIGRATIONS[version - OLDEST_VERSION :]:
        migration.apply(engine, refuse_while_at_work)
        say(f"version {migration.before + 1}: {migration.why}")


def _version(url: URL, engine: Engine) -> int:
    """Return the version of a schema that is ours, or that there is a way from."""
    version = schema_version(engine, shown_url(url))
    if version is None:
        raise NoStorageError(f"{shown_url(url)} holds no studies of hpsearch: nothing to upgrade")
    if not OLDEST_VERSION <= version <= SCHEMA_VERSION:
        check_version(version, shown_url(url))
    return version


def _at_work(connection: Connection) -> str:
    """Return who is at work on a storage, in words; nothing where nobody is."""
    names = set(
        connection.execute(
            select(workers.c.name).where(workers.c.seen_at >= now_s() - GONE_AFTER_S)
        ).scalars()
    )
    held = select(leases.c.worker).where(~leases.c.done, leases.c.expires_at >= now_s())
    names |= set(connection.execute(held).scalars())
    if not names:
        return ""
    first, *others = sorted(names)
    return f"{first} and {len(others)} more are" if others else f"{first} is"


def _free_name(url: URL, version: int) -> Path:
    """Return where a file of an old version is copied to: a name that nothing has yet."""
    path = Path(str(url.database))
    name = path.with_name(f"{path.stem}.schema-{version}{path.suffix}")
    number = 1
    while name.exists():
        number += 1
        name = path.with_name(f"{path.stem}.schema-{version}-{number}{path.suffix}")
    return name


def _copy(engine: Engine, path: Path, copy: Path) -> None:
    """Copy a SQLite file, with what its write-ahead log holds; whole, or not at all."""
    part = copy.with_name(f"{copy.name}.part")
    try:
        with closing(engine.raw_connection()) as source, closing(sqlite3.connect(part)) as target:
            assert isinstance(source.driver_connection, sqlite3.Connection)
            source.driver_connection.backup(target)
        shutil.copymode(path, part)
        part.replace(copy)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"{copy}: it is not copied, and not upgraded: {error}") from None
    finally:
        part.unlink(missing_ok=True)
