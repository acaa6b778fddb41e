"""What a study is said to cost beforehand."""

from __future__ import annotations

from typing import Any

import pytest

from hpsearch.data.prepare import prepare
from hpsearch.errors import HpsearchError
from hpsearch.preflight.estimate import epochs_left, estimate, is_worth_it, reckoned
from hpsearch.study.spec import StudySpec


def spec_of(confirm: Any = "none", **search: Any) -> StudySpec:
    return StudySpec.model_validate(
        {
            "name": "small",
            "data": {"source": "digits"},
            "space": {"filters": {"low": 4, "high": 16, "step": 4}, "layers": 1},
            "search": {"trials": 40, "epochs": 10} | search,
            "confirm": confirm,
        }
    )


def test_a_trial_is_its_epochs_and_a_little_more() -> None:
    found = reckoned(spec_of(pruner="none"), [1.0, 2.0, 3.0], workers=2)
    assert found.trial_s == pytest.approx(20.0, rel=0.02)
    assert (found.shortest_s, found.longest_s) == pytest.approx((10.0, 30.0), rel=0.02)


def test_workers_share_the_trials() -> None:
    alone, four = (reckoned(spec_of(), [1.0], workers) for workers in (1, 4))
    assert alone.search_s == pytest.approx(40 * 10 + 20, rel=0.05)
    assert four.search_s == pytest.approx(10 * 10 + 10, rel=0.15)


def test_a_few_trials_take_whole_rounds() -> None:
    found = reckoned(spec_of(trials=3, pruner="none"), [10.0], workers=2)
    assert found.search_s == pytest.approx(2 * 100 + 100, rel=0.05)


def test_a_timeout_bounds_the_time_and_the_trials() -> None:
    found = reckoned(spec_of(timeout="100s", pruner="none"), [1.0], workers=1)
    assert found.search_s == found.pruned_s == 100
    assert 6 <= found.trials <= 8  # a trial takes 10 s; the final is two trainings
    assert found.budget == 40


def test_finalists_that_are_trained_again_count_and_leave_fewer_trials_to_a_timeout() -> None:
    confirm = {"candidates": 4, "seeds": 2}
    plain, again = (reckoned(spec_of(c), [1.0], workers=4) for c in ("none", confirm))
    assert again.search_s - plain.search_s == pytest.approx(2 * 10, rel=0.05)
    short = [
        reckoned(spec_of(c, timeout="400s", trials=100, pruner="none"), [1.0], workers=1).trials
        for c in ("none", confirm, {"candidates": 9, "seeds": 9})
    ]
    assert short[0] - short[1] == pytest.approx(8, abs=1)
    assert short[0] - short[2] == pytest.approx(10, abs=1), "at most a quarter of the time is kept"


def test_a_trial_timeout_bounds_a_trial() -> None:
    found = reckoned(spec_of(trial_timeout="5s"), [1.0], workers=1)
    assert found.longest_s == 5


@pytest.mark.parametrize("pruner", ["median", "percentile", "successive-halving", "hyperband"])
def test_a_pruner_leaves_a_part_of_the_epochs(pruner: str) -> None:
    assert 0.1 < epochs_left(spec_of(pruner=pruner).search, 40) < 0.95


def test_without_a_pruner_every_epoch_is_trained() -> None:
    assert epochs_left(spec_of(pruner="none").search, 40) == 1


def test_a_pruner_that_never_begins_saves_nothing() -> None:
    late = {"name": "median", "startup_trials": 40}
    assert epochs_left(spec_of(pruner=late).search, 40) == 1


def test_a_study_is_timed_on_its_own_data_with_all_workers() -> None:
    spec = spec_of()
    prepared = prepare(spec.data)
    found = estimate(spec, prepared, workers=2)
    assert found.workers == 2
    assert 0 < found.shortest_s <= found.trial_s <= found.longest_s < 60
    assert found.pruned_s < found.search_s


def test_only_a_long_study_is_timed_before_it_is_launched() -> None:
    prepared = prepare(spec_of().data)
    assert not is_worth_it(spec_of(), prepared)
    assert is_worth_it(spec_of(trials=5000, epochs=100), prepared)


def test_a_space_of_which_nothing_can_be_trained_is_refused_with_a_reason() -> None:
    spec = spec_of(max_parameters=10)
    with pytest.raises(HpsearchError, match=r"none of 64 .*more than search\.max_parameters"):
        estimate(spec, prepare(spec.data), workers=1)
