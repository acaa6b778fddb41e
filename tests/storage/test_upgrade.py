"""Storages of released versions: refused as they are, upgraded when asked to, and read then.

`released/schema-N.sql.gz` is a SQLite file that hpsearch of that schema version wrote: `made`,
three trials of digits, measured and opened (from version 3 on with confirmations), and `waiting`,
entered and paused. Names of machines and folders are replaced.
"""

from __future__ import annotations

import gzip
import hashlib
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from child_processes import CREW, Crew
from fixtures_storage import on_sqlite
from made_studies import enter
from optuna.storages import RDBStorage
from sqlalchemy import MetaData, inspect, text

from hpsearch.errors import NoStorageError, SchemaError, StorageError
from hpsearch.reports.best_yaml import exported_yaml
from hpsearch.reports.formats import as_json
from hpsearch.reports.frames import open_study
from hpsearch.reports.report import make_report, sections
from hpsearch.search.control import resume
from hpsearch.storage import migrations
from hpsearch.storage.heartbeat import HeldLease
from hpsearch.storage.migrations import MIGRATIONS
from hpsearch.storage.schema import FINAL, OLDEST_VERSION, SCHEMA_VERSION
from hpsearch.storage.storage import Storage, open_storage, storage_errors
from hpsearch.storage.upgrade import upgrade_storage
from hpsearch.storage.url import parse_url

RELEASED = Path(__file__).parent / "released"
VERSIONS = range(OLDEST_VERSION, SCHEMA_VERSION)
READ_ONLY = (
    ("status",),
    ("status", "made"),
    ("report", "made"),
    ("audit", "made"),
    ("export", "made"),
)


def dump_of(version: int) -> str:
    return gzip.decompress((RELEASED / f"schema-{version}.sql.gz").read_bytes()).decode()


def released_file(version: int, path: Path) -> Path:
    """Write the SQLite file of a released version."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(dump_of(version))
        connection.execute("PRAGMA journal_mode=WAL")
    return path


def load_into_postgres(version: int, url: str, file: Path) -> None:
    """Copy what a released SQLite file holds into a database of Postgres."""
    backend = RDBStorage(parse_url(url).render_as_string(False))  # its tables are of one version
    backend.remove_session()
    target, ours = backend.engine, MetaData()
    source = sqlalchemy.create_engine(f"sqlite:///{released_file(version, file)}")
    ours.reflect(source, only=lambda name, _: name.startswith("hpsearch_"))
    generic, theirs = MetaData(), MetaData()
    for table in ours.sorted_tables:
        table.to_metadata(generic)
    for table in generic.sorted_tables:
        for column in table.columns:
            column.type = column.type.as_generic()
    generic.create_all(target)
    theirs.reflect(target)
    with source.connect() as reader, target.begin() as writer:
        for table in theirs.sorted_tables:
            if table.name in ("alembic_version", "version_info"):
                continue
            columns = [sqlalchemy.column(c.name, _plain(c.type)) for c in table.columns]
            rows = reader.execute(
                sqlalchemy.select(*columns).select_from(sqlalchemy.table(table.name))
            )
            for row in rows.mappings():
                writer.execute(table.insert().values(**row))
    source.dispose()
    target.dispose()


def _plain(kind: Any) -> Any:
    """Return how SQLite reads a column of Postgres."""
    generic = kind.as_generic()
    return sqlalchemy.String() if isinstance(generic, sqlalchemy.Enum) else generic


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


@pytest.fixture
def old_url(version: int, backend: str, empty_url: str, tmp_path: Path) -> Iterator[str]:
    """The URL of a storage as a released version left it."""
    if backend == "sqlite":
        yield f"sqlite:///{released_file(version, tmp_path / 'old.db')}"
        return
    load_into_postgres(version, empty_url, tmp_path / "source.db")
    yield empty_url


def upgraded(url: str, dry_run: bool = False) -> list[str]:
    """Upgrade a storage, and return what was said."""
    said: list[str] = []
    upgrade_storage(url, dry_run, said.append)
    return said


def schema_of(url: str) -> dict[str, Any]:
    """Return our tables: columns with their types, keys, and indexes."""
    engine = sqlalchemy.create_engine(parse_url(url))
    found = inspect(engine)
    schema = {
        name: (
            {(c["name"], str(c["type"]), c["nullable"]) for c in found.get_columns(name)},
            found.get_pk_constraint(name)["constrained_columns"],
            [
                (k["constrained_columns"], k["referred_table"], k["options"])
                for k in found.get_foreign_keys(name)
            ],
            sorted(
                (str(i["name"]), i["column_names"], i["unique"]) for i in found.get_indexes(name)
            ),
        )
        for name in found.get_table_names()
        if name.startswith("hpsearch_")
    }
    engine.dispose()
    return schema


def run_sql(url: str, statement: str) -> list[Any]:
    engine = sqlalchemy.create_engine(parse_url(url))
    with engine.begin() as connection:
        done = connection.execute(text(statement))
        found = [tuple(row) for row in done] if done.returns_rows else []
    engine.dispose()
    return found


def version_of(url: str) -> Any:
    return run_sql(url, "SELECT version FROM hpsearch_schema")[0][0]


def digests(folder: Path) -> dict[str, str]:
    """Return the files of a folder by their digests, those of SQLite's log taken in."""
    for path in folder.glob("*.db"):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.is_file() and not path.name.endswith(("-wal", "-shm"))
    }


