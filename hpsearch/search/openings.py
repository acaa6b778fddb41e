"""The openings of sealed validation splits, as the ledger keeps them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Row, insert, select, update

from hpsearch.search.patience import Patience, patient
from hpsearch.search.tables import now_s, openings, reading, studies


@dataclass(frozen=True)
class Opening:
    """One opening of the validation split."""

    id: int
    study: str
    fingerprint: str
    trial_number: int
    config: dict[str, Any] | None  # of that trial; None where it was not recorded
    who: str
    why: str
    opened_at: float  # seconds since 1970, by the database's clock
    result: dict[str, Any] | None  # None where the measurement did not end
    key: str | None = None
    examples: str | None = None  # digest of those it showed; None where they were not recorded


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
    patience: Patience

    @patient
    def of(self, fingerprint: str) -> list[Opening]:
        """Return every opening of this data's validation split, oldest first."""
        with reading(self.engine) as connection:
            rows = connection.execute(
                select(openings)
                .where(openings.c.fingerprint == fingerprint)
                .order_by(openings.c.id)
            ).all()
        return [_opening(row) for row in rows]

    @patient
    def marks(self) -> list[Mark]:
        """Return what every opening in the storage was of, oldest first."""
        of = (openings.c.id, openings.c.study, openings.c.fingerprint, openings.c.examples)
        with reading(self.engine) as connection:
            rows = connection.execute(select(*of).order_by(openings.c.id)).all()
        return [Mark(**row._asdict()) for row in rows]

    @patient
    def numbered(self, ids: Collection[int]) -> list[Opening]:
        """Return openings by their id, oldest first."""
        with reading(self.engine) as connection:
            query = select(openings).where(openings.c.id.in_(ids)).order_by(openings.c.id)
            return [_opening(row) for row in connection.execute(query)]

    def write(
        self,
        study: str,
        fingerprint: str,
        trial_number: int,
        who: str,
        why: str,
        config: Mapping[str, Any] | None = None,
    ) -> int:
        """Write that the seal is about to be opened; returns the id of the entry.

        Not tried again by itself: a second row would be a second opening.
        """
        with self.engine.begin() as connection:
            made = connection.execute(
                insert(openings)
                .values(
                    study=study,
                    fingerprint=fingerprint,
                    trial_number=trial_number,
                    config=None if config is None else json.dumps(config),
                    who=who,
                    why=why,
                    opened_at=now_s(),
                    examples=select(studies.c.sealed_examples)
                    .where(studies.c.name == study)
                    .scalar_subquery(),
                )
                .returning(openings.c.id)
            )
            return int(made.scalar_one())

    @patient
    def write_result(self, opening_id: int, result: Mapping[str, Any]) -> None:
        """Write what an opening showed."""
        with self.engine.begin() as connection:
            connection.execute(
                update(openings)
                .where(openings.c.id == opening_id)
                .values(result=json.dumps(result))
            )


def _opening(row: Row[Any]) -> Opening:
    config, result = row.config and json.loads(row.config), row.result and json.loads(row.result)
    return Opening(**row._asdict() | {"config": config, "result": result})
