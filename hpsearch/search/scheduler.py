"""What becomes of a trial after each epoch, and what a worker takes up next: a policy's decisions.

A policy is a pure object. It sees curves and the budget, never the storage, and others carry out
what it decides: adding one takes a class, a line of `SCHEDULERS` here, and its name in the study
file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import optuna
from optuna.pruners import BasePruner

from hpsearch.search.decisions import (
    GoOn,
    Pause,
    Scheduler,
    Stop,
    TrialSoFar,
)
from hpsearch.search.median_resume import MedianResume
from hpsearch.search.promotion import Promote, rungs_of
from hpsearch.study.searching import Search


@dataclass(frozen=True)
class Pruned(Scheduler):
    """Stops the trials that a pruner of Optuna's would stop, and pauses none."""

    by: BasePruner

    @property
    def pruner(self) -> BasePruner:
        return self.by

    def after_epoch(self, trial: TrialSoFar) -> GoOn | Stop | Pause:
        if not trial.stopped_by(self.by):
            return GoOn()
        return Stop(f"the {type(self.by).__name__.removesuffix('Pruner').lower()} pruner")


def _median(search: Search) -> Scheduler:
    by = optuna.pruners.MedianPruner(**_timing(search))
    return MedianResume(by, search.epochs) if search.pruner.resume else Pruned(by)


def _percentile(search: Search) -> Scheduler:
    return Pruned(optuna.pruners.PercentilePruner(search.pruner.percentile, **_timing(search)))


def _successive_halving(search: Search) -> Scheduler:
    knobs = search.pruner
    return Pruned(
        optuna.pruners.SuccessiveHalvingPruner(
            min_resource=knobs.warmup_epochs + 1, reduction_factor=knobs.reduction_factor
        )
    )


def _hyperband(search: Search) -> Scheduler:
    knobs = search.pruner
    return Pruned(
        optuna.pruners.HyperbandPruner(
            min_resource=knobs.warmup_epochs + 1,
            max_resource=search.epochs,
            reduction_factor=knobs.reduction_factor,
        )
    )


def _timing(search: Search) -> dict[str, int]:
    """Return when pruners that compare by epoch begin. Epochs count from 1, so one of warm-up
    spares epoch 1."""
    knobs = search.pruner
    return {
        "n_startup_trials": knobs.startup_trials,
        "n_warmup_steps": knobs.warmup_epochs + 1,
        "interval_steps": knobs.interval_epochs,
        "n_min_trials": knobs.min_trials,
    }


SCHEDULERS: dict[str, Callable[[Search], Scheduler]] = {  # by `search.pruner` of the study file
    "median": _median,
    "percentile": _percentile,
    "successive-halving": _successive_halving,
    "hyperband": _hyperband,
    "promote": lambda search: Promote(
        rungs_of(search), search.pruner.reduction_factor, search.sampler.name != "grid"
    ),
    "none": lambda search: Scheduler(),
}


def scheduler_for(search: Search) -> Scheduler:
    """Return the policy of a study."""
    return SCHEDULERS[search.pruner.name](search)