# Refused, and left as it is


def test_there_is_a_file_and_a_migration_of_every_released_version() -> None:
    assert {path.name for path in RELEASED.iterdir()} == {
        f"schema-{number}.sql.gz" for number in VERSIONS
    }
    assert [migration.before for migration in MIGRATIONS] == list(VERSIONS)


@pytest.mark.parametrize("create", [False, True])
def test_an_older_storage_is_refused_with_the_command_and_not_changed(
    old_url: str, version: int, create: bool
) -> None:
    before = schema_of(old_url)
    with pytest.raises(SchemaError, match="hpsearch storage upgrade --storage") as caught:
        open_storage(old_url, create=create)
    assert f"schema version {version}, this hpsearch knows {SCHEMA_VERSION}" in str(caught.value)
    assert schema_of(old_url) == before
    assert version_of(old_url) == version


@pytest.mark.parametrize("statement", [
    "DELETE FROM hpsearch_schema",
    "INSERT INTO hpsearch_schema VALUES (77)",
])  # fmt: skip
@pytest.mark.parametrize("create", [False, True])
def test_a_storage_that_does_not_say_its_version_is_refused(
    storage_url: str, statement: str, create: bool
) -> None:
    run_sql(storage_url, statement)
    with pytest.raises(SchemaError, match="does not say which version"):
        open_storage(storage_url, create=create)
    with pytest.raises(SchemaError, match="does not say which version"):
        upgraded(storage_url)


@pytest.mark.parametrize("number", [-1, 1, SCHEMA_VERSION + 1])
def test_a_version_that_there_is_no_way_from_is_refused(storage_url: str, number: int) -> None:
    run_sql(storage_url, f"UPDATE hpsearch_schema SET version = {number}")
    for attempt in (lambda: open_storage(storage_url), lambda: upgraded(storage_url)):
        with pytest.raises(SchemaError, match=rf"version {number}, .*the hpsearch that wrote"):
            attempt()
    assert version_of(storage_url) == number


