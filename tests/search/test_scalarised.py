"""What samplers see of a study that wants small networks, too."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import optuna
import pytest
from made_proposals import dominated, made_score_by_size, proposed
from made_studies import spec_of
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpsearch.search.gaussian import TaughtGPSampler
from hpsearch.search.samplers import sampler_for
from hpsearch.search.scalarised import (
    METRIC_ALONE,
    SeeingBoth,
    towards_both,
    weighed_trials,
    with_two_values,
)

GOOD, SMALL, BEATEN = (0.9, 10_000), (0.5, 100), (0.6, 1_000_000)  # score, parameters


def trial(
    score: float, parameters: int | None, state: TrialState = TrialState.COMPLETE
) -> FrozenTrial:
    attrs = {} if parameters is None else {"parameters": parameters}
    value = score if state == TrialState.COMPLETE else None
    return create_trial(state=state, value=value, user_attrs=attrs, intermediate_values={1: score})


# One number of both


def seen(weight: float, *trials: FrozenTrial, most: bool = True) -> list[Any]:
    return [t.value for t in weighed_trials(trials, "parameters", weight, most)]


@pytest.mark.parametrize(("weight", "best"), [(1.0, 0), (0.5, 0), (0.0, 1)])
def test_the_weight_of_a_slot_says_which_end_of_the_front_is_the_best(
    weight: float, best: int
) -> None:
    trials = [trial(*GOOD), trial(*SMALL), trial(*BEATEN)]
    values = seen(weight, *trials)
    assert int(np.argmax(values)) == best
    assert values[0] > values[2], "what another beats in both is worse for every weight"
    errors = [trial(1 - t.value, t.user_attrs["parameters"]) for t in trials if t.value]
    turned = seen(weight, *errors, most=False)
    assert turned == pytest.approx([-value for value in values])


def test_equals_have_equal_values() -> None:
    assert seen(0.4, trial(*GOOD), trial(*GOOD)) == [0.0, 0.0]


# Two objectives


def test_pruned_trials_stand_with_what_they_reported_last() -> None:
    pruned = trial(0.4, 100, TrialState.PRUNED)
    shown = with_two_values([trial(*GOOD), pruned], "parameters")
    assert [t.values for t in shown] == [[0.9, math.log(10_000)], [0.4, math.log(100)]]
    assert shown[1].state == TrialState.COMPLETE


def test_what_came_to_no_number_or_is_infeasible_stands_for_nothing_else() -> None:
    diverged = trial(math.inf, 100, TrialState.PRUNED)
    late = trial(0.4, 100, TrialState.PRUNED)
    late.system_attrs["constraints:trial_timeout"] = 1.0
    shown = with_two_values([diverged, late], "parameters")
    assert [t.state for t in shown] == [TrialState.PRUNED] * 2
    assert [t.intermediate_values for t in shown] == [{}, {}]
    assert shown[1].constraints == {"trial_timeout": 1.0}


# Both


def test_nothing_that_is_stored_changes() -> None:
    complete, pruned = trial(*GOOD), trial(0.4, 100, TrialState.PRUNED)
    weighed_trials([complete, trial(*SMALL)], "parameters", 0.3, True)
    with_two_values([complete, pruned], "parameters")
    assert (complete.value, pruned.state) == (0.9, TrialState.PRUNED)
    assert pruned.intermediate_values == {1: 0.4}


def test_what_has_no_size_teaches_nothing_and_what_has_no_score_stays() -> None:
    infeasible = create_trial(state=TrialState.PRUNED, user_attrs={"parameters": 5})
    trials = [trial(0.9, None), infeasible, trial(*GOOD)]
    weighed = weighed_trials(trials, "parameters", 0.5, True)
    for shown in (weighed, with_two_values(trials, "parameters")):
        assert [t.state for t in shown] == [TrialState.PRUNED, TrialState.COMPLETE]
        assert shown[0].intermediate_values == {}


def test_only_samplers_that_learn_see_both_and_not_for_every_slot() -> None:
    def sampler(name: str, slot: int, **goals: Any) -> Any:
        return sampler_for(spec_of(sampler=name, **goals).search, slot)

    assert isinstance(sampler("tpe", 0), TPESampler)
    assert not isinstance(sampler("random", 0, also="flops"), SeeingBoth)
    chosen = [sampler("tpe", slot, also="flops") for slot in range(300)]
    alone = sum(not isinstance(s, SeeingBoth) for s in chosen)
    assert alone / 300 == pytest.approx(METRIC_ALONE, abs=0.1)
    again = [sampler("tpe", slot, also="latency") for slot in range(300)]
    assert [type(s) for s in chosen] == [type(s) for s in again]


def test_a_gaussian_process_has_a_weight_of_its_slots_own() -> None:
    found = [towards_both(TaughtGPSampler(), "flops", seed) for seed in range(100)]
    weights = [s._weight for s in found if isinstance(s, SeeingBoth)]
    assert len(set(weights)) == len(weights) > 50
    assert all(weight is not None and 0 <= weight <= 1 for weight in weights)


@pytest.mark.parametrize("weight", [None, 0.0])
def test_tpe_goes_to_small_networks_where_it_sees_both(weight: float | None) -> None:
    """Without a size it would go to 100 filters; of both, all lie on the front."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    search = spec_of(sampler={"name": "tpe", "startup_trials": 5}).search
    proposed: dict[bool, list[int]] = {True: [], False: []}
    for both in (True, False):
        for seed in range(3):
            study = optuna.create_study(direction="maximize")
            for number in range(25):
                sampler = sampler_for(search.model_copy(update={"seed": seed}), number)
                study.sampler = SeeingBoth(sampler, "parameters", weight) if both else sampler
                asked = study.ask()
                filters = asked.suggest_int("filters", 1, 100)
                asked.set_user_attr("parameters", filters)
                if number % 5 == 4:  # one of five is stopped early
                    asked.report(filters / 200, 1)
                    study.tell(asked, state=TrialState.PRUNED)
                else:
                    study.tell(asked, filters / 100)
                if number >= 10:
                    proposed[both].append(filters)
    assert np.median(proposed[True]) < np.median(proposed[False]) - 15


def test_the_front_is_better_than_that_of_a_search_for_the_metric_alone() -> None:
    def share(search: dict[str, Any], seed: int) -> float:
        return dominated(proposed("digits", search, seed, 30, made_score_by_size))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seeds = range(4)
        both = [share({"sampler": "tpe", "also": "parameters"}, seed) for seed in seeds]
        alone = [share({"sampler": "tpe"}, seed) for seed in seeds]
        drawn = [share({"sampler": "random"}, seed) for seed in seeds]
    assert np.mean(both) > 1.05 * np.mean(alone), (both, alone)
    assert np.mean(both) > np.mean(drawn), (both, drawn)
