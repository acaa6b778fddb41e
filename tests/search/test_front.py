"""Which trials no other beats in both metric and size, and beside which a trial is judged."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from fixtures_storage import on_sqlite
from made_studies import begin_trial, claimed, enter, run_trial, spec_of, stored
from optuna.trial import TrialState

from hpsearch.search.decisions import Budget, Curve, GoOn, Pause, Resume, Standing, Stop
from hpsearch.search.front import by_both, fronts, worth
from hpsearch.search.promotion import Promote
from hpsearch.search.scheduler import scheduler_for
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


def test_trials_on_the_front_are_worth_most_and_its_ends_are_worth_something() -> None:
    points = [(0.1, 1000), (0.2, 100), (0.21, 99), (0.3, 10), (0.2, 1000), (0.35, 2000)]
    found = worth(points)
    assert all(0 < found[i] < 1 for i in range(4)), "no other beats them in both"
    assert min(found[0], found[3]) > max(found[1], found[2]), "these two are much alike"
    assert -1 < found[4] < 0, "only those of the front beat it"
    assert -2 < found[5] < -1
    assert worth([(0.1, 10), (math.nan, 5), (math.inf, 5), (0.2, None)])[1:] == [-math.inf] * 3
    assert worth([]) == []


def test_promotion_takes_the_best_of_their_size() -> None:
    sizes = dict(enumerate([10, 20, 500, 1000, 2000, 4000]))
    scores = [0.5, 0.3, 0.85, 0.6, 0.85, 0.9]
    curves = tuple(Curve(i, "paused", (s,)) for i, s in enumerate(scores))
    standing = Standing(curves, Budget(6, 0, 9))

    def resumed(curves: tuple[Curve, ...]) -> object:
        field = Promote((1, 3, 9), 3)
        return field.next(replace(standing, curves=curves))

    assert resumed(curves) == Resume(5)
    both = by_both(curves, sizes, (1, 3, 9))
    best = sorted(both, key=lambda curve: -curve.scores[0])
    assert {curve.number for curve in best[:3]} == {0, 2, 5}, "the others are beaten in both"
    assert resumed(both) == Resume(best[0].number)


@on_sqlite
def test_a_trial_at_a_rung_is_judged_by_score_and_size(storage: Storage) -> None:
    def judged(also: str | None) -> type:
        search = {"pruner": "promote", "epochs": 9, "trials": 8, "also": also}
        spec = enter(storage, spec_of(f"made-{also}", **search))
        scheduling = Scheduling(storage, spec, scheduler_for(spec.search))
        for score, size in ((0.9, 5000), (0.8, 6000), (0.85, 7000), (0.7, 8000), (0.6, 9000)):
            trial = begin_trial(storage, spec, claimed(storage, spec))
            trial.set_user_attr("parameters", size)
            trial.report(score, 1)
        trial = begin_trial(storage, spec, claimed(storage, spec))
        trial.set_user_attr("parameters", 20)
        trial.report(0.5, 1)
        return type(scheduling.after_epoch(trial))

    assert judged(None) is Pause
    assert judged("parameters") is GoOn
