"""What of a study's time is kept for what follows the search."""

from __future__ import annotations

import math

from hpsearch.search.finalists import CONFIRM_SHARE

FINAL_MARGIN = 1.05  # the final training is the best trial's again; saving and measuring are quick
BASELINE_MOST = 2.0  # times that is kept for the baseline beside it, at most
PLANNED_CONFIRM_SHARE = 1 / 8  # the same of a planned budget, which is short more often than not
FINAL_START_S = 10.0  # a fresh process imports torch and maps the data


def final_time_s(choice_s: float, baseline_s: float | None, at_once: bool) -> float:
    """Return what the final takes whose choice trains for so long, beside a baseline or none."""
    took_s = choice_s
    if baseline_s is not None:
        beside_s = min(baseline_s, BASELINE_MOST * choice_s)
        took_s = max(choice_s, beside_s) if at_once else choice_s + beside_s
    return took_s * FINAL_MARGIN + FINAL_START_S


def confirm_time_s(
    choice_s: float, trainings: int, workers: int, budget_s: float, planned: bool = False
) -> float:
    """Return what is kept to train finalists again, so many at a time as there are workers."""
    rounds = math.ceil(trainings / max(1, workers))
    share = PLANNED_CONFIRM_SHARE if planned else CONFIRM_SHARE
    return min(rounds * choice_s * FINAL_MARGIN, share * budget_s)
