"""Our tables beside Optuna's, and the database's clock."""

from __future__ import annotations

import shlex
from typing import Literal

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    ScalarSelect,
    String,
    Table,
    Text,
    func,
    insert,
    inspect,
    select,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from hpsearch.errors import SchemaError

SCHEMA_VERSION = 5  # how it came about: `migrations.py`
OLDEST_VERSION = 2  # from which on it can be upgraded

_tables = MetaData()

versions = Table("hpsearch_schema", _tables, Column("version", Integer, primary_key=True))

studies = Table(
    "hpsearch_studies",
    _tables,
    Column("name", String(100), primary_key=True),
    Column("spec", Text, nullable=False),  # StudySpec as JSON
    Column("identity", Text, nullable=False),  # what makes scores comparable, as JSON
    Column("fingerprint", String(64), nullable=False),
    Column("data_summary", Text, nullable=False),  # task, outputs and counts, as JSON
    Column("state", String(10), nullable=False),  # open, paused, stopped, done
    Column("note", Text, nullable=False),  # why it is paused or stopped
    Column("priority", Integer, nullable=False),  # the highest is served first
    Column("trials", Integer, nullable=False),  # the budget
    Column("claimed", Integer, nullable=False),
    Column("wants_final", Boolean, nullable=False),
    Column("precision", String(8)),  # decided by the first worker
    Column("timeout_s", Float),
    Column("spent_s", Float, nullable=False),  # time in which anyone was at work on it
    Column("ticked_at", Float),  # up to when that was reckoned
    Column("final_s", Float, nullable=False),  # what the final training is expected to take
    Column("confirm_s", Float, nullable=False),  # what is kept of the timeout to confirm
    Column("confirm_due", Boolean, nullable=False),  # whether finalists are to be trained again
    Column("created_at", Float, nullable=False),
    Column("edition", Float, nullable=False),  # when it was made or last launched
    Column("version", String(100)),  # of the hpsearch that wrote the spec; None before schema 4
    Column("searched_examples", String(64)),  # digests of train's and test's examples together, ...
    Column("sealed_examples", String(64)),  # ... and of validation's; None in those of before 4
    Column("continues", String(100)),  # an earlier study on the same data, with which it has a seal
    Column("open_again", Boolean, nullable=False),  # whether its final may open what was opened
)

# Which examples lie in a part of some data: a hash of each one's source, 8 bytes, sorted. They
# outlive studies, as openings do, and are kept once however many studies share them.
examples = Table(
    "hpsearch_examples",
    _tables,
    Column("digest", String(64), primary_key=True),
    Column("hashes", LargeBinary, nullable=False),
)

# What a lease is on: a trial, the training of a finalist with another seed, or the final.
Kind = Literal["trial", "finalist", "final"]
TRIAL: Kind = "trial"
FINALIST: Kind = "finalist"
FINAL: Kind = "final"

