"""Samplers that propose rows of a table: the untried row most like what they would have tried.

A table has no other configurations, so a sampler's proposal becomes its nearest neighbour, which no
later one can. The sampler is told that row's own values, as if it had proposed them.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from replays.table import Axis, Config, Table

from hpsearch.search.samplers import sampler_for, seed_of
from hpsearch.storage.optuna_private import seen_as
from hpsearch.study.searching import Search

View = Callable[[Sequence[FrozenTrial], dict[int, str]], list[FrozenTrial]]
ENOUGH = 10  # trials at a rung, for a sampler that learns from one rung alone


def distributions(table: Table) -> dict[str, BaseDistribution]:
    """Return the axes of a table as Optuna's distributions."""
    return {axis.name: _distribution(axis) for axis in table.axes}


def _distribution(axis: Axis) -> BaseDistribution:
    if axis.choices:
        return CategoricalDistribution(axis.choices)
    if axis.whole:
        return IntDistribution(int(axis.low), int(axis.high), axis.log, int(axis.step or 1))
    return FloatDistribution(axis.low, axis.high, axis.log, axis.step)


class Snapped(BaseSampler):
    """Asks another sampler for all axes, and answers with the values of the nearest untried row."""

    def __init__(self, inner: BaseSampler, table: Table, tried: list[int]) -> None:
        self._inner, self._table, self._tried = inner, table, tried
        self._space = distributions(table)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> Config:
        known = self._inner.infer_relative_search_space(study, trial)
        wished: dict[str, Any] = dict(self._inner.sample_relative(study, trial, known))
        for name, axis in search_space.items():  # in order, or a seed would not repeat itself
            if name not in wished:
                wished[name] = self._inner.sample_independent(study, trial, name, axis)
        row = self._table.nearest(wished, self._tried)
        self._tried.append(row)
        return self._table.configs[row]

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        raise NotImplementedError("all axes are sampled at once")


# What a sampler sees of trials; `kinds` are how they stand, by their numbers


def all_rungs(trials: Sequence[FrozenTrial], kinds: dict[int, str]) -> list[FrozenTrial]:
    """Return paused trials as pruned ones, as workers do: TPE prefers those that came furthest."""
    return [
        _shown(t, TrialState.PRUNED, None) if kinds.get(t.number) in ("paused", "pruned") else t
        for t in trials
    ]


def final_alone(trials: Sequence[FrozenTrial], kinds: dict[int, str]) -> list[FrozenTrial]:
    """Return complete trials and running ones."""
    return [t for t in trials if kinds.get(t.number) not in ("paused", "pruned")]


def first_rung(trials: Sequence[FrozenTrial], kinds: dict[int, str]) -> list[FrozenTrial]:
    """Return all trials as complete ones with their score after epoch 1."""
    return [_shown(t, TrialState.COMPLETE, t.intermediate_values[1]) for t in _there(trials, 1)]


def highest_full_rung(trials: Sequence[FrozenTrial], kinds: dict[int, str]) -> list[FrozenTrial]:
    """Return the trials of the highest rung that enough came to, as complete ones, as BOHB does."""
    epochs = sorted({max(t.intermediate_values, default=0) for t in trials}, reverse=True)
    for epoch in epochs:
        there = _there(trials, epoch) if epoch else []
        if len(there) >= ENOUGH:
            return [_shown(t, TrialState.COMPLETE, t.intermediate_values[epoch]) for t in there]
    return first_rung(trials, kinds)


def best_so_far(trials: Sequence[FrozenTrial], kinds: dict[int, str]) -> list[FrozenTrial]:
    """Return all trials as complete ones with the best score of theirs, whatever the epoch."""
    return [
        _shown(t, TrialState.COMPLETE, max(t.intermediate_values.values()))
        for t in _there(trials, 1)
    ]


def _there(trials: Sequence[FrozenTrial], epoch: int) -> list[FrozenTrial]:
    return [t for t in trials if epoch in t.intermediate_values]


def _shown(trial: FrozenTrial, state: TrialState, value: float | None) -> FrozenTrial:
    shown = copy.copy(trial)
    shown.state = state
    if value is not None:
        shown.value = value
    return shown


class Proposing:
    """A sampler of ours as a replay's proposer; `view` is what it sees of the trials so far."""

    def __init__(
        self,
        table: Table,
        seed: int,
        name: str = "tpe",
        view: View = all_rungs,
        startup: int = 10,
        first: bool = False,
    ) -> None:
        sampler = {"name": name, "startup_trials": startup}
        self._search = Search.model_validate({"sampler": sampler, "seed": seed})
        self._table, self._view, self._first = table, view, first
        self._study = optuna.create_study(direction="maximize")
        self._tried: list[int] = []
        self._trials: list[Trial] = []
        self._kinds: dict[int, str] = {}

    def row(self, number: int) -> int:
        seen = seen_as(self._study, lambda trials: self._view(trials, self._kinds))
        inner = _Viewing(sampler_for(self._search, number), seen)
        self._study.sampler = Snapped(inner, self._table, self._tried)
        if len(self._tried) == self._table.rows:
            raise IndexError("every row of the table was tried")
        given = self._first and not self._trials
        if given:
            row = self._table.nearest(self._table.default, ())
            self._study.enqueue_trial(dict(self._table.configs[row]))
        trial = self._study.ask(distributions(self._table))
        self._trials.append(trial)
        if given:  # Optuna asks its sampler all the same
            self._tried[:] = [row]
        return self._tried[-1]

    def told(self, number: int, epoch: int, score: float) -> None:
        self._trials[number].report(score, epoch)

    def became(self, number: int, kind: str) -> None:
        self._kinds[number] = kind
        if kind == "complete":
            trial = self._trials[number]
            last = self._study._storage.get_trial(trial._trial_id).intermediate_values
            self._study.tell(trial, last[max(last)])
        elif kind == "pruned":
            self._study.tell(self._trials[number], state=TrialState.PRUNED)


class _Viewing(BaseSampler):
    """A sampler that always sees another view of the study."""

    def __init__(self, inner: BaseSampler, seen: Study) -> None:
        self._inner, self._seen = inner, seen

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._inner.infer_relative_search_space(self._seen, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._inner.sample_relative(self._seen, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._inner.sample_independent(self._seen, trial, param_name, param_distribution)


def plain_tpe(seed: int) -> TPESampler:
    """Return Optuna's TPE as it is by default."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(seed=seed_of(seed, 0, stream=0))
