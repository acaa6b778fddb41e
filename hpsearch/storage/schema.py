"""Our tables beside Optuna's, and the database's clock."""

from __future__ import annotations

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
    String,
    Table,
    Text,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from hpsearch.errors import StorageError

SCHEMA_VERSION = 4

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

FINAL_SLOT = -1  # the lease on a study's final; those on trials count from 0, those on ...
CONFIRM_SLOT = -2  # ... finalists that are trained again from here down

leases = Table(
    "hpsearch_leases",
    _tables,
    Column("study", ForeignKey("hpsearch_studies.name", ondelete="CASCADE"), primary_key=True),
    Column("slot", Integer, primary_key=True),  # 0 ... trials - 1, or below 0
    Column("trial_id", Integer),  # Optuna's id, once the trial exists
    Column("worker", String(200), nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("begun_at", Float, nullable=False),  # by its present worker
    Column("progress_at", Float, nullable=False),  # when a batch was last over
    Column("attempts", Integer, nullable=False),  # since an epoch of it was last over
    Column("done", Boolean, nullable=False),
    Index("hpsearch_leases_open", "study", "done"),
)

# Finalists trained again. They are no trials of Optuna's: those would teach its sampler that a
# configuration was tried more often than it was proposed, and could become its best trial.
confirmations = Table(
    "hpsearch_confirmations",
    _tables,
    Column("study", ForeignKey("hpsearch_studies.name", ondelete="CASCADE"), primary_key=True),
    Column("slot", Integer, primary_key=True),  # of its lease
    Column("trial_number", Integer, nullable=False),  # whose configuration it was
    Column("repeat", Integer, nullable=False),  # 0 ... seeds - 1
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


CHANGES = {  # by the version that they start from
    2: (
        "ALTER TABLE hpsearch_openings ADD COLUMN config TEXT",
        "ALTER TABLE hpsearch_studies ADD COLUMN confirm_s FLOAT NOT NULL DEFAULT 0",
        "ALTER TABLE hpsearch_studies ADD COLUMN confirm_due BOOLEAN NOT NULL DEFAULT FALSE",
    ),
    3: (
        "ALTER TABLE hpsearch_studies ADD COLUMN searched_examples VARCHAR(64)",
        "ALTER TABLE hpsearch_studies ADD COLUMN sealed_examples VARCHAR(64)",
        "ALTER TABLE hpsearch_studies ADD COLUMN version VARCHAR(100)",
        "ALTER TABLE hpsearch_studies ADD COLUMN continues VARCHAR(100)",
        "ALTER TABLE hpsearch_studies ADD COLUMN open_again BOOLEAN NOT NULL DEFAULT FALSE",
        "ALTER TABLE hpsearch_openings ADD COLUMN key VARCHAR(64)",
        "ALTER TABLE hpsearch_openings ADD COLUMN examples VARCHAR(64)",
        "CREATE UNIQUE INDEX hpsearch_openings_key ON hpsearch_openings (key)",
    ),
}


def create_ledger(engine: Engine) -> None:
    """Create the tables where they are missing; bring older ones up to date.

    Openings must not be lost, so an older ledger is changed, not replaced.
    """
    _tables.create_all(engine)
    with engine.begin() as connection:
        version = connection.execute(select(versions.c.version)).scalar()
        if version is None:
            connection.execute(insert(versions).values(version=SCHEMA_VERSION))
            return
        before = version
        while version in CHANGES:
            for statement in CHANGES[version]:
                connection.execute(text(statement))
            version += 1
        if version != before:
            connection.execute(update(versions).values(version=version))
        if version != SCHEMA_VERSION:
            raise StorageError(
                f"the ledger has schema version {version}, this hpsearch knows {SCHEMA_VERSION}; "
                "use the hpsearch that wrote it, or another storage"
            )
