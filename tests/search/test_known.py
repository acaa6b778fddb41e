"""No configuration is trained twice, and a space can be exhausted."""

from __future__ import annotations

from typing import Any

import pytest
from fixtures_storage import on_sqlite
from made_small_spaces import SMALL, begun, run, searched
from made_studies import PREPARED, begin_trial, claimed, enter, spec_of, stored
from optuna.trial import FrozenTrial, Trial, TrialState

from hpsearch.reports.tried import tried_lines
from hpsearch.search import outcomes as endings
from hpsearch.search.attempt import took_too_long
from hpsearch.search.keys import config_of, key_of
from hpsearch.search.kinds import kind_of, why_none_completes
from hpsearch.search.known import Known, end_if_exhausted
from hpsearch.search.progress import progress_of
from hpsearch.search.samplers import given_params
from hpsearch.search.scheduling import seen_by_samplers
from hpsearch.service.queue import is_finished, open_study
from hpsearch.storage.leases import Lease
from hpsearch.storage.optuna_private import id_of
from hpsearch.storage.optuna_trials import note
from hpsearch.storage.records import TrialNotes
from hpsearch.storage.storage import Storage
from hpsearch.storage.studies import DONE
from hpsearch.study.spec import StudySpec, config_from


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


@on_sqlite
def test_a_grid_that_began_with_idle_values_keeps_its_points_and_trains_none_twice(
    storage: Storage,
) -> None:
    space = {"schedule": ["constant", "plateau"], "patience": [1, 3]}
    spec = enter(storage, spec_of(space=space, sampler="grid"))  # as an earlier version: no starts
    lease = claimed(storage, spec)
    trial = begin_trial(storage, spec, lease)
    trial.suggest_categorical("patience", [1, 3])  # which that version asked for everywhere
    trial.set_user_attr("parameters", 1000)
    trial.study.tell(trial, 0.5)
    storage.leases.finish(lease)
    open_study(storage, spec, final=True, priority=None)
    known = Known(spec, PREPARED.fingerprint)
    for _ in range(3):
        lease = claimed(storage, spec)
        trial = begun(storage, spec, lease, given_params(spec, lease.slot, with_idle=True))
        with storage.optuna.held(id_of(trial), lease):
            run(storage, spec, known, trial, lease)
    assert storage.leases.claim(spec.name, "worker") is None
    study = stored(storage, spec)
    assert [kind_of(t) for t in study.trials] == ["complete", "known", "complete", "complete"]
    assert study.record(study.trials[1]).equals == 0
    assert len(set(keys(storage, spec))) == 3 == spec.trial_budget()


@on_sqlite
def test_an_exhausted_study_is_finished_whatever_more_is_asked_for(storage: Storage) -> None:
    spec = enter(storage, spec_of(space=SMALL, trials=40))
    searched(storage, spec, Known(spec, PREPARED.fingerprint))
    storage.ledger.set_state("made", DONE)
    more = spec_of(space=SMALL, trials=80)
    assert is_finished(storage, storage.row("made"), more)
    limited = spec_of(space=SMALL, trials=80, max_parameters=10**6)
    assert not is_finished(storage, storage.row("made"), limited)
