"""What a budget of time comes to, from the seconds of an epoch all over a space."""

from __future__ import annotations

import itertools
import re
from statistics import median

import pytest

from hpsearch.errors import StudyFileError
from hpsearch.search.plan import AIM, FEWEST, MOST, Wish, planned, words
from hpsearch.search.promotion import rungs_between
from hpsearch.search.reserve import final_time_s
from hpsearch.storage.plan_record import PlanRecord


def spread(cheapest_s: float, dearest_s: float, count: int = 64) -> list[float]:
    """Return epochs evenly spread in their logarithm."""
    step = (dearest_s / cheapest_s) ** (1 / (count - 1))
    return [cheapest_s * step**i for i in range(count)]


DIGITS = spread(0.03, 0.4)
FASHION = spread(4, 160)  # 56,000 images on one core, from 1 to 4 layers of 16 to 128 filters
PICTURES = spread(60, 900)  # 300,000 on a GPU


def check_sound(plan: PlanRecord, wish: Wish) -> None:
    """Assert what holds of every plan: its parts are the whole, and a choice ends within it."""
    parts_s = plan.search_s + plan.confirm_s + plan.final_s
    assert 0 < parts_s <= wish.budget_s
    assert plan.epochs * plan.typical_s <= plan.search_s
    dearest_s = max(e for e in plan.spread if e <= plan.longest_s) * plan.epochs
    assert dearest_s + final_time_s(dearest_s, None, True) <= wish.budget_s
    assert plan.rungs[0] in (plan.first_rung, plan.epochs)
    assert plan.rungs[-1] == plan.epochs <= MOST


def test_twenty_minutes_on_one_core_try_tens_of_configurations_and_finish_some() -> None:
    one = planned(Wish(1200, workers=1, trainings=9), FASHION, 27.0)
    two = planned(Wish(1200, workers=2, trainings=9, at_once=True), FASHION, 27.0)
    for plan, workers in ((one, 1), (two, 2)):
        check_sound(plan, Wish(1200, workers=workers))
        assert plan.configurations >= 20
        assert plan.epochs >= FEWEST
        assert plan.first_rung == 1
        assert plan.epochs * plan.typical_s <= plan.search_s / 6 or plan.epochs == FEWEST
    assert two.configurations > one.configurations or two.epochs > one.epochs
    assert two.longest_s > one.longest_s, "two cores afford dearer networks"


def test_half_a_minute_on_digits_has_rungs_that_are_long_against_the_overhead_of_a_trial() -> None:
    wish = Wish(30, workers=1)
    plan = planned(wish, DIGITS, 0.1)
    check_sound(plan, wish)
    assert plan.first_rung > 1
    assert plan.configurations >= 5


def test_hours_are_not_spent_on_epochs_without_end() -> None:
    wish = Wish(8 * 3600, workers=8, trainings=9)
    plan = planned(wish, PICTURES, 200.0)
    check_sound(plan, wish)
    assert 6 <= plan.epochs <= 27
    assert plan.configurations > AIM
    digits = planned(Wish(8 * 3600, workers=2, trainings=9), DIGITS, 0.1)
    assert digits.epochs == MOST
    assert digits.share == 1.0


def test_more_time_means_more_of_the_space_or_more_epochs() -> None:
    plans = [planned(Wish(m * 60, trainings=9), FASHION, 27.0) for m in (5, 10, 20, 40, 80, 160)]
    for shorter, longer in itertools.pairwise(plans):
        assert (longer.epochs, longer.share) >= (shorter.epochs, 0)
        assert longer.longest_s * longer.epochs > shorter.longest_s * shorter.epochs


@pytest.mark.parametrize("epochs", [None, 10])
def test_a_budget_for_nothing_says_what_would_be_enough_and_that_is(epochs: int | None) -> None:
    wish = Wish(12, epochs=epochs)
    with pytest.raises(StudyFileError, match="too little") as error:
        planned(wish, FASHION, 27.0)
    minutes = float(re.findall(r"([\d.]+) minutes would be enough", str(error.value))[0])
    enough = Wish(minutes * 60, epochs=epochs)
    check_sound(planned(enough, FASHION, 27.0), enough)


def test_epochs_that_are_written_are_kept() -> None:
    plan = planned(Wish(1200, epochs=10), FASHION, 27.0)
    assert plan.epochs == 10
    assert plan.rungs == [1, 3, 10]
    assert planned(Wish(1200, epochs=10, first_rung=2), FASHION, 27.0).rungs == [2, 10]


def test_a_study_of_few_trials_may_train_dearer_ones() -> None:
    many, few = (planned(Wish(1200, trials=n), FASHION, 27.0) for n in (1000, 6))
    assert few.configurations == 6
    assert few.longest_s > 1.5 * many.longest_s


def test_a_space_of_dear_networks_alone_is_searched_all_the_same() -> None:
    plan = planned(Wish(1200), spread(60, 100), 80.0)
    assert plan.share >= 0.2
    assert plan.configurations >= 2
    assert plan.typical_s == pytest.approx(median(e for e in plan.spread if e <= plan.longest_s))


def test_rungs_grow_by_three_and_the_last_is_the_end() -> None:
    assert list(rungs_between(1, 27, 3)) == [1, 3, 9, 27]
    assert list(rungs_between(1, 10, 3)) == [1, 3, 10], "9 would spare one epoch"
    assert list(rungs_between(1, 3, 3)) == [1, 3]
    assert list(rungs_between(1, 1, 3)) == [1]


def test_a_plan_is_said_with_its_numbers() -> None:
    said = words(planned(Wish(1200, workers=2, trainings=9), FASHION, 27.0))
    assert said.startswith("Plan for 20 min with 2 worker(s): trials of ")
    assert "to confirm and" in said
    assert "% of the space, are too dear for this budget." in said
    assert "too dear" not in words(planned(Wish(8 * 3600), DIGITS, 0.1))
