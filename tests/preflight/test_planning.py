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


def test_where_a_whole_pass_is_too_dear_to_compare_by_an_epoch_is_a_part_of_one() -> None:
    dear = Costs([5 * 1.1**i for i in range(40)], 40.0, "cpu", (1e-9, 0.0, 0.0))
    spec, found = plan(study(minutes=20), dear, 1, train=56_000)
    assert found.of_a_pass < 1
    assert spec.search.epoch_images == pytest.approx(found.of_a_pass * 56_000, abs=1)
    assert found.epochs * found.of_a_pass >= 2.9, "a training sees the images three times"
    whole, was = plan(study(minutes=20), dear, 1)
    assert whole.search.epoch_images is None
    assert found.share > 1.5 * was.share
    assert "of a pass over the training images, takes about" in words(found)


def test_a_part_of_a_pass_is_kept_by_later_launches_and_left_alone_where_it_is_written() -> None:
    dear = Costs([5 * 1.1**i for i in range(40)], 40.0, "cpu", (1e-9, 0.0, 0.0))
    before, was = plan(study(minutes=20), dear, 1, train=56_000)
    after, now = plan(study(minutes=90), costs_in(was), 1, before=before, train=56_000)
    assert after.identity() == before.identity()
    assert now.of_a_pass == pytest.approx(was.of_a_pass, rel=1e-3)
    written, found = plan(study(minutes=20, epoch_images=9000), dear, 1, train=56_000)
    assert written.search.epoch_images == 9000
    assert found.of_a_pass == 1, "costs were timed for what is written"
    few, found = plan(study(minutes=5), dear, 1, train=5_000)
    assert (few.search.epoch_images, found.of_a_pass) == (None, 1)


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
