"""Intervals of images in groups cover the truth as often as they say, or there are none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from grouped_images import Sizes, errors_of, hits_of, sizes_of
from made_records import final_record
from numpy.typing import NDArray
from scipy import stats

from hpsearch.evaluation.calibration import calibration
from hpsearch.evaluation.grouped import Scale, Weighed, grouped_interval
from hpsearch.evaluation.intervals import wilson_interval
from hpsearch.evaluation.measures import gained, interval
from hpsearch.reports.trust import _gain_lines, groups_line
from hpsearch.search.finalist_statistics import alike, distinguished, image_variance_of_correct
from hpsearch.storage.final_record import ValidationScores
from hpsearch.study.tasks import Metric

STUDIES = 400
# What so many studies of a coverage of 94 % undercut once in 40, by the binomial distribution.
FEWEST = stats.binom.ppf(0.025, STUDIES, 0.94) / STUDIES


def mean_of(values: NDArray[np.generic]) -> Weighed:
    numbers = values.astype(np.float64)
    return lambda weights: weights @ numbers / weights.sum(1)


def covers(found: tuple[float, float] | None, truth: float) -> bool:
    return found is not None and found[0] <= truth <= found[1]


@pytest.mark.parametrize("sizes", ["equal", "unequal", "one large"])
@pytest.mark.parametrize("groups", [10, 20, 50])
@pytest.mark.parametrize(("accuracy", "likeness"), [(0.8, 0.2), (0.95, 0.5), (0.99, 0.5), (1, 0)])
def test_an_accuracys_interval_covers_what_new_groups_show(
    sizes: Sizes, groups: int, accuracy: float, likeness: float
) -> None:
    rng = np.random.default_rng(groups)
    found = []
    for _ in range(STUDIES):
        hits, of = hits_of(sizes_of(sizes, groups, 20, rng), accuracy, likeness, rng)
        found.append(covers(grouped_interval(mean_of(hits), of, "share"), accuracy))
    assert np.mean(found) >= FEWEST


def test_wilsons_interval_counts_images_of_a_group_as_if_each_told_something_new() -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(STUDIES):
        hits, _ = hits_of(sizes_of("equal", 20, 20, rng), 0.8, 0.5, rng)
        low, high = wilson_interval(hits.sum(), len(hits))
        found.append(low <= 0.8 <= high)
    assert np.mean(found) < 0.6


@pytest.mark.parametrize("spread", [0, 0.7, 1, 1.5])
@pytest.mark.parametrize("groups", [10, 20, 50])
def test_an_errors_interval_covers_it_and_so_does_that_of_what_is_explained(
    groups: int, spread: float
) -> None:
    rng = np.random.default_rng(groups)
    found = []
    for _ in range(STUDIES):
        errors, of = errors_of(sizes_of("unequal", groups, 20, rng), spread, rng)
        bounds = grouped_interval(mean_of(errors), of, "error")
        found.append(covers(bounds, 1.0))
        explained = grouped_interval(mean_of(1 - errors), of, "explained")
        assert bounds is None or explained == pytest.approx((1 - bounds[1], 1 - bounds[0]))
    assert len(found) > 0.8 * STUDIES
    assert np.mean(found) >= FEWEST


@pytest.mark.parametrize("groups", [10, 50])
def test_the_interval_of_a_difference_covers_it(groups: int) -> None:
    rng = np.random.default_rng(1)
    found = []
    for _ in range(STUDIES):
        sizes = sizes_of("unequal", groups, 20, rng)
        (one, of), (other, _) = (hits_of(sizes, p, 0.3, rng) for p in (0.93, 0.9))
        difference = one.astype(float) - other
        found.append(covers(grouped_interval(mean_of(difference), of, "difference"), 0.03))
    assert np.mean(found) >= FEWEST


@pytest.mark.parametrize(("spread", "holds"), [(0, True), (1, True), (1.5, False)])
def test_the_interval_of_a_gain_in_error_holds_unless_groups_differ_much(
    spread: float, holds: bool
) -> None:
    rng = np.random.default_rng(1)
    found = []
    for _ in range(STUDIES):
        of = np.repeat(np.arange(20), sizes_of("unequal", 20, 20, rng))
        own = rng.lognormal(-(spread**2) / 2, spread, 20)[of]
        gain = own * (rng.chisquare(1, len(of)) - 0.8 * rng.chisquare(1, len(of)))
        found.append(covers(grouped_interval(mean_of(gain), of, "difference"), 0.2))
    assert (np.mean(found) >= FEWEST) == holds, "as the report says of such gains"


@pytest.mark.parametrize("scale", ["share", "error", "explained", "difference"])
def test_with_fewer_than_ten_groups_there_is_none(scale: Scale) -> None:
    values = np.random.default_rng(0).random(900) * 0.5
    assert grouped_interval(mean_of(values), np.arange(900) % 9, scale) is None
    assert grouped_interval(mean_of(values), np.arange(900) % 10, scale) is not None


def test_what_is_measured_goes_by_groups_for_every_score() -> None:
    rng = np.random.default_rng(0)
    hits, of = hits_of(sizes_of("equal", 30, 20, rng), 0.85, 0.4, rng)
    targets = torch.tensor(rng.integers(0, 2, len(of)))
    predictions = torch.nn.functional.one_hot(
        torch.where(torch.tensor(hits), targets, 1 - targets)
    ).double()
    for metric in ("accuracy", "balanced-accuracy", "macro-f1"):
        apart = interval("single-label", metric, predictions, targets)
        together = interval("single-label", metric, predictions, targets, of)
        assert apart is not None and together is not None
        assert together[1] - together[0] > 1.5 * (apart[1] - apart[0])
    other = predictions.flip(1)
    gain, bounds = gained("single-label", "accuracy", predictions, other, targets, of)
    assert bounds is not None and bounds[0] < gain < bounds[1]
    assert gained("single-label", "accuracy", predictions, other, targets, of // 5)[1] is None


def scores_of(groups: int | None) -> ValidationScores:
    return ValidationScores(images=480, groups=groups, loss=0.5)


def test_the_report_says_how_many_groups_there_were() -> None:
    assert "12 groups, 480 images" in (groups_line(scores_of(12)) or "")
    assert "no interval is honest" in (groups_line(scores_of(9)) or "")
    assert groups_line(scores_of(None)) is None


@pytest.mark.parametrize("metric", ["mse", "mae", "r2", "accuracy"])
def test_the_report_says_where_a_gains_interval_is_not_shown_to_hold(metric: Metric) -> None:
    beside = {"trial": 0, "gain": 0.1, "gain_interval": (0.05, 0.15)}
    final = final_record(baseline=beside, validation=scores_of(12).model_dump())
    said = " ".join(_gain_lines(metric, final))
    assert ("88 %" in said) == (metric != "accuracy")
    alone = final.model_copy(update={"validation": scores_of(None)})
    assert "88 %" not in " ".join(_gain_lines(metric, alone))


def test_chance_makes_more_of_a_calibration_error_where_answers_hang_together() -> None:
    rng = np.random.default_rng(0)
    hits, of = hits_of(sizes_of("equal", 20, 20, rng), 0.8, 0.5, rng)
    probabilities = np.tile([0.2, 0.8], (len(of), 1))
    apart = calibration(probabilities, hits.astype(int))
    together = calibration(probabilities, hits.astype(int), groups=of)
    assert apart.by_chance is not None and together.by_chance is not None
    assert together.by_chance > 2 * apart.by_chance
    assert calibration(probabilities, hits.astype(int), groups=of // 4).by_chance is None


def test_equal_finalists_are_told_apart_no_more_often_because_images_hang_together() -> None:
    rng = np.random.default_rng(2)
    wrong = {True: 0, False: 0}
    for _ in range(STUDIES):
        sizes = sizes_of("unequal", 15, 20, rng)
        hits, of = zip(*(hits_of(sizes, 0.85, 0.3, rng) for _ in range(2)), strict=True)
        twice = [np.stack([one, one]) for one in hits]
        scores = [[float(one.mean())] * 2 for one in hits]
        by_group = image_variance_of_correct(twice, of[0])
        wrong[True] += bool(distinguished(scores, by_group, alike(of[0])).any())
        wrong[False] += bool(
            distinguished(scores, image_variance_of_correct(twice), len(of[0])).any()
        )
    # Either may be the one that is distinguished; studies of 10 % exceed this once in 40.
    assert wrong[True] <= stats.binom.ppf(0.975, STUDIES, 0.1)
    assert wrong[False] / STUDIES > 0.3
