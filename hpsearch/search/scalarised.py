"""Samplers that propose along the front of a good metric and a small network.

A study has one objective, its test metric: states, pruning and the choice stand on that alone. What
the sampler of a slot sees of it is a view. To TPE it has two objectives, metric and size, of which
Optuna's multi-objective TPE makes its own; a Gaussian process, which models values, sees one number
of both, with a weight of the slot's own (ParEGO: Knowles, IEEE Transactions on Evolutionary
Computation 10 (1), 2006). Some slots see the metric alone, so that the best of it is found, too.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import numpy as np
from optuna import Study
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpsearch.search.view_sampler import ViewSampler
from hpsearch.storage.optuna_private import seen_as
from hpsearch.study.goals import RECORDED_AS, Quantity

METRIC_ALONE = 0.25  # of the slots
SUM_SHARE = 0.05  # of the plain weighted sum, as in ParEGO: what is dominated is worse, not equal


def towards_both(sampler: BaseSampler, also: Quantity, seed: int) -> BaseSampler:
    """Return a sampler for a slot of a study that wants small networks, too; the seed says which.

    `sampler` is the one that learns from the metric alone.
    """
    draw = float(np.random.default_rng(seed).random())
    if draw < METRIC_ALONE:
        return sampler
    if isinstance(sampler, TPESampler):
        return SeeingBoth(sampler, also, None)
    return SeeingBoth(sampler, also, (draw - METRIC_ALONE) / (1 - METRIC_ALONE))


class SeeingBoth(ViewSampler):
    """A sampler that is shown trials by metric and size: as two objectives, or with a `weight`.

    The weight, from 0 to 1, is that of the metric; the size of `also` has the rest.
    """

    def __init__(self, sampler: BaseSampler, also: Quantity, weight: float | None) -> None:
        super().__init__(sampler)
        self._also, self._weight = also, weight

    def view(self, study: Study) -> Study:
        attribute, weight = RECORDED_AS[self._also], self._weight
        if weight is None:
            both = [study.direction, StudyDirection.MINIMIZE]
            return seen_as(study, lambda found: with_two_values(found, attribute), both)
        most = study.direction == StudyDirection.MAXIMIZE
        return seen_as(study, lambda found: weighed_trials(found, attribute, weight, most))


def with_two_values(trials: Sequence[FrozenTrial], attribute: str) -> list[FrozenTrial]:
    """Return trials whose values are metric and size, a user attribute, by its logarithm.

    A pruned one is shown as complete, with what it reported last: Optuna compares no reports where
    there are several objectives. A complete trial whose size nobody recorded is left out.
    """
    shown: list[FrozenTrial] = []
    for trial in trials:
        size, score = trial.user_attrs.get(attribute), _score(trial)
        seen = copy.copy(trial)
        if score is None:
            seen.intermediate_values = {}
        elif size:
            seen.state, seen.values = TrialState.COMPLETE, [score, math.log(size)]
        else:
            continue
        shown.append(seen)
    return shown


def _score(trial: FrozenTrial) -> float | None:
    """Return the value of a complete trial, or what a pruned one reported last."""
    if trial.state == TrialState.COMPLETE:
        return trial.value
    reported = trial.intermediate_values
    if trial.state != TrialState.PRUNED or not reported or trial.constraints:
        return None
    last = reported[max(reported)]
    return last if math.isfinite(last) else None


def weighed_trials(
    trials: Sequence[FrozenTrial], attribute: str, weight: float, most: bool
) -> list[FrozenTrial]:
    """Return trials whose values go by metric and size together.

    Both are counted from 0, the best of the complete trials, to 1, the worst of them; the size, a
    user attribute, by its logarithm. `most` is whether the highest value is the best. A complete
    trial whose size nobody recorded is left out; all others stay as they are.
    """
    sign = -1.0 if most else 1.0
    complete = [t for t in trials if t.state == TrialState.COMPLETE and t.user_attrs.get(attribute)]
    loss_share = share_of([sign * (t.value or 0.0) for t in complete])
    size_share = share_of([math.log(t.user_attrs[attribute]) for t in complete])
    shown: list[FrozenTrial] = []
    for trial in trials:
        if trial.state != TrialState.COMPLETE:
            shown.append(trial)
        elif size := trial.user_attrs.get(attribute):
            seen = copy.copy(trial)
            parts = (
                weight * loss_share(sign * (trial.value or 0.0)),
                (1 - weight) * size_share(math.log(size)),
            )
            seen.value = sign * (max(parts) + SUM_SHARE * sum(parts))
            shown.append(seen)
    return shown


def share_of(numbers: Sequence[float]) -> Callable[[float], float]:
    """Return where a number lies between the least of some, 0, and the greatest, 1."""
    least, greatest = min(numbers, default=0.0), max(numbers, default=0.0)
    width = greatest - least
    return lambda number: (number - least) / width if width > 0 else 0.0