@pytest.mark.parametrize("number", [3, SCHEMA_VERSION])
def test_read_only_commands_leave_a_file_byte_for_byte_as_it_was(
    number: int, tmp_path: Path
) -> None:
    file = released_file(3, tmp_path / "old.db")
    if number == SCHEMA_VERSION:
        upgraded(f"sqlite:///{file}")
        for other in tmp_path.iterdir():
            if other != file:
                other.unlink()
    before, changed_at = digests(tmp_path), file.stat().st_mtime_ns
    for words in READ_ONLY:
        done = subprocess.run(
            [sys.executable, "-m", "hpsearch", *words, "--storage", f"sqlite:///{file}"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if number == SCHEMA_VERSION:
            assert done.returncode == 0, done.stderr
        else:
            assert done.returncode == 1
            assert f"hpsearch storage upgrade --storage sqlite:///{file}" in done.stderr
            assert "Traceback" not in done.stderr
    if number == SCHEMA_VERSION:
        assert len(open_study("made", storage=f"sqlite:///{file}").trials) == 3
    assert digests(tmp_path) == before
    assert file.stat().st_mtime_ns == changed_at


def test_opening_to_read_does_not_change_how_a_file_is_journalled(tmp_path: Path) -> None:
    file = tmp_path / "old.db"
    open_storage(f"sqlite:///{file}").close()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    before = digests(tmp_path)
    open_storage(f"sqlite:///{file}", create=False).close()
    assert digests(tmp_path) == before


# Upgraded


def test_an_upgraded_storage_has_the_schema_of_a_new_one(
    old_url: str, storage_url: str, version: int
) -> None:
    said = upgraded(old_url)
    assert f"version {SCHEMA_VERSION}:" in said[-1]
    assert schema_of(old_url) == schema_of(storage_url)
    assert version_of(old_url) == SCHEMA_VERSION
    assert upgraded(old_url) == [
        f"{old_url_shown(old_url)} has schema version {SCHEMA_VERSION} already: nothing was done"
    ]


def old_url_shown(url: str) -> str:
    return parse_url(url).render_as_string()


def test_what_an_older_hpsearch_wrote_is_read_after_the_upgrade(old_url: str, version: int) -> None:
    upgraded(old_url)
    with closing(open_storage(old_url)) as storage, storage_errors(storage):
        assert storage.study_names() == ["made", "waiting"]
        report = make_report(storage, "made")
        assert report.final is not None and report.final.outputs == list("0123456789")
        assert "scores" in str(sections(report)).lower() and as_json(report)
        assert report.decision.trial is not None
        exported = exported_yaml(report.study, report.decision.trial, report.final, True)
        assert "filters: 16" in exported
        assert [trial.number for trial in report.study.trials] == [0, 1, 2]
        (opening,) = storage.openings.of(storage.row("made").fingerprint)
        assert (opening.study, opening.why) == ("made", "final choice")
        assert (opening.config is None) == (version < 3)
        again = [] if version < 3 else [(slot, repeat) for slot in (0, 1) for repeat in (0, 1)]
        confirmations = storage.confirmations.of("made")
        assert sorted((c.trial_number, c.repeat) for c in confirmations) == again
        kinds = run_sql(
            old_url, "SELECT kind, slot, repeat FROM hpsearch_leases ORDER BY kind, slot, repeat"
        )
        assert kinds == [
            ("final", 0, 0),
            *(("finalist", slot, repeat) for slot, repeat in again),
            *(("trial", slot, 0) for slot in (0, 1, 2)),
        ]
        resume(storage, "waiting")
        assert [study.name for study in storage.ledger.waiting()] == ["waiting"]
        lease = storage.leases.claim("waiting", "worker")
        assert lease is not None and lease.slot == 0
    assert len(open_study("made", storage=old_url).trials) == 3


@on_sqlite
def test_a_sqlite_file_is_copied_first_under_a_name_with_its_version(
    old_url: str, version: int, tmp_path: Path
) -> None:
    copy = tmp_path / f"old.schema-{version}.db"
    copy.write_text("an earlier copy")
    said = upgraded(old_url)
    second = tmp_path / f"old.schema-{version}-2.db"
    assert f"copied to {second}" in said
    assert copy.read_text() == "an earlier copy"
    assert version_of(f"sqlite:///{second}") == version
    with closing(sqlite3.connect(second)) as connection:
        assert "\n".join(connection.iterdump()).split() == dump_of(version).split()


def test_a_dry_run_says_the_steps_and_changes_nothing(
    old_url: str, version: int, tmp_path: Path, backend: str
) -> None:
    before = digests(tmp_path)
    said = "\n".join(upgraded(old_url, dry_run=True))
    for number in range(version + 1, SCHEMA_VERSION + 1):
        assert f"version {number}: " in said
    assert "nobody is at work" in said
    assert ("after a copy to" in said) == (backend == "sqlite")
    assert version_of(old_url) == version
    assert digests(tmp_path) == before


@pytest.mark.parametrize("who", ["worker", "lease"])
def test_an_upgrade_is_refused_while_anyone_is_at_work(
    old_url: str, version: int, who: str, tmp_path: Path
) -> None:
    clock = "(julianday('now') - 2440587.5) * 86400.0"
    if "postgres" in old_url:
        clock = "EXTRACT(EPOCH FROM clock_timestamp())"
    if who == "worker":
        values = f"'ann', 'host', 1, 'cpu', 'hpsearch 0.1.0', '', {clock} - 100, {clock} - 100"
        run_sql(old_url, f"INSERT INTO hpsearch_workers VALUES ({values})")
    else:
        run_sql(
            old_url,
            f"UPDATE hpsearch_leases SET done = FALSE, worker = 'ann', expires_at = {clock} + 30 "
            "WHERE study = 'made' AND slot = 0",
        )
    before = digests(tmp_path)
    with pytest.raises(StorageError, match="not upgraded: ann is at work on it"):
        upgraded(old_url)
    assert "not now: ann is at work on it" in upgraded(old_url, dry_run=True)
    assert version_of(old_url) == version
    assert digests(tmp_path).keys() - {"old.db.lock"} == before.keys()
    gone = "UPDATE hpsearch_workers SET seen_at = 0" if who == "worker" else (
        "UPDATE hpsearch_leases SET expires_at = 0"
    )  # fmt: skip
    run_sql(old_url, gone)
    upgraded(old_url)


def test_a_step_that_fails_is_taken_back_whole_and_the_next_try_goes_on(
    old_url: str, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = MIGRATIONS[-1]
    broken = migrations.Migration(
        last.before, last.why, (*last.statements, "ALTER TABLE no SET no")
    )
    monkeypatch.setattr("hpsearch.storage.upgrade.MIGRATIONS", (*MIGRATIONS[:-1], broken))
    with pytest.raises(StorageError):
        upgraded(old_url)
    assert version_of(old_url) == last.before
    left = schema_of(old_url)
    assert "kind" not in {name for name, *_ in left["hpsearch_leases"][0]}
    assert "hpsearch_leases_before" not in left
    monkeypatch.setattr("hpsearch.storage.upgrade.MIGRATIONS", MIGRATIONS)
    upgraded(old_url)
    assert version_of(old_url) == SCHEMA_VERSION


def upgrade_it(url: str, start: Callable[[], object], _number: int) -> list[str]:
    start()
    return upgraded(url)


def test_eight_upgrades_at_once_are_one(old_url: str, crew: Crew) -> None:
    said = crew.together(upgrade_it, old_url)
    assert sum("nothing was done" in "".join(lines) for lines in said) == CREW - 1
    assert version_of(old_url) == SCHEMA_VERSION


def test_there_is_nothing_to_upgrade_where_there_is_no_storage(empty_url: str) -> None:
    with pytest.raises(NoStorageError):
        upgraded(empty_url)


# Changed under a worker


def test_a_worker_is_told_by_every_poll_that_the_schema_has_changed(storage: Storage) -> None:
    spec = enter(storage)
    storage.workers.enter("worker", "cpu", "")
    lease = storage.leases.claim(spec.name, "worker")
    assert lease is not None
    storage.workers.see("worker")
    storage.workers.see("somebody who left the list")
    newer = SCHEMA_VERSION + 1
    run_sql(
        str(storage.url.render_as_string(False)), f"UPDATE hpsearch_schema SET version = {newer}"
    )
    polls = (
        storage.ledger.waiting,
        lambda: storage.workers.see("worker"),
        lambda: storage.leases.claim(spec.name, "worker", kind=FINAL),
    )
    for poll in polls:
        with pytest.raises(SchemaError, match=f"upgraded to schema version {newer} meanwhile"):
            poll()
    with HeldLease(storage.leases, lease) as held:
        assert held.why_stop() == f"the storage was upgraded to schema version {newer}"


def test_an_error_of_tables_that_were_changed_names_the_upgrade(storage: Storage) -> None:
    url = storage.url.render_as_string(False)
    run_sql(url, "ALTER TABLE hpsearch_leases RENAME TO hpsearch_holds")
    run_sql(url, f"UPDATE hpsearch_schema SET version = {SCHEMA_VERSION + 1}")
    with pytest.raises(SchemaError, match="install the newer hpsearch"), storage_errors(storage):
        storage.leases.unfinished("made")


@on_sqlite
def test_a_worker_whose_storage_is_upgraded_ends_with_a_clear_word(storage: Storage) -> None:
    enter(storage)
    url = storage.url.render_as_string(False)
    words = ["worker", "--workers", "1", "--device", "cpu", "--storage", url]
    running = subprocess.Popen(
        [sys.executable, "-m", "hpsearch", *words], stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 120
        while not storage.workers.present() and time.monotonic() < deadline:
            time.sleep(0.1)
        run_sql(url, f"UPDATE hpsearch_schema SET version = {SCHEMA_VERSION + 1}")
        _, said = running.communicate(timeout=120)
    finally:
        running.kill()
        running.wait()
    assert running.returncode == 1
    newer = f"schema version {SCHEMA_VERSION + 1}"
    assert newer in said.splitlines()[-1] and "Traceback" not in said
