"""What samplers see of a study that wants small networks, too."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from made_studies import spec_of
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpsearch.search.samplers import sampler_for
from hpsearch.search.scalarised import WeighingSampler, weighed_trials

GOOD, SMALL, BEATEN = (0.9, 10_000), (0.5, 100), (0.6, 1_000_000)  # score, parameters


def trial(
    score: float, parameters: int | None, state: TrialState = TrialState.COMPLETE
) -> FrozenTrial:
    attrs = {} if parameters is None else {"parameters": parameters}
    value = score if state == TrialState.COMPLETE else None
    return create_trial(state=state, value=value, user_attrs=attrs, intermediate_values={1: score})


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


def test_nothing_that_is_stored_changes() -> None:
    stored = trial(*GOOD)
    weighed_trials([stored, trial(*SMALL)], "parameters", 0.3, True)
    assert stored.value == 0.9
    assert stored.intermediate_values == {1: 0.9}


def test_pruned_trials_are_weighed_by_what_they_reported_last() -> None:
    pruned = [trial(score, size, TrialState.PRUNED) for score, size in (GOOD, SMALL)]
    shown = weighed_trials([trial(*GOOD), trial(*SMALL), *pruned], "parameters", 0.1, True)
    large, small = (t.intermediate_values[1] for t in shown[2:])
    assert small > large


def test_what_has_no_size_teaches_nothing_and_what_has_no_score_stays() -> None:
    infeasible = create_trial(state=TrialState.PRUNED, user_attrs={"parameters": 5})
    shown = weighed_trials([trial(0.9, None), infeasible, trial(*GOOD)], "parameters", 0.5, True)
    assert [t.state for t in shown] == [TrialState.PRUNED, TrialState.COMPLETE]
    assert shown[0].intermediate_values == {}


def test_equals_have_equal_values() -> None:
    assert seen(0.4, trial(*GOOD), trial(*GOOD)) == [0.0, 0.0]


def test_only_samplers_that_learn_weigh_and_each_slot_has_its_weight() -> None:
    def sampler(name: str, slot: int, **goals: Any) -> Any:
        return sampler_for(spec_of(sampler=name, **goals).search, slot)

    assert not isinstance(sampler("tpe", 0), WeighingSampler)
    assert not isinstance(sampler("random", 0, also="flops"), WeighingSampler)
    weights = [sampler("tpe", slot, also="flops")._weight for slot in range(300)]
    assert weights[:3] == [sampler("tpe", slot, also="latency")._weight for slot in range(3)]
    assert len(set(weights)) == 300
    assert all(0 <= weight <= 1 for weight in weights)


def test_tpe_goes_where_the_weight_says() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    search = spec_of(sampler={"name": "tpe", "startup_trials": 5}, also="parameters").search
    proposed: dict[bool, list[int]] = {True: [], False: []}
    for seed in range(4):
        study = optuna.create_study(direction="maximize")
        for number in range(30):
            sampler = sampler_for(search.model_copy(update={"seed": seed}), number)
            study.sampler = sampler
            for_metric = number % 2 == 0
            if isinstance(sampler, WeighingSampler):
                sampler._weight = 0.95 if for_metric else 0.05
            asked = study.ask()
            filters = asked.suggest_int("filters", 1, 100)
            asked.set_user_attr("parameters", filters)
            study.tell(asked, filters / 100)
            if number >= 10:
                proposed[for_metric].append(filters)
    assert np.median(proposed[True]) > np.median(proposed[False]) + 20
