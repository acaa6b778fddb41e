"""Studies made without training: trials are begun as workers begin them, and their curves given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial
from sqlalchemy import Table, func, select

from hpsearch.data.account import Account
from hpsearch.data.prepared import Prepared
from hpsearch.search.samplers import given_params, sampler_for, seed_of
from hpsearch.search.scheduler import scheduler_for
from hpsearch.search.stored_study import OpenStudy, enter_study, read_stored_study
from hpsearch.storage.leases import Lease
from hpsearch.storage.schema import TRIAL, leases
from hpsearch.storage.storage import Storage
from hpsearch.storage.studies import StudyRow
from hpsearch.study.spec import StudySpec, config_from

PREPARED = Prepared(
    folder=Path("prepared"),
    fingerprint="a" * 64,
    task="single-label",
    outputs=("cat", "dog"),
    image_shape=(1, 8, 8),
    counts=((80, 10, 10), (80, 10, 10)),
    totals=(160, 20, 20),
    account=Account(200, 200, things="files"),
)


def spec_of(name: str = "made", data: Any = None, space: Any = None, **search: Any) -> StudySpec:
    """Return a study of two searched axes, unless `space` says otherwise."""
    written = {
        "name": name,
        "data": {"source": "digits"} | (data or {}),
        "space": space
        or {
            "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
            "filters": {"low": 8, "high": 64},
        },
        "search": {"epochs": 5, "trials": 10} | search,
    }
    return StudySpec.model_validate(written)


def enter(storage: Storage, spec: StudySpec | None = None, **search: Any) -> StudySpec:
    """Enter a study and return what it is."""
    spec = spec or spec_of(**search)
    enter_study(storage, spec, PREPARED)
    return spec


def begin_trial(storage: Storage, spec: StudySpec, lease: Lease) -> Trial:
    """Return the live trial of a lease, with everything sampled."""
    pruner = scheduler_for(spec.search).pruner
    study = storage.load(spec.name, sampler_for(spec.search, lease.slot), pruner)
    trial_id = lease.trial_id
    if trial_id is None:
        template = create_trial(
            state=TrialState.RUNNING,
            user_attrs={
                "slot": lease.slot,
                "seed": seed_of(spec.search.seed, lease.slot, stream=1),
                "precision": "fp32",
                "threads": 1,
            },
            system_attrs={"fixed_params": given_params(spec, lease.slot)},
        )
        study_id = storage.optuna.get_study_id_from_name(spec.name)
        trial_id = storage.optuna.create_new_trial(study_id, template)
        storage.leases.set_trial(lease, trial_id)
    trial = optuna.trial.Trial(study, trial_id)
    config_from(spec, PREPARED.fingerprint, trial)
    return trial


def claimed(storage: Storage, spec: StudySpec, worker: str = "worker") -> Lease:
    """Return a lease where there has to be one."""
    lease = storage.leases.claim(spec.name, worker)
    assert lease is not None
    return lease


def run_trial(
    storage: Storage,
    spec: StudySpec,
    curve: Sequence[float] = (0.5,),
    state: TrialState = TrialState.COMPLETE,
    **user_attrs: Any,
) -> FrozenTrial:
    """Claim, run and end a trial that reported `curve`, one value for each epoch from 1."""
    lease = claimed(storage, spec)
    trial = begin_trial(storage, spec, lease)
    for key, value in ({"parameters": 1000, "duration_s": 1.0} | user_attrs).items():
        trial.set_user_attr(key, value)
    for epoch, value in enumerate(curve, start=1):
        trial.report(value, epoch)
        trial.should_prune()  # halving pruners write down what they saw
    value = curve[-1] if state == TrialState.COMPLETE else None
    ended = trial.study.tell(trial, value, state=state)
    storage.leases.finish(lease)
    return ended


def stored(storage: Storage, spec: StudySpec) -> OpenStudy:
    return read_stored_study(storage, spec.name)


def row_of(storage: Storage, study: str = "made") -> StudyRow:
    row = storage.ledger.study(study)
    assert row is not None
    return row


def launch(storage: Storage, trials: int, timeout_s: float | None = None) -> None:
    storage.ledger.begin_launch("made", spec_of().model_dump_json(), trials, timeout_s)


def rewind(storage: Storage, table: Table, column: str, seconds: float) -> None:
    """Put what was written down as a time of the database's clock so long before it."""
    with storage.ledger.engine.begin() as connection:
        connection.execute(table.update().values({column: table.c[column] - seconds}))


def open_leases(storage: Storage, study: str) -> int:
    """Return how many claimed trials have not ended."""
    mine = (leases.c.study == study, ~leases.c.done, leases.c.kind == TRIAL)
    with storage.leases.engine.connect() as connection:
        return int(connection.execute(select(func.count()).where(*mine)).scalar_one())
