"""The Gaussian process sampler, taught by trials that came to no score, too."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import GPSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpsearch.search.kinds import kind_of
from hpsearch.storage.optuna_private import seen_as

POOR = ("infeasible", "diverged", "timed out")
STORED_AS = "constraints"  # the beginning of the name of a constraint among system attributes


class TaughtGPSampler(GPSampler):
    """Optuna's `GPSampler`, which reads COMPLETE and RUNNING trials alone, on a view of the study.

    In the view, trials that were infeasible, diverged or took too long are complete, and all
    complete trials have the same constraints, kept or broken, so that a model of its own learns
    where they are broken: the size of the network, as the logarithm of its share of the study's
    limit, known of every trial (of several `limits`, by what a trial records, the one that it comes
    closest to, or exceeds most); and whether a trial was lost otherwise. The value of
    those without one is the best that was seen: with the worst one, the model of values took the
    other side of the limit for poor, too, and stayed with the smallest networks. The storage keeps
    what they were. Trials of the pruner are left out: their values are of fewer epochs.
    """

    def __init__(self, limits: Mapping[str, float] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._limits = limits or {}

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return super().infer_relative_search_space(self._view(study), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return super().sample_relative(self._view(study), trial, search_space)

    def _view(self, study: optuna.Study) -> optuna.Study:
        most = study.direction == StudyDirection.MAXIMIZE

        def taught(found: Sequence[FrozenTrial]) -> list[FrozenTrial]:
            complete = [t for t in found if t.state == TrialState.COMPLETE]
            values = [t.value for t in complete if t.value is not None]
            best = (max(values) if most else min(values)) if values else 0.0
            if len(set(values)) < 2:  # where all are the same, it would stay where it is
                best += 1.0 if most else -1.0
            return _shown(found, best, self._limits)

        return seen_as(study, taught)


def _shown(
    trials: Sequence[FrozenTrial], value: float, limits: Mapping[str, float]
) -> list[FrozenTrial]:
    """Return the trials as the Gaussian process is to see them."""
    poor = {t.number for t in trials if kind_of(t) in POOR}
    known = [t for t in trials if t.state == TrialState.COMPLETE or t.number in poor]
    sizes = {t.number: _size(t, limits) for t in known}
    sized = None not in sizes.values()
    lost = {number for number in poor if not sized or (sizes[number] or 0.0) <= 0}
    shown = {t.number: copy.copy(t) for t in trials}
    for number, size in sizes.items():
        trial = shown[number]
        attrs = {k: v for k, v in trial.system_attrs.items() if not k.startswith(STORED_AS)}
        if sized and poor:
            attrs[f"{STORED_AS}:size"] = size
        if lost:
            attrs[f"{STORED_AS}:lost"] = 1.0 if number in lost else -1.0
        trial.system_attrs = attrs
        if number in poor:
            trial.state, trial.value = TrialState.COMPLETE, value
    return list(shown.values())


def _size(trial: FrozenTrial, limits: Mapping[str, float]) -> float | None:
    """Return how large a network is, above 0 where it is too large, None where that is unknown."""
    attrs = trial.user_attrs
    shares = (math.log(attrs[name] / most) for name, most in limits.items() if attrs.get(name))
    return max(shares, default=None)
