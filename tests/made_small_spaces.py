"""Searches without training: trials are asked for as workers ask, and scored by their values."""

from __future__ import annotations

from typing import Any

from made_studies import PREPARED
from optuna.trial import Trial, TrialState, create_trial

from hpsearch.search import outcomes as endings
from hpsearch.search.keys import key_of
from hpsearch.search.known import Known, end_if_exhausted
from hpsearch.search.samplers import given_params, sampler_for
from hpsearch.search.scheduling import seen_by_samplers
from hpsearch.storage.leases import Lease
from hpsearch.storage.optuna_private import id_of, seen_as
from hpsearch.storage.optuna_trials import note
from hpsearch.storage.records import TrialNotes
from hpsearch.storage.storage import Storage
from hpsearch.study.spec import StudySpec, config_from

SMALL = {"optimizer": ["adam", "adamw", "sgd"], "flip": [True, False], "batch_size": [64, 128]}


def begun(
    storage: Storage, spec: StudySpec, lease: Lease, given: dict[str, Any] | None = None
) -> Trial:
    """Return the live trial of a lease as a worker has it, nothing sampled yet."""
    study = seen_as(
        storage.known(spec.name, sampler_for(spec.search, lease.slot)), seen_by_samplers
    )
    notes = {"slot": lease.slot, "seed": lease.slot, "precision": "fp32", "threads": 1}
    template = create_trial(
        state=TrialState.RUNNING,
        user_attrs=notes,
        system_attrs={"fixed_params": given or given_params(spec, lease.slot)},
    )
    study_id = storage.optuna.get_study_id_from_name(spec.name)
    trial_id = storage.optuna.create_new_trial(study_id, template)
    storage.leases.set_trial(lease, trial_id)
    return Trial(study, trial_id)


def searched(
    storage: Storage, spec: StudySpec, known: Known | None, worker: str = "worker"
) -> list[TrialState]:
    """Run the search of a study without training; without `known`, as before there was it."""
    ended: list[TrialState] = []
    while True:
        if known is not None and known.ends:
            end_if_exhausted(storage, known)
        lease = storage.leases.claim(spec.name, worker)
        if lease is None:
            return ended
        trial = begun(storage, spec, lease)
        with storage.optuna.held(id_of(trial), lease):
            ended.append(run(storage, spec, known, trial, lease))


def run(
    storage: Storage, spec: StudySpec, known: Known | None, trial: Trial, lease: Lease
) -> TrialState:
    equal = None
    if known is not None:
        trial, equal = known.asked(trial)
    if equal is not None:
        return endings.known(storage, trial, lease, equal)
    config = config_from(spec, PREPARED.fingerprint, trial)
    note(trial, TrialNotes(parameters=1000, key=key_of(config), duration_s=1.0))
    score = 0.9 if config.optimizer == "adamw" else 0.5 + 0.1 * config.flip
    return endings.complete(storage, trial, lease, score)
