"""No configuration is trained twice, and a space can be exhausted."""

from __future__ import annotations

from typing import Any

import pytest
from fixtures_storage import on_sqlite
from made_studies import PREPARED, claimed, enter, spec_of, stored
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from hpsearch.reports.tried import tried_lines
from hpsearch.search import outcomes as endings
from hpsearch.search.attempt import took_too_long
from hpsearch.search.keys import config_of, key_of
from hpsearch.search.kinds import kind_of, why_none_completes
from hpsearch.search.known import Known, end_if_exhausted
from hpsearch.search.progress import progress_of
from hpsearch.search.samplers import given_params, sampler_for
from hpsearch.search.scheduling import seen_by_samplers
from hpsearch.storage.leases import Lease
from hpsearch.storage.optuna_private import id_of, seen_as
from hpsearch.storage.optuna_trials import note
from hpsearch.storage.records import TrialNotes
from hpsearch.storage.storage import Storage
from hpsearch.study.spec import StudySpec, config_from

SMALL = {"optimizer": ["adam", "adamw", "sgd"], "flip": [True, False], "batch_size": [64, 128]}


def begun(storage: Storage, spec: StudySpec, lease: Lease) -> Trial:
    """Return the live trial of a lease as a worker has it, nothing sampled yet."""
    study = seen_as(
        storage.known(spec.name, sampler_for(spec.search, lease.slot)), seen_by_samplers
    )
    notes = {"slot": lease.slot, "seed": lease.slot, "precision": "fp32", "threads": 1}
    template = create_trial(
        state=TrialState.RUNNING,
        user_attrs=notes,
        system_attrs={"fixed_params": given_params(spec, lease.slot)},
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


def keys(storage: Storage, spec: StudySpec) -> list[str]:
    study = stored(storage, spec)
    trained = [t for t in study.trials if t.state == TrialState.COMPLETE]
    return [key_of(study.config(t)) for t in trained]


@on_sqlite
@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_small_space_is_tried_once_each_and_then_the_search_ends(
    storage: Storage, sampler: str
) -> None:
    spec = enter(storage, spec_of(space=SMALL, trials=40, sampler=sampler))
    searched(storage, spec, Known(spec, PREPARED.fingerprint))
    found = keys(storage, spec)
    assert len(found) == len(set(found)) == 12
    p = progress_of(storage, "made")
    assert (p.budget, p.finished, p.known, p.exhausted) == (12, 12, 0, 12)
    assert tried_lines(p) == [
        "All 12 configurations of the space were tried, so the search ended before its 40 trials"
    ]


@on_sqlite
def test_without_it_most_trials_of_a_small_space_are_wasted(storage: Storage) -> None:
    spec = enter(storage, spec_of(space=SMALL, trials=40))
    searched(storage, spec, None)
    found = keys(storage, spec)
    assert len(found) == 40
    assert len(found) - len(set(found)) >= 28


@on_sqlite
def test_the_same_study_asks_again_in_the_same_way(storage: Storage) -> None:
    tried = []
    for name in ("one", "two"):
        spec = enter(storage, spec_of(name, space=SMALL, trials=10))
        searched(storage, spec, Known(spec, PREPARED.fingerprint))
        tried.append(keys(storage, spec))
    assert tried[0] == tried[1] and len(tried[0]) == 10


@on_sqlite
def test_a_known_trial_counts_in_the_budget_and_in_nothing_else(storage: Storage) -> None:
    grid = {"schedule": ["constant", "one-cycle"], "dropout": [0.0, 0.1]}
    spec = enter(storage, spec_of(space=grid, trials=3))
    known = Known(spec, PREPARED.fingerprint)
    lease = claimed(storage, spec)
    trial = begun(storage, spec, lease)
    with storage.optuna.held(id_of(trial), lease):
        run(storage, spec, known, trial, lease)
    again = claimed(storage, spec)
    trial = begun(storage, spec, again)
    with storage.optuna.held(id_of(trial), again):
        endings.known(storage, trial, again, stored(storage, spec).trials[0])
    p = progress_of(storage, "made")
    assert (p.finished, p.complete, p.pruned, p.known) == (2, 1, 0, 1)
    twin = p.study.trials[1]
    assert (twin.state, twin.value, twin.intermediate_values) == (TrialState.PRUNED, None, {})
    assert kind_of(twin) == "known"
    assert p.study.record(twin).equals == 0
    assert p.study.record(twin).reason == (
        "its configuration is that of trial 0 (complete, with 0.9)"
    )
    assert seen_by_samplers(p.study.trials) == p.study.trials[:1]
    assert "1 trial(s) were not trained" in tried_lines(p)[0]
    assert "of the last known one" not in (why_none_completes(p.study.trials) or "")


@on_sqlite
def test_what_failed_or_ended_at_another_limit_is_tried_again(storage: Storage) -> None:
    space = {"optimizer": ["adam", "adamw"]}
    spec = enter(storage, spec_of(space=space, trials=9, max_parameters=500, trial_timeout="60s"))
    for how in ("failed", "too large", "too slow"):
        lease = claimed(storage, spec)
        trial = begun(storage, spec, lease)
        with storage.optuna.held(id_of(trial), lease):
            config = config_from(spec, PREPARED.fingerprint, trial)
            note(trial, TrialNotes(parameters=1000, key=key_of(config)))
            if how == "failed":
                endings.fail(storage, trial, lease, "OSError: a disk")
            elif how == "too large":
                endings.prune(storage, trial, lease, "too many parameters", "parameters")
            else:
                endings.prune(storage, trial, lease, took_too_long(60.0), "trial_timeout")
    failed, large, slow = stored(storage, spec).trials

    def tried(trial: FrozenTrial, **search: Any) -> int:
        other = spec.model_copy(update={"search": spec.search.model_copy(update=search)})
        return len(Known(other, PREPARED.fingerprint).tried([trial]))

    assert tried(failed) == 0, "it may be the machine's fault"
    assert (tried(large), tried(large, max_parameters=2000)) == (1, 0)
    assert (tried(slow), tried(slow, trial_timeout=120.0)) == (1, 0)


def test_values_that_nothing_reads_make_no_two_configurations() -> None:
    spec = spec_of(space={"schedule": ["plateau", "constant"], "patience": [1, 3]})
    one, two = (
        config_of(spec, PREPARED.fingerprint, {"schedule": schedule, "patience": 1})
        for schedule in ("plateau", "constant")
    )
    assert key_of(one) != key_of(two)
    assert key_of(two) == key_of(two.model_copy(update={"patience": 3, "seed": 7}))
    assert key_of(one) != key_of(one.model_copy(update={"patience": 3}))


@on_sqlite
def test_a_study_with_nothing_to_search_tries_as_many_seeds(storage: Storage) -> None:
    spec = enter(storage, spec_of(space={"filters": 8}, trials=3))
    searched(storage, spec, Known(spec, PREPARED.fingerprint))
    p = progress_of(storage, "made")
    assert (p.complete, p.known, p.exhausted) == (3, 0, None)


@pytest.mark.parametrize("workers", [2])
def test_two_workers_share_a_small_space_and_its_end(storage: Storage, workers: int) -> None:
    spec = enter(storage, spec_of(space=SMALL, trials=40))
    known = [Known(spec, PREPARED.fingerprint) for _ in range(workers)]
    held: list[tuple[Trial, Lease, int]] = []
    for turn in range(60):
        who = turn % workers
        end_if_exhausted(storage, known[who])
        lease = storage.leases.claim(spec.name, f"worker-{who}")
        if lease is not None:
            trial = begun(storage, spec, lease)
            with storage.optuna.held(id_of(trial), lease):
                trial, equal = known[who].asked(trial)
                assert equal is None
                config = config_from(spec, PREPARED.fingerprint, trial)
                note(trial, TrialNotes(parameters=1000, key=key_of(config), duration_s=1.0))
            held.append((trial, lease, who))
        if len(held) == workers or (lease is None and held):
            trial, lease, _ = held.pop(0)
            endings.complete(storage, trial, lease, 0.5)
    found = keys(storage, spec)
    assert len(found) == len(set(found)) == 12
    p = progress_of(storage, "made")
    assert (p.budget, p.finished, p.exhausted) == (12, 12, 12)
