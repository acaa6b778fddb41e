"""Ways in which what is stored of a study comes to be unreadable."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Table, select, update

from hpsearch.storage.optuna_private import STUDIES, TRIALS, USER_ATTRS
from hpsearch.storage.schema import studies
from hpsearch.storage.storage import Storage

Damage = Callable[[Connection, str], None]


def _study(connection: Connection, name: str, **values: Any) -> None:
    connection.execute(update(studies).where(studies.c.name == name).values(values))


def _spec(connection: Connection, name: str) -> dict[str, Any]:
    written = connection.execute(select(studies.c.spec).where(studies.c.name == name)).scalar_one()
    spec: dict[str, Any] = json.loads(written)
    return spec


def newer_key(connection: Connection, name: str) -> None:
    spec = _spec(connection, name)
    spec["search"]["patience_of_tomorrow"] = 3
    _study(connection, name, spec=json.dumps(spec), version="99.1")


def torn_spec(connection: Connection, name: str) -> None:
    _study(connection, name, spec=json.dumps(_spec(connection, name))[:40])


def list_for_spec(connection: Connection, name: str) -> None:
    _study(connection, name, spec="[1, 2]")


def deep_spec(connection: Connection, name: str) -> None:
    _study(connection, name, spec="[" * 100_000)


def spec_of_another(connection: Connection, name: str) -> None:
    _study(connection, name, spec=json.dumps(_spec(connection, name) | {"name": "another"}))


def torn_summary(connection: Connection, name: str) -> None:
    _study(connection, name, data_summary='{"task": "single-la')


def poor_summary(connection: Connection, name: str) -> None:
    _study(connection, name, data_summary='{"task": "single-label"}')


def _attribute(connection: Connection, name: str, key: str, written: str | None) -> None:
    mine = select(TRIALS.c.trial_id).join(STUDIES, STUDIES.c.study_id == TRIALS.c.study_id)
    ids = mine.where(STUDIES.c.study_name == name).scalar_subquery()
    found = (USER_ATTRS.c.trial_id.in_(ids), USER_ATTRS.c.key == key)
    _change(connection, USER_ATTRS, found, written)


def _change(connection: Connection, table: Table, found: Any, written: str | None) -> None:
    if written is None:
        connection.execute(table.delete().where(*found))
    else:
        connection.execute(update(table).where(*found).values(value_json=written))


def torn_attribute(connection: Connection, name: str) -> None:
    _attribute(connection, name, "seed", '{"')


def foreign_trial(connection: Connection, name: str) -> None:
    _attribute(connection, name, "slot", None)


def other_attribute(connection: Connection, name: str) -> None:
    _attribute(connection, name, "seed", '"of tomorrow"')


DAMAGES: dict[str, tuple[Damage, str]] = {  # and what is said of it
    "newer key": (newer_key, "unknown key 'patience_of_tomorrow'"),
    "torn spec": (torn_spec, "its spec is no JSON"),
    "list for a spec": (list_for_spec, "its spec is no mapping"),
    "deep spec": (deep_spec, "its spec is no JSON"),
    "spec of another": (spec_of_another, "its spec is that of study 'another'"),
    "torn summary": (torn_summary, "what is known of its data is no JSON"),
    "poor summary": (poor_summary, "what is known of its data: outputs is missing"),
    "torn attribute": (torn_attribute, "JSONDecodeError"),
    "foreign trial": (foreign_trial, "its trial 0 was not made by hpsearch"),
    "other attribute": (other_attribute, "its trial 0 has a 'seed' of another kind"),
}


def damage(storage: Storage, study: str, how: Damage) -> None:
    """Change what is stored of a study that has a trial."""
    with storage.ledger.engine.begin() as connection:
        how(connection, study)
