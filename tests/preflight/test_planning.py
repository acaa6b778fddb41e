"""From timed configurations to a study with its plan."""

from __future__ import annotations

from typing import Any

import pytest

from hpsearch.data.prepare import prepare
from hpsearch.errors import StudyFileError
from hpsearch.models.speed import Speed, Work
from hpsearch.preflight.planning import Costs, costs_in, costs_of, plan, predicted, workers_of
from hpsearch.preflight.timing import Timed
from hpsearch.search.plan import words
from hpsearch.search.promotion import rungs_of
from hpsearch.study.spec import StudySpec

COSTS = Costs([0.5 * 1.1**i for i in range(40)], 3.0, "cpu", (1e-9, 0.0, 0.0))


def study(confirm: Any = None, **search: Any) -> StudySpec:
    written = {
        "name": "timed",
        "data": {"source": "digits"},
        "space": {"filters": {"low": 4, "high": 32}, "layers": [1, 2]},
        "search": search,
    }
    return StudySpec.model_validate(written | ({"confirm": confirm} if confirm else {}))


def test_a_study_gets_the_epochs_and_the_first_rung_of_its_plan() -> None:
    spec, found = plan(study(minutes=20), COSTS, workers=2)
    assert spec.search.epochs == found.epochs > 1
    assert spec.search.timeout == found.budget_s == 1200
    assert list(rungs_of(spec.search)) == found.rungs, "the policy compares where the plan says"
    assert found.workers == 2
    assert spec.candidates() == 3
    assert costs_in(found) == COSTS, "a later launch times nothing"


def test_core_hours_come_to_less_time_on_more_cores() -> None:
    one, four = (plan(study(core_hours=1), COSTS, workers)[1] for workers in (1, 4))
    assert (one.budget_s, four.budget_s) == (3600, 900)


def test_what_a_study_says_is_kept() -> None:
    spec, found = plan(study(minutes=20, epochs=11, pruner="median"), COSTS, workers=1)
    assert (spec.search.epochs, found.epochs) == (11, 11)
    pruner = {"name": "promote", "warmup_epochs": 2}
    spec, found = plan(study(minutes=20, pruner=pruner), COSTS, workers=1)
    assert (spec.search.pruner.warmup_epochs, found.first_rung) == (2, 2)
    spec, _ = plan(study(minutes=20, confirm={"candidates": 5}), COSTS, workers=1)
    assert spec.candidates() == 5


def test_another_time_later_keeps_the_epochs_and_the_rungs() -> None:
    before, was = plan(study(minutes=5), COSTS, workers=1)
    after, now = plan(study(minutes=60), COSTS, workers=1, before=before)
    alone, _ = plan(study(minutes=60), COSTS, workers=1)
    assert after.search.epochs == before.search.epochs < alone.search.epochs
    assert after.identity() == before.identity()
    assert now.longest_s > was.longest_s, "more time affords dearer configurations"
    written, _ = plan(study(minutes=60, epochs=33), COSTS, workers=1, before=before)
    assert written.search.epochs == 33, "so that entering it says what differs"


def test_few_configurations_are_not_confirmed() -> None:
    spec, found = plan(study(minutes=20, trials=6), COSTS, workers=1)
    assert found.configurations == 6
    assert found.confirm_s == 0
    assert spec.candidates() == 0


def test_what_planning_took_is_not_there_any_more() -> None:
    late, soon = (plan(study(minutes=2), COSTS, 1, spent_s=s)[1] for s in (30.0, 0.0))
    assert late.search_s + late.confirm_s + late.final_s <= 90.0
    assert late.search_s < soon.search_s
    with pytest.raises(StudyFileError, match="too little"):
        plan(study(minutes=0.5), COSTS, 1, spent_s=20.0)


def test_costs_are_predicted_from_what_all_processes_timed() -> None:
    speed = Speed(1e-10, 1e-9, 1e-4)
    space = [(1e9 * (i + 1), 1e8, 1e3) for i in range(5)]
    asked = [(1e10, 1e8, 1e3), (1e9, 1e10, 1e3), (1e9, 1e8, 1e5), (5e9, 5e8, 5e3)]
    timed = [(a, speed.seconds(Work(*a))) for a in asked]
    parts = [Timed(timed[i::2], space, space[2], "cpu") for i in (0, 1)]
    found = predicted(parts)
    assert found.spread == pytest.approx([speed.seconds(Work(*a)) for a in space])
    assert found.baseline_s == pytest.approx(found.spread[2])


def test_workers_are_those_that_a_launch_would_start() -> None:
    spec = study(minutes=20)
    assert workers_of(spec, 3, "cpu") == 3
    assert workers_of(spec, None, "cpu") >= 1
    assert workers_of(study(minutes=20, trials=2), 8, "cpu") == 2


def test_timing_a_space_orders_it_and_knows_its_default() -> None:
    spec = study(minutes=1)
    found = costs_of(spec, prepare(spec.data), workers=1, device="cpu")
    assert found.spread == sorted(found.spread)
    assert 0 < found.spread[0] <= found.baseline_s < 60
    assert found.spread[-1] > 1.5 * found.spread[0], "filters from 4 to 32 differ"
    assert found.device == "cpu"


LARGE = Costs(
    [60 * 1.1**i for i in range(40)], 400.0, "cpu", (1e-9, 0.0, 0.0),
    tests_s=[1.1**i for i in range(40)], baseline_test_s=7.0, images=300_000,
)  # fmt: skip


def test_a_pass_that_is_too_long_is_divided_and_the_plan_says_so() -> None:
    spec, found = plan(study(minutes=60), LARGE, workers=2)
    assert spec.search.epoch_images == found.epoch_images == 75_000
    assert "An epoch is a quarter of the training images, 75,000, and takes" in words(found)
    assert costs_in(found).spread == LARGE.shortened(75_000).spread


def test_epochs_of_a_file_are_as_long_as_it_says() -> None:
    for said in ({"epochs": 5}, {"epoch_images": 20_000}):
        spec, found = plan(study(minutes=600, **said), LARGE, workers=2)
        assert spec.search.epoch_images == said.get("epoch_images")
        assert found.epoch_images is None, "nothing was divided, and nothing is said"


def test_another_time_later_keeps_how_long_an_epoch_is() -> None:
    before, was = plan(study(minutes=60), LARGE, workers=2)
    for costs in (costs_in(was), LARGE):  # as it was kept, and timed again where it was not
        after, now = plan(study(minutes=900), costs, workers=2, before=before)
        assert after.search.epoch_images == 75_000
        assert now.spread == was.spread
        assert after.identity() == before.identity()
        assert "75,000" in words(now)


def test_what_evaluation_takes_is_predicted_with_the_rest() -> None:
    spec = study(minutes=1)
    found = costs_of(spec, prepare(spec.data), workers=1, device="cpu")
    assert found.images == prepare(spec.data).totals[0]
    assert len(found.tests_s) == len(found.spread)
    assert all(0 < t < e for t, e in zip(found.tests_s, found.spread, strict=True))
    assert 0 < found.baseline_test_s < found.baseline_s
