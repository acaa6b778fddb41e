"""How the schema came to its present version: a chain of numbered migrations in plain SQL.

A released migration is never changed. A new one is added here together with the change of
`schema.py`, its SCHEMA_VERSION one higher; a test compares what both come to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text, update

from hpsearch.errors import SchemaError
from hpsearch.storage.schema import begin_writing, versions

LOCK_TIMEOUT_S = 60  # how long a migration waits for whoever reads the tables on Postgres


@dataclass(frozen=True)
class Migration:
    """The way from one version to the next: what it is for, and its statements.

    `{BYTES}` in a statement is the database's type of bytes.
    """

    before: int
    why: str
    statements: tuple[str, ...]

    def apply(self, engine: Engine, still_allowed: Callable[[Connection], None]) -> None:
        """Change the schema and its version in one transaction, all or nothing.

        `still_allowed` raises inside it where nothing may be changed now.
        """
        types = {"BYTES": "BLOB" if engine.dialect.name == "sqlite" else "BYTEA"}
        with engine.begin() as connection:
            begin_writing(connection)
            if engine.dialect.name != "sqlite":
                connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'"))
            still_allowed(connection)
            for statement in self.statements:
                connection.execute(text(statement.format_map(types)))
            new = update(versions).where(versions.c.version == self.before)
            if connection.execute(new.values(version=self.before + 1)).rowcount != 1:
                raise SchemaError("another upgrade was faster; look again")


MIGRATIONS = (
    Migration(
        2,
        "finalists are trained again; an opening keeps the configuration that it showed",
        (
            "ALTER TABLE hpsearch_openings ADD COLUMN config TEXT",
            "ALTER TABLE hpsearch_studies ADD COLUMN confirm_s FLOAT NOT NULL DEFAULT 0",
            "ALTER TABLE hpsearch_studies ADD COLUMN confirm_due BOOLEAN NOT NULL DEFAULT FALSE",
            # Earlier versions created what was missing before they changed what was there.
            "CREATE TABLE IF NOT EXISTS hpsearch_confirmations ("
            "study VARCHAR(100) NOT NULL, "
            "slot INTEGER NOT NULL, trial_number INTEGER NOT NULL, repeat INTEGER NOT NULL, "
            "result TEXT NOT NULL, ended_at FLOAT NOT NULL, PRIMARY KEY (study, slot), "
            "FOREIGN KEY(study) REFERENCES hpsearch_studies (name) ON DELETE CASCADE)",
        ),
    ),
    Migration(
        3,
        "openings of the same examples are known across studies, and an opening is written once",
        (
            "ALTER TABLE hpsearch_studies ADD COLUMN searched_examples VARCHAR(64)",
            "ALTER TABLE hpsearch_studies ADD COLUMN sealed_examples VARCHAR(64)",
            "ALTER TABLE hpsearch_studies ADD COLUMN version VARCHAR(100)",
            "ALTER TABLE hpsearch_studies ADD COLUMN continues VARCHAR(100)",
            "ALTER TABLE hpsearch_studies ADD COLUMN open_again BOOLEAN NOT NULL DEFAULT FALSE",
            "ALTER TABLE hpsearch_openings ADD COLUMN key VARCHAR(64)",
            "ALTER TABLE hpsearch_openings ADD COLUMN examples VARCHAR(64)",
            "CREATE UNIQUE INDEX hpsearch_openings_key ON hpsearch_openings (key)",
            "CREATE TABLE IF NOT EXISTS hpsearch_examples ("
            "digest VARCHAR(64) NOT NULL PRIMARY KEY, hashes {BYTES} NOT NULL)",
        ),
    ),
    Migration(
        4,
        "a lease says what it is on: trial, finalist's training or final; trials can be paused",
        # Keys change, which SQLite can do in new tables alone; made under their own names, so that
        # Postgres calls keys and indexes as those of a new storage. One number used to say all
        # three: 0 and above a trial, -1 the final, and below the 100 trainings of each finalist.
        (
            "CREATE TABLE hpsearch_leases_before AS SELECT * FROM hpsearch_leases",
            "DROP TABLE hpsearch_leases",
            "CREATE TABLE hpsearch_leases ("
            "study VARCHAR(100) NOT NULL, kind VARCHAR(8) NOT NULL, slot INTEGER NOT NULL, "
            "repeat INTEGER NOT NULL, trial_id INTEGER, worker VARCHAR(200) NOT NULL, "
            "expires_at FLOAT NOT NULL, begun_at FLOAT NOT NULL, progress_at FLOAT NOT NULL, "
            "attempts INTEGER NOT NULL, done BOOLEAN NOT NULL, paused INTEGER, "
            "PRIMARY KEY (study, kind, slot, repeat), "
            "FOREIGN KEY(study) REFERENCES hpsearch_studies (name) ON DELETE CASCADE)",
            "INSERT INTO hpsearch_leases SELECT study, "
            "CASE WHEN slot >= 0 THEN 'trial' WHEN slot = -1 THEN 'final' ELSE 'finalist' END, "
            "CASE WHEN slot >= 0 THEN slot WHEN slot = -1 THEN 0 ELSE (-2 - slot) / 100 END, "
            "CASE WHEN slot >= -1 THEN 0 ELSE (-2 - slot) % 100 END, "
            "trial_id, worker, expires_at, begun_at, progress_at, attempts, done, "
            "CAST(NULL AS INTEGER) FROM hpsearch_leases_before",
            "DROP TABLE hpsearch_leases_before",
            "CREATE INDEX hpsearch_leases_open ON hpsearch_leases (study, done)",
            "CREATE TABLE hpsearch_confirmations_before AS SELECT * FROM hpsearch_confirmations",
            "DROP TABLE hpsearch_confirmations",
            "CREATE TABLE hpsearch_confirmations ("
            "study VARCHAR(100) NOT NULL, slot INTEGER NOT NULL, repeat INTEGER NOT NULL, "
            "trial_number INTEGER NOT NULL, result TEXT NOT NULL, ended_at FLOAT NOT NULL, "
            "PRIMARY KEY (study, slot, repeat), "
            "FOREIGN KEY(study) REFERENCES hpsearch_studies (name) ON DELETE CASCADE)",
            "INSERT INTO hpsearch_confirmations SELECT study, (-2 - slot) / 100, repeat, "
            "trial_number, result, ended_at FROM hpsearch_confirmations_before",
            "DROP TABLE hpsearch_confirmations_before",
        ),
    ),
)
