"""All that Optuna keeps to itself and we use: its tables, its ids, what a live trial remembers.

Any minor release of Optuna may change it, so nothing else in the package touches it, and the
requirement stops at the minor release that this was tried with. Each function that takes a
connection is a part of its caller's transaction.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.storages._rdb import models
from optuna.storages._rdb import storage as rdb
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Table,
    bindparam,
    column,
    func,
    insert,
    inspect,
    or_,
    select,
    table,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from hpsearch.storage.optuna_rows import (
    Attrs,
    Changes,
    attr_rows,
    distribution,
    local_time,
    param_rows,
    utc_now,
    utc_time,
)

STUDIES: Table = models.StudyModel.__table__
TRIALS: Table = models.TrialModel.__table__
PARAMS: Table = models.TrialParamModel.__table__
VALUES: Table = models.TrialValueModel.__table__
STEPS: Table = models.TrialIntermediateValueModel.__table__
USER_ATTRS: Table = models.TrialUserAttributeModel.__table__
SYSTEM_ATTRS: Table = models.TrialSystemAttributeModel.__table__

HEAD_VERSION = "v3.2.0.a"  # of the tables, as the releases have it that this was tried with

UNFINISHED = tuple(state for state in TrialState if not state.is_finished())
READ_AT_ONCE = 500  # trials; databases bound the number of values in a statement


# Ids


def id_of(trial: Trial | FrozenTrial) -> int:
    """Return the id of a trial, which is its own in a whole storage."""
    return trial._trial_id


def study_id_of(study: Study) -> int:
    """Return the id of a study."""
    return study._study_id


def storage_of(study: Study) -> BaseStorage:
    """Return the storage that a study stands in."""
    return study._storage


def seen_as(
    study: Study,
    shown: Callable[[Sequence[FrozenTrial]], list[FrozenTrial]],
    directions: list[StudyDirection] | None = None,
) -> Study:
    """Return a study whose samplers see its trials as `shown` gives them; nothing is stored.

    With `directions` they see so many objectives.
    """
    view = copy.copy(study)
    view.__class__ = _Seen
    assert isinstance(view, _Seen)
    view.seen, view.shown = study, shown
    view.objectives = directions
    return view


def as_stored(study: Study) -> Study:
    """Return a study as it stands in the storage, below all that `seen_as` shows of it."""
    while isinstance(study, _Seen):
        study = study.seen
    return study


class _Seen(Study):
    seen: Study  # a view itself, perhaps
    shown: Callable[[Sequence[FrozenTrial]], list[FrozenTrial]]
    objectives: list[StudyDirection] | None

    @property
    def directions(self) -> list[StudyDirection]:
        return self.objectives or self.seen.directions

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        found = self.shown(self.seen._get_trials(deepcopy=False, use_cache=use_cache))
        return [t for t in found if states is None or t.state in states]


def remember(trial: Trial, user_attrs: Attrs | None, steps: Mapping[int, float] | None) -> None:
    """Let a live trial know of what was written to it past its own methods."""
    trial._cached_frozen_trial.user_attrs.update(user_attrs or {})
    trial._cached_frozen_trial.intermediate_values.update(steps or {})


# The version of the tables


class Versions(rdb._VersionManager):
    """What Optuna asks Alembic, asked without it where Alembic has nothing to do.

    Alembic, and the Mako and Pygments that it loads, took a tenth of a second and 10 MB of every
    command and worker, to read one row.
    """

    def _init_alembic(self) -> None:
        if self._stored_version() is None:
            super()._init_alembic()

    def get_current_version(self) -> str:
        found = self._stored_version()
        assert found is not None
        return found

    def get_head_version(self) -> str:
        return HEAD_VERSION

    def _stored_version(self) -> str | None:
        versions = table("alembic_version", column("version_num"))
        with self.engine.connect() as connection:
            if not inspect(connection).has_table(versions.name):
                return None
            return connection.execute(select(versions.c.version_num)).scalar()


rdb._VersionManager = Versions  # type: ignore[misc]  # Optuna's storage takes no other


# Writing


class Taking:
    """Takes the rows of trials that have not ended, so that no other writes to them meanwhile.

    `only` are conditions beside those on the trial. The statements are made once: making them anew
    for every epoch would take a tenth of a millisecond.
    """

    def __init__(self, *only: ColumnElement[bool]) -> None:
        goes_on = or_(*(TRIALS.c.state == state for state in UNFINISHED))
        this = update(TRIALS).where(TRIALS.c.trial_id == bindparam("id_"), goes_on, *only)
        self._take = this.values(state=TRIALS.c.state)
        self._end = this.values(state=bindparam("to_"), datetime_complete=bindparam("ended_"))

    def take(
        self, connection: Connection, trial_id: int, ends_as: TrialState | None, given: Attrs
    ) -> bool:
        """Take a trial and end it, without `ends_as` leave it; False where there is none to take.

        `given` are the values of the conditions' parameters.
        """
        if ends_as is None:
            taken = connection.execute(self._take, {"id_": trial_id, **given})
        else:
            ending = {"id_": trial_id, "to_": ends_as, "ended_": utc_now(), **given}
            taken = connection.execute(self._end, ending)
        return taken.rowcount == 1


def put_changes(connection: Connection, trial_id: int, changes: Changes) -> None:
    """Write to a locked trial; what was there under the same name is replaced."""
    _put(connection, PARAMS, "param_name", param_rows(trial_id, changes.params))
    _put(connection, USER_ATTRS, "key", attr_rows(trial_id, changes.user_attrs))
    _put(connection, SYSTEM_ATTRS, "key", attr_rows(trial_id, changes.system_attrs))
    _put(connection, STEPS, "step", _step_rows(trial_id, changes.steps))
    _put(connection, VALUES, "objective", _value_rows(trial_id, changes.values))


def insert_running(connection: Connection, study_id: int, template: FrozenTrial) -> FrozenTrial:
    """Make a running trial with a template's attributes and return it.

    Raises KeyError where there is no such study. What else a template may have is not written.
    """
    # Numbers count up without gaps: only one process at a time gives them out.
    locked = select(STUDIES.c.study_id).where(STUDIES.c.study_id == study_id)
    if connection.execute(locked.with_for_update()).scalar() is None:
        raise KeyError(f"there is no study with id {study_id} any more")
    made = insert(TRIALS).values(
        study_id=study_id,
        state=TrialState.RUNNING,
        datetime_start=utc_time(template.datetime_start),
    )
    trial_id: int = connection.execute(made.returning(TRIALS.c.trial_id)).scalar_one()
    before = (TRIALS.c.study_id == study_id) & (TRIALS.c.trial_id < trial_id)
    number = connection.execute(select(func.count()).where(before)).scalar_one()
    numbered = update(TRIALS).where(TRIALS.c.trial_id == trial_id).values(number=number)
    connection.execute(numbered)
    _put(connection, USER_ATTRS, "key", attr_rows(trial_id, template.user_attrs))
    _put(connection, SYSTEM_ATTRS, "key", attr_rows(trial_id, template.system_attrs))
    trial = copy.deepcopy(template)
    trial.number, trial._trial_id = number, trial_id
    return trial


def _put(connection: Connection, table: Table, key: str, rows: list[dict[str, Any]]) -> None:
    """Insert rows, or replace those with the same trial and key."""
    if not rows:
        return
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    new = dialect.insert(table)
    replaced = {c: new.excluded[c] for c in rows[0] if c not in ("trial_id", key)}
    put = new.on_conflict_do_update(index_elements=["trial_id", key], set_=replaced)
    connection.execute(put, rows)


# Reading


def study_exists(connection: Connection, study_id: int) -> bool:
    """Whether there is a study of an id."""
    query = select(STUDIES.c.study_id).where(STUDIES.c.study_id == study_id)
    return connection.execute(query).scalar() is not None


def state_of(connection: Connection, trial_id: int) -> TrialState | None:
    """Return the state of a trial, None where there is none of that id."""
    query = select(TRIALS.c.state).where(TRIALS.c.trial_id == trial_id)
    state: TrialState | None = connection.execute(query).scalar()
    return state


def a_distribution(connection: Connection, trial_id: int, param: str) -> BaseDistribution | None:
    """Return what some trial of the same study drew a parameter from, None if none did."""
    of_trial = select(TRIALS.c.study_id).where(TRIALS.c.trial_id == trial_id).scalar_subquery()
    query = (
        select(PARAMS.c.distribution_json)
        .join(TRIALS, TRIALS.c.trial_id == PARAMS.c.trial_id)
        .where(TRIALS.c.study_id == of_trial, PARAMS.c.param_name == param)
        .limit(1)
    )
    written = connection.execute(query).scalar()
    return None if written is None else distribution(written)


ROWS_FROM = select(TRIALS).where(
    TRIALS.c.study_id == bindparam("study_"),
    or_(
        TRIALS.c.trial_id >= bindparam("first_"),
        TRIALS.c.trial_id.in_(bindparam("among_", expanding=True)),
    ),
)


def rows_from(
    connection: Connection, study_id: int, first_id: int, among: Iterable[int]
) -> Sequence[Row[Any]]:
    """Return the rows of a study's trials from an id on, and of those of the ids in `among`.

    Each has `trial_id`, `number`, `state`, and the times by which trials of one id differ.
    """
    given = {"study_": study_id, "first_": first_id, "among_": list(among)}
    return connection.execute(ROWS_FROM, given).all()


def trials_of(connection: Connection, rows: Sequence[Row[Any]]) -> list[FrozenTrial]:
    """Return the trials of these rows, with all they have."""
    loaded: list[FrozenTrial] = []
    for start in range(0, len(rows), READ_AT_ONCE):
        part = rows[start : start + READ_AT_ONCE]
        ids = [row.trial_id for row in part]
        tables = (PARAMS, VALUES, STEPS, USER_ATTRS, SYSTEM_ATTRS)
        parts = [_by_trial(connection, table, ids) for table in tables]
        loaded += [_trial(row, *(found.get(row.trial_id, ()) for found in parts)) for row in part]
    return loaded


def _trial(
    row: Row[Any],
    params: Iterable[Row[Any]],
    values: Iterable[Row[Any]],
    steps: Iterable[Row[Any]],
    user_attrs: Iterable[Row[Any]],
    system_attrs: Iterable[Row[Any]],
) -> FrozenTrial:
    distributions = {p.param_name: distribution(p.distribution_json) for p in params}
    return FrozenTrial(
        number=row.number,
        state=row.state,
        value=None,
        values=[_value(v) for v in values] or None,
        datetime_start=local_time(row.datetime_start),
        datetime_complete=local_time(row.datetime_complete),
        params={
            p.param_name: distributions[p.param_name].to_external_repr(p.param_value)
            for p in params
        },
        distributions=distributions,
        user_attrs={a.key: json.loads(a.value_json) for a in user_attrs},
        system_attrs={a.key: json.loads(a.value_json) for a in system_attrs},
        intermediate_values={s.step: _step(s) for s in steps},
        trial_id=row.trial_id,
    )


def _by_trial(connection: Connection, table: Table, ids: list[int]) -> dict[int, list[Row[Any]]]:
    """Return the rows of some trials, by trial, in the order in which they were written."""
    first_column = next(iter(table.primary_key))
    query = select(table).where(table.c.trial_id.in_(ids)).order_by(first_column)
    found: dict[int, list[Row[Any]]] = {}
    if ids:
        for row in connection.execute(query):
            found.setdefault(row.trial_id, []).append(row)
    return found


# Rows


def _step_rows(trial_id: int, steps: Mapping[int, float]) -> list[dict[str, Any]]:
    stored = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr
    rows = []
    for step, number in steps.items():
        value, kind = stored(number)
        rows.append(
            {
                "trial_id": trial_id,
                "step": step,
                "intermediate_value": value,
                "intermediate_value_type": kind,
            }
        )
    return rows


def _value_rows(trial_id: int, values: Iterable[float] | None) -> list[dict[str, Any]]:
    rows = []
    for objective, number in enumerate(values or ()):
        value, kind = models.TrialValueModel.value_to_stored_repr(number)
        rows.append(
            {"trial_id": trial_id, "objective": objective, "value": value, "value_type": kind}
        )
    return rows


def _value(row: Row[Any]) -> float:
    return models.TrialValueModel.stored_repr_to_value(row.value, row.value_type)


def _step(row: Row[Any]) -> float:
    return models.TrialIntermediateValueModel.stored_repr_to_intermediate_value(
        row.intermediate_value, row.intermediate_value_type
    )