leases = Table(
    "hpsearch_leases",
    _tables,
    Column("study", ForeignKey("hpsearch_studies.name", ondelete="CASCADE"), primary_key=True),
    Column("kind", String(8), primary_key=True),
    Column("slot", Integer, primary_key=True),  # of the trial, or the finalist: 0 ... trials - 1
    Column("repeat", Integer, primary_key=True),  # of a finalist: 0 ... seeds - 1; else 0
    Column("trial_id", Integer),  # Optuna's id, once the trial exists
    Column("worker", String(200), nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("begun_at", Float, nullable=False),  # by its present worker
    Column("progress_at", Float, nullable=False),  # when a batch was last over
    Column("attempts", Integer, nullable=False),  # since an epoch of it was last over
    Column("done", Boolean, nullable=False),
    Column("paused", Integer),  # the epoch after which its trial waits for the scheduler, or NULL
    Index("hpsearch_leases_open", "study", "done"),
)

# Finalists trained again. They are no trials of Optuna's: those would teach its sampler that a
# configuration was tried more often than it was proposed, and could become its best trial.
confirmations = Table(
    "hpsearch_confirmations",
    _tables,
    Column("study", ForeignKey("hpsearch_studies.name", ondelete="CASCADE"), primary_key=True),
    Column("slot", Integer, primary_key=True),  # of the trial whose configuration it was, ...
    Column("repeat", Integer, primary_key=True),  # ... and which training of it: as its lease
    Column("trial_number", Integer, nullable=False),
    Column("result", Text, nullable=False),  # JSON
    Column("ended_at", Float, nullable=False),
)

workers = Table(
    "hpsearch_workers",
    _tables,
    Column("name", String(200), primary_key=True),
    Column("host", String(200), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("device", String(100), nullable=False),
    Column("version", String(100), nullable=False),  # of hpsearch and torch
    Column("note", Text, nullable=False),  # what it cannot do, and why
    Column("started_at", Float, nullable=False),
    Column("seen_at", Float, nullable=False),
)

# Openings outlive their study: deleting it must not seal the data again.
openings = Table(
    "hpsearch_openings",
    _tables,
    Column("id", Integer, primary_key=True),
    Column("study", String(100), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("trial_number", Integer, nullable=False),
    Column("config", Text),  # JSON, None in those of before schema version 3
    Column("who", String(200), nullable=False),
    Column("why", Text, nullable=False),
    Column("opened_at", Float, nullable=False),
    Column("result", Text),  # JSON, None where the measurement did not end
    Column("key", String(64)),  # what it is the opening for: written twice, it is one opening
    Column("examples", String(64)),  # digest of the examples it showed; None in those of before 4
    Index("hpsearch_openings_key", "key", unique=True),
)


def reading(engine: Engine) -> Connection:
    """Return a connection for single queries, which need no transaction around them."""
    return engine.execution_options(isolation_level="AUTOCOMMIT").connect()


class now_s(FunctionElement[float]):  # noqa: N801 - reads as the SQL function it is
    """The database's clock in seconds since 1970."""

    type = Float()
    inherit_cache = True


@compiles(now_s, "sqlite")
def _now_sqlite(element: object, compiler: object, **options: object) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(now_s, "postgresql")
def _now_postgres(element: object, compiler: object, **options: object) -> str:
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)"


def schema_version(engine: Engine, shown: str) -> int | None:
    """Return the version of a ledger's schema, None where there is no ledger.

    Raises SchemaError where the ledger of the storage, `shown` by this name, does not say.
    """
    with reading(engine) as connection:
        if not inspect(connection).has_table(versions.name):
            return None
        found = connection.execute(select(versions.c.version)).scalars().all()
    if len(found) != 1:
        raise SchemaError(
            f"{shown} does not say which version of hpsearch's tables it holds, as where creating "
            "them was cut off; remove it if it holds no study, or use another storage"
        )
    return int(found[0])


def check_version(version: int, shown: str) -> None:
    """Raise SchemaError, with what to do, where a storage's schema is not of our version."""
    if version == SCHEMA_VERSION:
        return
    held = f"{shown} has schema version {version}, this hpsearch knows {SCHEMA_VERSION}"
    if not OLDEST_VERSION <= version < SCHEMA_VERSION:
        raise SchemaError(f"{held}; use the hpsearch that wrote it, or another storage")
    where = "URL" if "***" in shown else shlex.quote(shown)
    raise SchemaError(
        f"{held}; upgrade it, once nobody is at work on it, with: "
        f"hpsearch storage upgrade --storage {where}"
    )


def stored_version() -> ScalarSelect[int]:
    """Return a column with the schema's version as it is now, to be read beside others."""
    return select(func.max(versions.c.version)).scalar_subquery()


is_ours = versions.c.version == SCHEMA_VERSION


def check_same(version: int, shown: str) -> None:
    """Raise SchemaError where the schema of a storage was changed since it was opened."""
    if version != SCHEMA_VERSION:
        raise SchemaError(
            f"{shown} was upgraded to schema version {version} meanwhile, this hpsearch knows "
            f"{SCHEMA_VERSION}; install the newer hpsearch here and start again"
        )


def check_unchanged(connection: Connection, shown: str) -> None:
    """Raise SchemaError where the schema of a storage was changed since it was opened."""
    check_same(connection.execute(select(stored_version())).scalar_one(), shown)


def begin_writing(connection: Connection) -> None:
    """Begin the transaction of a connection where SQLite would begin it at the first row.

    Without it, tables are created and changed one by one, with nothing that takes them back.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def create_ledger(engine: Engine) -> None:
    """Create our tables, all or none, where there are none yet."""
    with engine.begin() as connection:
        begin_writing(connection)
        _tables.create_all(connection)
        connection.execute(insert(versions).values(version=SCHEMA_VERSION))
