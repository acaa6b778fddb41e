"""The openings of sealed validation splits, as the ledger keeps them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, Engine, Row, func, insert, select, update

from hpsearch.errors import StudyFileError, UnreadableOpeningError
from hpsearch.storage.final_record import ConfigRecord, FinalRecord
from hpsearch.storage.leases import Lease, keep
from hpsearch.storage.records import Record
from hpsearch.storage.retry import Retry, retried
from hpsearch.storage.schema import now_s, openings, reading, studies, versions
from hpsearch.study.config import TrialConfig

Read = TypeVar("Read", bound=Record)


class Opening(BaseModel):
    """One opening of the validation split.

    What stands in it as JSON is read when it is asked for: UnreadableOpeningError then.
    """

    model_config = ConfigDict(frozen=True)

    id: int
    study: str
    fingerprint: str
    trial_number: int
    config_json: str | None  # of that trial; None where it was not recorded
    who: str
    why: str
    opened_at: float  # seconds since 1970, by the database's clock
    result_json: str | None  # None where the measurement did not end
    key: str | None = None
    examples: str | None = None  # digest of those it showed; None where they were not recorded

    @property
    def measured(self) -> bool:
        """Whether what it showed is on record."""
        return self.result_json is not None

    @cached_property
    def config(self) -> ConfigRecord | None:
        """The configuration that it measured, None where it was not recorded."""
        return self._read(ConfigRecord, self.config_json, "its configuration")

    @cached_property
    def result(self) -> FinalRecord | None:
        """What it showed, None where the measurement did not end."""
        return self._read(FinalRecord, self.result_json, "what it showed")

    def _read(self, kind: type[Read], written: str | None, what: str) -> Read | None:
        try:
            return None if written is None else kind.read(written, what)
        except StudyFileError as error:
            raise UnreadableOpeningError(self.id, self.study, str(error)) from None

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data for scripts; what cannot be read as what is wrong with it."""
        kept = self.model_dump()
        plain: dict[str, Any] = {}
        for name in ("config", "result"):
            del kept[f"{name}_json"]
            try:
                found: Record | None = getattr(self, name)
            except UnreadableOpeningError as error:
                plain[name] = {"unreadable": str(error)}
            else:
                plain[name] = None if found is None else found.as_json()
        return kept | plain


@dataclass(frozen=True)
class Mark:
    """What an opening was of: data, by its fingerprint, and examples, by their digest."""

    id: int
    study: str
    fingerprint: str
    examples: str | None


@dataclass(frozen=True)
class Openings:
    """Reads and writes the openings; they outlive their study."""

    engine: Engine
    retry: Retry

    @retried
    def of(self, fingerprint: str) -> list[Opening]:
        """Return every opening of this data's validation split, oldest first."""
        with reading(self.engine) as connection:
            rows = connection.execute(
                select(openings)
                .where(openings.c.fingerprint == fingerprint)
                .order_by(openings.c.id)
            ).all()
        return [_opening(row) for row in rows]

    @retried
    def marks(self) -> list[Mark]:
        """Return what every opening in the storage was of, oldest first."""
        of = (openings.c.id, openings.c.study, openings.c.fingerprint, openings.c.examples)
        with reading(self.engine) as connection:
            rows = connection.execute(select(*of).order_by(openings.c.id)).all()
        return [Mark(**row._asdict()) for row in rows]

    @retried
    def numbered(self, ids: Collection[int]) -> list[Opening]:
        """Return openings by their id, oldest first."""
        with reading(self.engine) as connection:
            query = select(openings).where(openings.c.id.in_(ids)).order_by(openings.c.id)
            return [_opening(row) for row in connection.execute(query)]

    @retried
    def newest(self) -> int:
        """Return the id of the newest opening in this storage, 0 where there is none."""
        with reading(self.engine) as connection:
            return int(connection.execute(select(func.max(openings.c.id))).scalar() or 0)

    @retried
    def open(
        self,
        lease: Lease,
        key: str,
        newest: int,
        fingerprint: str,
        trial_number: int,
        who: str,
        why: str,
        config: TrialConfig,
    ) -> int | None:
        """Write that whoever has this lease is about to open the seal; returns the entry's id.

        One transaction that no other opening runs beside. `key` says what the opening is for: what
        was written with it already is found, not written again. None where validation was opened
        since `newest` was the newest opening: whether it may be is to be decided again. Raises
        LeaseLostError.
        """
        with self.engine.begin() as connection:
            keep(connection, lease)
            connection.execute(update(versions).values(version=versions.c.version))  # one at a time
            mine = select(openings.c.id).where(openings.c.key == key)
            found = connection.execute(mine).scalar()
            if found is not None:
                return int(found)
            if (connection.execute(select(func.max(openings.c.id))).scalar() or 0) > newest:
                return None
            return _inserted(
                connection,
                study=lease.study,
                fingerprint=fingerprint,
                trial_number=trial_number,
                config=config.model_dump_json(),
                who=who,
                why=why,
                key=key,
            )

    @retried
    def go_on(self, lease: Lease) -> None:
        """Make sure that an opening may be measured to its end; LeaseLostError where it may not."""
        with self.engine.begin() as connection:
            keep(connection, lease)

    def write(
        self,
        study: str,
        fingerprint: str,
        trial_number: int,
        who: str,
        why: str,
        config: ConfigRecord | None = None,
    ) -> int:
        """Write an opening that no lease stands behind; returns the id of the entry.

        Not tried again by itself: a second row would be a second opening.
        """
        with self.engine.begin() as connection:
            return _inserted(
                connection,
                study=study,
                fingerprint=fingerprint,
                trial_number=trial_number,
                config=None if config is None else config.written(),
                who=who,
                why=why,
            )

    @retried
    def write_result(
        self, opening_id: int, result: FinalRecord, lease: Lease | None = None
    ) -> None:
        """Write what an opening showed; LeaseLostError where that is another worker's to say."""
        with self.engine.begin() as connection:
            if lease is not None:
                keep(connection, lease)
            connection.execute(
                update(openings).where(openings.c.id == opening_id).values(result=result.written())
            )


def _inserted(connection: Connection, study: str, **values: Any) -> int:
    shown = select(studies.c.sealed_examples).where(studies.c.name == study).scalar_subquery()
    row = {"study": study, "opened_at": now_s(), "examples": shown} | values
    made = connection.execute(insert(openings).values(row).returning(openings.c.id))
    return int(made.scalar_one())


def _opening(row: Row[Any]) -> Opening:
    kept = row._asdict()
    return Opening(config_json=kept.pop("config"), result_json=kept.pop("result"), **kept)
