"""Which trials no other beats in both metric and size, and beside which a trial is judged."""

from __future__ import annotations

from typing import Any

import pytest
from fixtures_storage import on_sqlite
from made_studies import begin_trial, claimed, enter, run_trial, spec_of, stored
from optuna.trial import TrialState

from hpsearch.search.front import fronts
from hpsearch.search.scheduler import GoOn, Stop, scheduler_for
from hpsearch.search.scheduling import Scheduling
from hpsearch.storage.storage import Storage
from hpsearch.study.spec import StudySpec


def run_all(storage: Storage, spec: StudySpec, *trials: tuple[float, int, float | None]) -> None:
    """Run trials of these scores, parameters and milliseconds, of a hundred FLOPs a parameter."""
    for score, parameters, ms in trials:
        latency: dict[str, Any] = (
            {} if ms is None else {"latency_ms": ms, "latency_on": "a machine, 1 thread"}
        )
        flops = float(parameters * 100)
        run_trial(storage, spec, (score,), parameters=parameters, forward_flops=flops, **latency)


def numbers(storage: Storage, spec: StudySpec) -> dict[str, list[int]]:
    return {q: [t.number for t in f] for q, f in fronts(stored(storage, spec)).items()}


@on_sqlite
def test_the_front_are_the_trials_that_no_other_beats_in_both(storage: Storage) -> None:
    spec = enter(storage)
    run_all(storage, spec, (0.9, 500, None), (0.8, 600, None), (0.8, 90, None), (0.9, 500, None))
    run_all(storage, spec, (0.7, 90, None), (0.95, 7000, None), (0.1, 10, None))
    run_trial(storage, spec, (0.99,), TrialState.PRUNED, parameters=1)
    expected = [5, 0, 2, 6]
    assert numbers(storage, spec) == {"parameters": expected, "flops": expected}


@on_sqlite
def test_the_least_error_is_the_best(storage: Storage) -> None:
    data = {"task": "regression", "source": "table", "root": "t.csv", "image_size": 8}
    spec = enter(storage, spec_of(data={**data, "target": "x"}))
    run_all(storage, spec, (0.9, 500, None), (0.8, 600, None), (0.7, 700, None), (0.75, 800, None))
    assert numbers(storage, spec)["parameters"] == [2, 1, 0]


@on_sqlite
def test_what_the_study_wants_to_be_small_comes_first(storage: Storage) -> None:
    spec = enter(storage, also="latency")
    run_all(storage, spec, (0.9, 500, 3.0), (0.8, 90, 4.0), (0.7, 80, 1.0), (0.6, 70, None))
    found = numbers(storage, spec)
    assert list(found) == ["latency", "parameters", "flops"]
    assert (found["latency"], found["parameters"]) == ([0, 2], [0, 1, 2, 3])


@on_sqlite
@pytest.mark.parametrize("also", [None, "parameters"])
def test_a_small_trial_is_judged_beside_those_that_are_no_larger(
    storage: Storage, also: str | None
) -> None:
    pruner = {"name": "median", "startup_trials": 3, "warmup_epochs": 0, "min_trials": 1}
    spec = enter(storage, pruner=pruner, also=also, trials=20)
    for size in (1000, 2000, 3000, 20, 30, 40):
        run_trial(storage, spec, (0.9, 0.9) if size > 100 else (0.5, 0.6), parameters=size)

    def judged(parameters: int, score: float) -> type:
        trial = begin_trial(storage, spec, claimed(storage, spec))
        trial.set_user_attr("parameters", parameters)
        trial.report(score, 1)
        return type(Scheduling(storage, spec, scheduler_for(spec.search)).after_epoch(trial))

    small = judged(50, 0.55)
    assert small is (Stop if also is None else GoOn)
    assert judged(50, 0.4) is Stop, "it is no better than those that are no larger"
    assert judged(5000, 0.55) is Stop
