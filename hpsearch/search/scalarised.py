"""Samplers that propose along the front of a good metric and a small network.

A study has one objective, its test metric: states, pruning and the choice stand on that alone. The
sampler of each slot sees one number of both instead, with a weight of the slot's own, so that over
the slots proposals go to all of the front (ParEGO: Knowles, IEEE Transactions on Evolutionary
Computation 10 (1), 2006).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpsearch.storage.optuna_private import seen_as
from hpsearch.study.goals import RECORDED_AS, Quantity

SUM_SHARE = 0.05  # of the plain weighted sum, as in ParEGO: what is dominated is worse, not equal


class WeighingSampler(BaseSampler):
    """A sampler that is shown trials by metric and size together.

    `weight`, from 0 to 1, is that of the metric; the size of `also` has the rest.
    """

    def __init__(self, sampler: BaseSampler, also: Quantity, weight: float) -> None:
        self._sampler, self._also, self._weight = sampler, also, weight

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(self._view(study), trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(self._view(study), trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        view = self._view(study)
        return self._sampler.sample_independent(view, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._sampler.before_trial(self._view(study), trial)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._sampler.after_trial(self._view(study), trial, state, values)

    def reseed_rng(self) -> None:
        self._sampler.reseed_rng()

    def _view(self, study: Study) -> Study:
        most = study.direction == StudyDirection.MAXIMIZE

        def weighed(found: Sequence[FrozenTrial]) -> list[FrozenTrial]:
            return weighed_trials(found, RECORDED_AS[self._also], self._weight, most)

        return seen_as(study, weighed)


def weight_of(seed: int) -> float:
    """Return the weight of the metric for a slot, from its seed: any from 0 to 1 alike."""
    return float(np.random.default_rng(seed).random())


def weighed_trials(
    trials: Sequence[FrozenTrial], attribute: str, weight: float, most: bool
) -> list[FrozenTrial]:
    """Return trials as a sampler is to see them, whose values go by metric and size.

    Both are counted from 0, the best of the complete trials, to 1, the worst of them; the size, a
    user attribute, by its logarithm. `most` is whether the highest value is the best. A complete
    trial whose size nobody recorded is left out; pruned ones are weighed by what they reported
    last. Those that came to no score stay as they are.
    """
    sign = -1.0 if most else 1.0
    complete = [t for t in trials if t.state == TrialState.COMPLETE and _size(t, attribute)]
    loss_share = _share_of([sign * (t.value or 0.0) for t in complete])
    size_share = _share_of([math.log(_size(t, attribute) or 1.0) for t in complete])

    def value(trial: FrozenTrial, score: float) -> float:
        loss = weight * loss_share(sign * score)
        size = (1 - weight) * size_share(math.log(_size(trial, attribute) or 1.0))
        return sign * (max(loss, size) + SUM_SHARE * (loss + size))

    shown: list[FrozenTrial] = []
    for trial in trials:
        if trial.state == TrialState.COMPLETE and not _size(trial, attribute):
            continue
        seen, reported = copy.copy(trial), trial.intermediate_values
        if trial.state == TrialState.COMPLETE:
            seen.value = value(trial, trial.value or 0.0)
        elif trial.state == TrialState.PRUNED and reported and _size(trial, attribute):
            last = max(reported)
            seen.intermediate_values = {last: value(trial, reported[last])}
        shown.append(seen)
    return shown


def _size(trial: FrozenTrial, attribute: str) -> float | None:
    size: float | None = trial.user_attrs.get(attribute)
    return size


def _share_of(numbers: Sequence[float]) -> Callable[[float], float]:
    """Return where a number lies between the least of some, 0, and the greatest, 1."""
    least, greatest = min(numbers, default=0.0), max(numbers, default=0.0)
    width = greatest - least
    return lambda number: (number - least) / width if width > 0 else 0.0
