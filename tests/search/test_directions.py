"""Metrics that get better downwards, and trials that stop early: what a search makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna
import pytest
from fixtures_storage import on_sqlite
from made_studies import claimed, run_trial, spec_of, stored
from made_tasks import digits_as, write_digits
from made_trainings import CPU
from optuna.study import StudyDirection
from optuna.trial import TrialState

from hpsearch.data.prepare import prepare
from hpsearch.errors import StudyMismatchError
from hpsearch.search.progress import epochs_of, progress_of
from hpsearch.search.runner import TrialRunner
from hpsearch.search.stored_study import enter_study
from hpsearch.storage.checkpoints import Checkpoints
from hpsearch.storage.storage import Storage
from hpsearch.study.spec import StudySpec

MEDIAN = {"name": "median", "startup_trials": 2, "warmup_epochs": 1, "min_trials": 2}


@pytest.fixture
def numbers(tmp_path: Path) -> dict[str, Any]:
    """Return the data section of a regression."""
    return write_digits(tmp_path / "numbers.npz", "regression")


def enter(storage: Storage, spec: StudySpec) -> StudySpec:
    enter_study(storage, spec, prepare(spec.data))
    return spec


def runner(storage: Storage, spec: StudySpec, place: Path) -> TrialRunner:
    """Return what trains the trials of a study on digits, in this process."""
    return TrialRunner(
        worker="here",
        storage=storage,
        spec=spec,
        data=digits_as(spec.data.task),
        device=CPU,
        precision="fp32",
        threads=1,
        checkpoints=Checkpoints(str(place / "checkpoints")),
        stopped=lambda: False,
    )


# Direction


def test_the_direction_and_the_name_in_the_dashboard_follow_the_metric(
    storage: Storage, numbers: dict[str, Any]
) -> None:
    for metric, way, words in (
        ("mse", StudyDirection.MINIMIZE, "test MSE"),
        ("mae", StudyDirection.MINIMIZE, "test MAE"),
        ("r2", StudyDirection.MAXIMIZE, "test R2"),
    ):
        enter(storage, spec_of(metric, data=numbers, metric=metric))
        study = storage.load(metric)
        assert (study.direction, study.metric_names) == (way, [words])


@on_sqlite
def test_another_metric_makes_another_study(storage: Storage, numbers: dict[str, Any]) -> None:
    enter(storage, spec_of(data=numbers, metric="mae"))
    with pytest.raises(StudyMismatchError, match=r'search\.metric: was "mae", now "mse"'):
        enter(storage, spec_of(data=numbers, metric="mse"))
    with pytest.raises(StudyMismatchError, match=r'space\.loss: was "auto", now "huber"'):
        enter(storage, spec_of(data=numbers, metric="mae", space={"loss": "huber"}))


@on_sqlite
def test_a_foreign_study_that_maximises_is_refused_for_a_metric_that_is_minimised(
    storage: Storage, numbers: dict[str, Any]
) -> None:
    optuna.create_study(storage=storage.optuna, study_name="made", direction="maximize")
    with pytest.raises(StudyMismatchError, match="that hpsearch did not make"):
        enter(storage, spec_of(data=numbers))


@on_sqlite
def test_a_study_of_before_there_were_metrics_goes_on(storage: Storage) -> None:
    spec = spec_of()
    enter(storage, spec)
    with storage.engines[0].begin() as connection:
        for column in ("spec", "identity"):
            statement = (
                f"UPDATE hpsearch_studies SET {column} = replace(replace({column}, "
                "'\"metric\":null,', ''), '\"search.metric\": null, ', '')"
            )
            connection.exec_driver_sql(statement)
    row = storage.ledger.study("made")
    assert row is not None
    assert "metric" not in json.loads(row.spec_json)["search"]
    enter(storage, spec)
    with pytest.raises(StudyMismatchError, match=r"search\.metric: was null"):
        enter(storage, spec_of(metric="macro-f1"))


def test_the_lowest_error_is_the_best_trial(storage: Storage, numbers: dict[str, Any]) -> None:
    spec = enter(storage, spec_of(data=numbers))
    for value in (3.0, 0.5, 2.0, 0.5):
        run_trial(storage, spec, [9.0, value])
    best = stored(storage, spec).best()
    assert best is not None and best.number == 1
    assert storage.load("made").best_trial.number == 1


@on_sqlite
def test_the_median_pruner_stops_the_trial_whose_error_is_above_the_median(
    storage: Storage, numbers: dict[str, Any]
) -> None:
    spec = enter(storage, spec_of(data=numbers, pruner=MEDIAN))
    for last in (1.0, 2.0, 3.0):
        run_trial(storage, spec, [9.0, last + 1, last])
    judged = storage.load("made", pruner=optuna.pruners.MedianPruner(2, 2, 1, n_min_trials=2))
    for second, pruned in ((2.9, False), (3.1, True)):
        trial = judged.ask()
        trial.report(8.0, 1)
        assert not trial.should_prune()
        trial.report(second, 2)
        assert bool(trial.should_prune()) is pruned
        judged.tell(trial, state=TrialState.FAIL)


@on_sqlite
def test_a_trial_that_learns_too_little_is_pruned_for_an_error_too_high(
    storage: Storage, numbers: dict[str, Any], tmp_path: Path
) -> None:
    space = {"learning_rate": [3e-3, 4e-3, 1e-7], "filters": 8, "layers": 1, "units1": 16}
    spec = enter(
        storage,
        spec_of(data=numbers, space=space, sampler="grid", trials=3, epochs=3, pruner=MEDIAN),
    )
    for _ in range(3):
        runner(storage, spec, tmp_path).run(claimed(storage, spec))
    study = stored(storage, spec)
    states = [t.state for t in study.trials]
    assert states == [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED]
    reason = study.trials[2].user_attrs["reason"]
    assert reason.startswith("test MSE ") and reason.endswith("too high for the median pruner")
    best = study.best()
    assert best is not None and best.value == min(t.value for t in study.trials if t.value)
    final_s = storage.ledger.study("made").final_s  # type: ignore[union-attr]
    kept_for = best.user_attrs["duration_s"]
    assert final_s == pytest.approx(kept_for * 1.05 + 10, abs=0.01), "time is kept for the best"


@on_sqlite
def test_a_trial_that_has_trained_to_its_end_is_complete_however_weak(
    storage: Storage, numbers: dict[str, Any], tmp_path: Path
) -> None:
    space = {"learning_rate": [3e-3, 4e-3, 1e-7], "filters": 8, "layers": 1, "units1": 16}
    pruner = MEDIAN | {"warmup_epochs": 2}  # so that the third epoch is the first to be judged
    for epochs, last in ((3, TrialState.COMPLETE), (4, TrialState.PRUNED)):
        name = f"of-{epochs}-epochs"
        spec = enter(
            storage,
            spec_of(name, numbers, space, sampler="grid", trials=3, epochs=epochs, pruner=pruner),
        )
        for _ in range(3):
            runner(storage, spec, tmp_path).run(claimed(storage, spec))
        assert stored(storage, spec).trials[2].state == last, "pruning it would spare nothing"


# Early stopping


def overfitting(name: str = "made", **search: Any) -> StudySpec:
    """Return a study whose trials are taught 500 digits until they know them by heart."""
    space = {"filters": 16, "layers": 1, "units1": 32, "dropout": 0.0, "schedule": "constant",
             "learning_rate": 1e-2, "batch_size": 25, "batch_norm": False}  # fmt: skip
    asked = {"epochs": 30, "trials": 3, "early_stopping": 2, "pruner": "none"}
    return spec_of(name, space=space, **asked | search)


@on_sqlite
def test_a_trial_that_stops_early_is_complete_and_stands_still_at_its_best(
    storage: Storage, tmp_path: Path
) -> None:
    spec = enter(storage, overfitting())
    lease = claimed(storage, spec)
    assert runner(storage, spec, tmp_path).run(lease) == TrialState.COMPLETE
    (trial,) = stored(storage, spec).trials
    curve = trial.user_attrs["curve"]
    best = max(curve, key=lambda e: (e["test_metric"], -e["test_loss"]))
    assert 3 <= len(curve) < 30
    assert trial.value == best["test_metric"] and trial.user_attrs["best_epoch"] == best["epoch"]
    reported = trial.intermediate_values
    assert [reported[n] for n in range(1, len(curve) + 1)] == [e["test_metric"] for e in curve]
    assert [reported[n] for n in range(len(curve) + 1, 31)] == [trial.value] * (30 - len(curve))
    assert epochs_of(trial) == progress_of(storage, "made").epochs_run == len(curve)


@on_sqlite
def test_a_stopped_trial_is_compared_with_at_epochs_that_it_was_spared(
    storage: Storage, tmp_path: Path
) -> None:
    spec = enter(storage, overfitting())
    for _ in range(2):
        runner(storage, spec, tmp_path).run(claimed(storage, spec))
    study = storage.load("made", pruner=optuna.pruners.MedianPruner(2, 2, 1, n_min_trials=2))
    least = min(trial.value for trial in study.trials if trial.value is not None)
    late = 25
    assert all(epochs_of(trial) < late for trial in study.trials)
    for score, pruned in ((least - 0.01, True), (1.0, False)):
        trial = study.ask()
        trial.report(score, late)
        assert bool(trial.should_prune()) is pruned
        study.tell(trial, state=TrialState.FAIL)


@on_sqlite
def test_a_trial_taken_over_after_it_stopped_ends_as_it_would_have(
    storage: Storage, tmp_path: Path
) -> None:
    spec = enter(storage, overfitting())
    runner(storage, spec, tmp_path).run(claimed(storage, spec))
    whole = stored(storage, spec).trials[0]
    again = enter(storage, overfitting("again"))
    lease = claimed(storage, again)
    at_work = runner(storage, again, tmp_path)
    trial_id = at_work._trial_id(storage.load("again"), lease)
    # All is written but that it is over: its worker dies there.
    storage.optuna.write(
        trial_id,
        user_attrs={k: whole.user_attrs[k] for k in ("curve", "duration_s", "best_epoch")},
        steps=whole.intermediate_values,
    )
    storage.leases.give_back(lease)
    assert at_work.run(claimed(storage, again)) == TrialState.COMPLETE
    (ended,) = stored(storage, again).trials
    assert ended.value == whole.value
    assert ended.intermediate_values == whole.intermediate_values
    assert ended.user_attrs["best_epoch"] == whole.user_attrs["best_epoch"]
    assert len(ended.user_attrs["curve"]) == len(whole.user_attrs["curve"])
