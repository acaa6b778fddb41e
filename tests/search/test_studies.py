"""Entering studies: the same one twice, another one never, and reading back what trials were."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Literal

import optuna
import pytest
from child_processes import CREW, Crew, enter_it
from fixtures_storage import on_sqlite
from made_studies import PREPARED, begin_trial, claimed, enter, run_trial, spec_of, stored
from optuna.trial import TrialState, create_trial

from hpsearch.errors import StudyMismatchError, StudyNotFoundError
from hpsearch.search.samplers import seed_of
from hpsearch.search.stored_study import enter_study, read_stored_study
from hpsearch.storage.storage import Storage
from hpsearch.study.data import DataReference
from hpsearch.study.space import Space

# Entering


def test_a_study_may_be_entered_twice(storage: Storage) -> None:
    spec = enter(storage)
    run_trial(storage, spec, [0.5])
    enter_study(storage, spec, PREPARED)
    assert storage.study_names() == ["made"]
    assert len(stored(storage, spec).trials) == 1


def test_processes_may_enter_a_study_at_once(storage_url: str, crew: Crew) -> None:
    assert crew.together(enter_it, storage_url, spec_of()) == [["made"]] * CREW


def test_an_entered_study_is_maximised_under_the_name_of_its_metric(storage: Storage) -> None:
    enter(storage)
    study = storage.load("made")
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    assert study.metric_names == ["test accuracy"]


def refused(storage: Storage, spec: Any, prepared: Any = PREPARED) -> str:
    with pytest.raises(StudyMismatchError) as caught:
        enter_study(storage, spec, prepared)
    return str(caught.value)


@on_sqlite
def test_other_settings_are_refused_and_every_difference_is_named(storage: Storage) -> None:
    enter(storage, spec_of(pruner={"name": "median", "startup_trials": 4}, seed=0))
    said = refused(
        storage,
        spec_of(
            data={"split": {"seed": 3}},
            space={
                "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
                "filters": {"low": 8, "high": 64},
                "optimizer": ["adam", "sgd"],
            },
            pruner={"name": "percentile", "startup_trials": 6},
            sampler="random",
            epochs=9,
            seed=1,
        ),
    )
    differences = dict(line.strip().split(": was ") for line in said.splitlines()[1:-1])
    assert differences == {
        "data.split.seed": "0, now 3",
        "search.epochs": "5, now 9",
        "search.pruner.name": '"median", now "percentile"',
        "search.pruner.startup_trials": "4, now 6",
        "search.sampler.name": '"tpe", now "random"',
        "search.seed": "0, now 1",
        "space.learning_rate": '{"low": 0.0001, "high": 0.01, "log": true}, now '
        '{"low": 0.0001, "high": 0.1, "log": true}',
        "space.optimizer": f'"{Space().optimizer.notation()}", now ["adam", "sgd"]',
    }
    assert "'made'" in said and storage.shown in said and "new name" in said


def test_other_content_of_the_same_data_is_refused(storage: Storage) -> None:
    spec = enter(storage)
    said = refused(storage, spec, dataclasses.replace(PREPARED, fingerprint="b" * 64))
    assert "data: the content differs (fingerprint aaaaaaaaaaaa, now bbbbbbbbbbbb)" in said


@on_sqlite
def test_a_refused_study_leaves_the_stored_one_as_it_was(storage: Storage) -> None:
    spec = enter(storage)
    before = storage.ledger.study("made")
    refused(storage, spec_of(epochs=9))
    assert storage.ledger.study("made") == before
    enter_study(storage, spec, PREPARED)


@on_sqlite
@pytest.mark.parametrize(
    "changed",
    [
        {"trials": 99},
        {"timeout": "2h"},
        {"trials": 5, "timeout": 60, "data": {"root": "elsewhere", "download": True}},
    ],
    ids="+".join,
)
def test_budgets_and_the_place_of_the_data_may_change(
    storage: Storage, changed: dict[str, Any]
) -> None:
    enter(storage, spec_of(trials=10, timeout="1h", data={"root": "here"}))
    before: dict[str, Any] = {"trials": 10, "timeout": "1h", "data": {"root": "here"}}
    again = spec_of(**before | changed)
    enter_study(storage, again, PREPARED)
    assert storage.study_names() == ["made"]


def test_a_study_of_others_under_the_same_name_is_refused(storage: Storage) -> None:
    study = optuna.create_study(storage=storage.optuna, study_name="made", direction="maximize")
    study.add_trial(create_trial(value=0.9))
    assert "that hpsearch did not make" in refused(storage, spec_of())
    assert storage.study_names() == []
    assert len(study.trials) == 1


@pytest.mark.parametrize("directions", [["minimize"], ["maximize", "maximize"]])
def test_an_empty_study_of_others_that_asks_something_else_is_refused(
    storage: Storage, directions: list[Literal["minimize", "maximize"]]
) -> None:
    optuna.create_study(storage=storage.optuna, study_name="made", directions=directions)
    refused(storage, spec_of())
    assert storage.study_names() == []


def test_what_a_crash_in_the_middle_of_entering_left_is_completed(storage: Storage) -> None:
    optuna.create_study(storage=storage.optuna, study_name="made", direction="maximize")
    enter(storage)
    assert storage.study_names() == ["made"]
    assert storage.load("made").metric_names == ["test accuracy"]


def test_a_deletion_that_was_cut_short_leaves_no_trials_to_a_new_study(storage: Storage) -> None:
    spec = enter(storage)
    run_trial(storage, spec, [0.5])
    storage.ledger.delete(spec.name)  # and then the process was killed
    enter(storage, spec)
    assert stored(storage, spec).trials == []
    run_trial(storage, spec, [0.6])
    assert [t.value for t in stored(storage, spec).trials] == [0.6]


@on_sqlite
def test_studies_of_one_storage_keep_their_trials_apart(storage: Storage) -> None:
    spec, other = enter(storage), enter(storage, spec_of("other"))
    run_trial(storage, spec, [0.5])
    assert stored(storage, other).trials == []
    assert [t.value for t in stored(storage, spec).trials] == [0.5]


# Reading


def test_a_stored_study_is_read_back_whole(storage: Storage) -> None:
    spec = enter(storage)
    run_trial(storage, spec, [0.3, 0.5])
    run_trial(storage, spec, [0.2], TrialState.PRUNED)
    run_trial(storage, spec, [], TrialState.FAIL)
    study = stored(storage, spec)
    assert study.spec == spec
    assert study.fingerprint == PREPARED.fingerprint
    assert study.data_summary["outputs"] == ["cat", "dog"]
    assert [t.number for t in study.in_state(TrialState.COMPLETE)] == [0]
    assert [t.number for t in study.in_state(TrialState.PRUNED)] == [1]
    assert [t.number for t in study.in_state(TrialState.FAIL)] == [2]
    assert (study.held, study.interrupted) == (frozenset(), frozenset())


@on_sqlite
def test_an_unknown_study_cannot_be_read(storage: Storage) -> None:
    enter(storage)
    with pytest.raises(StudyNotFoundError, match="studies here: made"):
        read_stored_study(storage, "mad")


def test_a_trial_is_rebuilt_as_it_was_sampled(storage: Storage) -> None:
    spec = enter(
        storage,
        spec_of(
            space={
                "family": ["alexnet", "resnet"],
                "filters": {"alexnet": {"low": 8, "high": 32, "step": 8}, "resnet": [16, 24]},
                "dropout": {"low": 0.0, "high": 0.5},
                "activation": ["relu", "gelu"],
                "batch_norm": [True, False],
                "batch_size": 64,
            },
            sampler="random",
            seed=5,
        ),
    )
    families = set()
    for _ in range(6):
        lease = claimed(storage, spec)
        trial = begin_trial(storage, spec, lease)
        trial.study.tell(trial, 0.5)
        storage.leases.finish(lease)
        rebuilt = stored(storage, spec).config(stored(storage, spec).trials[lease.slot])
        families.add(rebuilt.family)
        params = trial.params
        assert rebuilt.filters == params[f"{rebuilt.family}.filters"]
        assert (rebuilt.dropout, rebuilt.activation) == (params["dropout"], params["activation"])
        assert rebuilt.batch_norm is params["batch_norm"]
        assert (rebuilt.batch_size, rebuilt.epochs) == (64, 5)
        assert rebuilt.seed == seed_of(5, lease.slot, stream=1)
        assert (rebuilt.precision, rebuilt.threads) == ("fp32", 1)
        assert rebuilt.data == DataReference(source="digits", fingerprint=PREPARED.fingerprint)
    assert families == {"alexnet", "resnet"}


@on_sqlite
@pytest.mark.parametrize("missing", ["filters", "seed"])
def test_a_trial_that_was_not_sampled_to_the_end_has_no_configuration(
    storage: Storage, missing: str
) -> None:
    spec = enter(storage)
    study = storage.load("made")
    whole = run_trial(storage, spec)
    params = {k: v for k, v in whole.params.items() if k != missing}
    study.add_trial(
        create_trial(
            state=TrialState.RUNNING,
            params=params,
            distributions={k: whole.distributions[k] for k in params},
            user_attrs={k: v for k, v in whole.user_attrs.items() if k != missing},
        )
    )
    read = stored(storage, spec)
    assert read.config(read.trials[0]).filters == whole.params["filters"]
    with pytest.raises(StudyNotFoundError, match="trial 1 of 'made' has no configuration yet"):
        read.config(read.trials[1])


@on_sqlite
def test_trials_whose_cost_is_known_count_as_sampled(storage: Storage) -> None:
    spec = enter(storage)
    run_trial(storage, spec, [0.5])
    begin_trial(storage, spec, claimed(storage, spec))
    study = stored(storage, spec)
    assert [t.number for t in study.trials] == [0, 1]
    assert [t.number for t in study.sampled()] == [0]


# The best


@on_sqlite
def test_without_a_complete_trial_nothing_is_best(storage: Storage) -> None:
    spec = enter(storage)
    run_trial(storage, spec, [0.9], TrialState.PRUNED)
    assert stored(storage, spec).best() is None


@on_sqlite
def test_the_best_is_complete_even_where_a_pruned_or_failed_one_was_higher(
    storage: Storage,
) -> None:
    spec = enter(storage)
    run_trial(storage, spec, [0.99], TrialState.PRUNED)
    run_trial(storage, spec, [0.5])
    run_trial(storage, spec, [0.7])
    run_trial(storage, spec, [0.6])
    run_trial(storage, spec, [0.98], TrialState.FAIL)
    best = stored(storage, spec).best()
    assert best is not None
    assert best.number == 2


@on_sqlite
def test_of_equals_the_one_with_fewer_parameters_is_best_then_the_earlier(
    storage: Storage,
) -> None:
    spec = enter(storage)
    for value, parameters in ((0.7, 500), (0.8, 900), (0.8, 300), (0.8, 300), (0.7, 1)):
        run_trial(storage, spec, [value], parameters=parameters)
    best = stored(storage, spec).best()
    assert best is not None
    assert best.number == 2


@on_sqlite
def test_a_study_whose_trials_all_scored_nothing_has_a_best(storage: Storage) -> None:
    spec = enter(storage)
    run_trial(storage, spec, [0.0], parameters=900)
    run_trial(storage, spec, [0.0], parameters=300)
    best = stored(storage, spec).best()
    assert best is not None
    assert best.number == 1


@on_sqlite
def test_a_spec_survives_the_storage_and_is_what_it_was(storage: Storage) -> None:
    spec = enter(storage, spec_of(timeout="90m", sampler={"name": "tpe", "startup_trials": 3}))
    assert stored(storage, spec).spec == spec
    row = storage.ledger.study("made")
    assert row is not None
    assert json.loads(spec.model_dump_json()) == json.loads(row.spec_json)
