"""How many images an epoch has where a pass is too long for a budget, on made-up costs."""

from __future__ import annotations

from statistics import median

import pytest

from hpsearch.errors import StudyFileError
from hpsearch.search.epoch_length import FEWEST_IMAGES, TESTED, PassCosts, with_fair_epochs
from hpsearch.search.plan import AIM, Wish, planned

IMAGES = 300_000


def costs(typical_s: float, test_share: float = 0.02, images: int = IMAGES) -> PassCosts:
    """Return passes from a fifth of the typical one to five times as long."""
    spread = [typical_s * 25 ** (i / 40 - 0.5) for i in range(41)]
    tests_s = [test_share * whole_s for whole_s in spread]
    return PassCosts(
        spread, spread[20], tests_s=tests_s, baseline_test_s=tests_s[20], images=images
    )


def fair_s(wish: Wish, part: PassCosts) -> float:
    plan = planned(wish, part.spread, part.baseline_s)
    return wish.workers * plan.search_s / (AIM * plan.first_rung)


def test_a_pass_that_is_short_for_a_budget_is_an_epoch() -> None:
    short = costs(5.0)
    assert with_fair_epochs(Wish(3600), short) is short


def test_a_long_pass_is_divided_until_tens_of_configurations_reach_the_first_rung() -> None:
    wish, whole = Wish(3600), costs(240.0)
    part = with_fair_epochs(wish, whole)
    assert part.epoch_images is not None
    assert IMAGES / part.epoch_images in (2, 4, 8, 16)
    assert median(part.spread) <= fair_s(wish, part)
    twice = whole.shortened(2 * part.epoch_images)
    assert median(twice.spread) > fair_s(wish, twice), "and no further than that"
    plans = [planned(wish, c.spread, c.baseline_s) for c in (whole, part)]
    assert plans[1].configurations > 1.5 * plans[0].configurations
    assert plans[1].share > plans[0].share


def test_more_time_or_more_workers_divide_less() -> None:
    long = costs(240.0)
    found = [
        with_fair_epochs(wish, long).epoch_images or IMAGES
        for wish in (Wish(3600), Wish(3 * 3600), Wish(3600, workers=8), Wish(48 * 3600))
    ]
    assert found[0] < found[1] and found[0] < found[2]
    assert found[3] == IMAGES


@pytest.mark.parametrize("test_share", [0.04, 0.1, 0.3])
def test_an_evaluation_takes_a_fifth_of_an_epoch_at_most(test_share: float) -> None:
    whole = costs(2000.0, test_share)
    part = with_fair_epochs(Wish(3600 * 4), whole)
    if test_share > TESTED:
        assert part is whole
        return
    tests_s, all_s = median(whole.tests_s), median(part.spread)
    assert tests_s <= TESTED * all_s
    assert part.epoch_images is not None
    halved = whole.shortened(part.epoch_images // 2)
    assert tests_s > TESTED * median(halved.spread), "that is what ended the halving"


def test_an_epoch_has_images_enough_to_learn_from() -> None:
    part = with_fair_epochs(Wish(600), costs(60.0, 0.001, images=3000))
    assert part.epoch_images == 1500 >= FEWEST_IMAGES


def test_a_shorter_epoch_takes_its_share_of_learning_and_all_of_its_evaluation() -> None:
    whole = PassCosts([10.0, 20.0], 10.0, tests_s=[1.0, 4.0], baseline_test_s=1.0, images=8000)
    part = whole.shortened(2000)
    assert part.spread == [1 + 9 / 4, 4 + 16 / 4]
    assert part.baseline_s == 1 + 9 / 4


def test_a_budget_too_small_for_a_pass_may_hold_its_parts() -> None:
    wish, long = Wish(120, has_baseline=False), costs(400.0)
    with pytest.raises(StudyFileError, match="too little"):
        planned(wish, long.spread, long.baseline_s)
    assert with_fair_epochs(wish, long).epoch_images is not None
    with pytest.raises(StudyFileError, match="too little"):
        with_fair_epochs(Wish(12), long)


def test_where_an_evaluation_is_not_known_nothing_is_divided() -> None:
    unknown = PassCosts([240.0] * 9, 240.0)
    assert with_fair_epochs(Wish(7200), unknown) is unknown
