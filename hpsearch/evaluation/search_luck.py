"""How much of a search's best score is luck, as far as its trials and finalists tell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from optuna.trial import TrialState

from hpsearch.evaluation.selection_bias import (
    accuracy_optimism,
    expected_optimism,
    noise_of_correct,
)
from hpsearch.search.finalists import correct, groups_of, verdict
from hpsearch.search.stored_study import OpenStudy
from hpsearch.storage.confirmations import Confirmation
from hpsearch.storage.final_record import ConfirmedRecord, LuckRecord, Scores
from hpsearch.study.tasks import MINIMISED

NORMAL_95 = 3.92  # standard deviations across the 95 % interval of a normal score


def search_luck(study: OpenStudy, test: Scores | None, images: int) -> LuckRecord:
    """Return what the search's best score was, and by how much luck is expected to have lifted it.

    The luck with seeds is known where finalists were trained again and differed; else that with
    test images alone is known, None where they do not show it. `test` holds the
    choice's scores on so many `images`, None where they were taught.
    """
    best = study.best()
    scores = np.array([t.value for t in study.in_state(TrialState.COMPLETE)], np.float64)
    if best is None:
        return LuckRecord(complete=0, best=None, trial=None, optimism=None)
    noise = _noise_of_finalists(study)
    luck = "seeds and test images" if noise else "test images alone"
    if noise:
        optimism = float(expected_optimism(scores, noise))
    elif len(scores) > 1 and np.ptp(scores) == 0:
        optimism = None  # scores that are all alike do not tell how much luck moves them
    else:
        optimism = _by_images_alone(study, scores, test, images)
    return LuckRecord(
        complete=len(scores), best=best.value, trial=best.number, optimism=optimism, luck=luck
    )


def _by_images_alone(
    study: OpenStudy, scores: NDArray[np.float64], test: Scores | None, images: int
) -> float | None:
    """Return the optimism from luck with test images, None where they do not tell."""
    metric, grouped = study.spec.metric, bool(study.data_summary.get("groups"))
    bounds = None if test is None else test.interval
    if metric == "accuracy" and not grouped:
        return accuracy_optimism(scores, 0.0, images)
    if bounds is None:
        return None
    sd, middle = (bounds[1] - bounds[0]) / NORMAL_95, (bounds[0] + bounds[1]) / 2
    if metric == "accuracy":  # as many images, each by itself, as would move it so much
        return accuracy_optimism(scores, 0.0, min(images, middle * (1 - middle) / sd**2))
    return float(expected_optimism(-scores if metric in MINIMISED else scores, sd))


def _noise_of_finalists(study: OpenStudy) -> float | None:
    """Return the noise of an accuracy by what finalists did with new seeds; None without enough."""
    by_trial: dict[int, list[Confirmation]] = {}
    for confirmation in study.confirmations:
        if confirmation.result.correct is not None and confirmation.score is not None:
            by_trial.setdefault(confirmation.trial_number, []).append(confirmation)
    of = list(by_trial.values())
    if len(of) < 2 or max(map(len, of)) < 2:
        return None
    scores = [[c.score or 0.0 for c in one] for one in of]
    groups = groups_of(c for one in of for c in one)
    return noise_of_correct(scores, [np.stack([correct(c) for c in one]) for one in of], groups)


def confirmed(study: OpenStudy, trial_number: int) -> ConfirmedRecord | None:
    """Return what the choice's trainings with new seeds came to, None where there were none."""
    found = verdict(study)
    finalists = [] if found is None else found.finalists
    mine = next((f for f in finalists if f.trial.number == trial_number and f.scores), None)
    if mine is None:
        return None
    seeds = len(mine.scores)
    sd = float(np.std(mine.scores, ddof=1)) if seeds > 1 else None
    return ConfirmedRecord(seeds=seeds, mean=mine.mean, seed_sd=sd)
