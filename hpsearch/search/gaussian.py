"""The Gaussian process sampler, taught by trials that came to no score, too."""

from __future__ import annotations

import copy
from collections.abc import Container
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import GPSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpsearch.search.kinds import kind_of

POOR = ("infeasible", "diverged", "timed out")


class TaughtGPSampler(GPSampler):
    """Optuna's `GPSampler`, which reads COMPLETE and RUNNING trials alone, on a view of the study.

    In the view, trials that were infeasible, diverged or took too long are complete with the worst
    value of any complete one; the storage keeps what they were. Trials of the pruner are left out:
    their values are of fewer epochs.
    """

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return super().infer_relative_search_space(_view(study), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return super().sample_relative(_view(study), trial, search_space)


def _view(study: optuna.Study) -> optuna.Study:
    view = copy.copy(study)
    view.__class__ = _Taught
    return view


class _Taught(optuna.Study):
    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        found = super()._get_trials(deepcopy=False, use_cache=use_cache)
        values = [t.value for t in found if t.state == TrialState.COMPLETE and t.value is not None]
        worst = 0.0
        if values:
            worst = min(values) if self.direction == StudyDirection.MAXIMIZE else max(values)
        shown = [_shown(t, worst) for t in found]
        return [t for t in shown if states is None or t.state in states]


def _shown(trial: FrozenTrial, worst: float) -> FrozenTrial:
    if kind_of(trial) not in POOR:
        return trial
    told = copy.copy(trial)
    told._system_attrs = {k: v for k, v in trial._system_attrs.items() if "constraint" not in k}
    told.state, told.value = TrialState.COMPLETE, worst
    return told
