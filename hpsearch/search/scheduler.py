"""What becomes of a trial after each epoch, and what a worker takes up next: a policy's decisions.

A policy is a pure object. It sees curves and the budget, never the storage, and others carry out
what it decides: adding one takes a class and a line of `SCHEDULERS` here, and its name in the study
file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import optuna
from optuna.pruners import BasePruner

from hpsearch.search.kinds import Kind
from hpsearch.study.spec import Search


@dataclass(frozen=True)
class Curve:
    """A trial as policies see it: its number, how it stands, and its scores on **test**.

    `scores` are those after epoch 1, 2, ..., so turned that the highest is the best whatever the
    metric; one that is no number counts as minus infinity. A complete trial that stopped early
    stands still at its best value in the epochs that it was spared.
    """

    number: int
    kind: Kind  # "running" for those that a lost worker left, too
    scores: tuple[float, ...] = ()


@dataclass(frozen=True)
class Budget:
    """What a study may do: so many trials in all, those that nobody has begun, epochs of each."""

    trials: int
    unclaimed: int
    epochs: int


@dataclass(frozen=True)
class Standing:
    """All trials of a study that were begun, by their numbers, and its budget."""

    curves: tuple[Curve, ...]
    budget: Budget
    starting: int = 0  # that a worker has claimed, and that have no number yet

    @property
    def is_at_work(self) -> bool:
        """Whether a trial is running, or about to."""
        return self.starting > 0 or bool(self.of_kind("running"))

    def of_kind(self, *kinds: Kind) -> list[Curve]:
        """Return the trials that stand so."""
        return [curve for curve in self.curves if curve.kind in kinds]


@dataclass(frozen=True)
class TrialSoFar:
    """A trial after an epoch, as a policy is asked about it.

    What costs reading is there to be called: `standing()` reads all trials, this one among the
    running ones, and `stopped_by(pruner)` asks a pruner of Optuna's, which keeps its own notes.
    """

    curve: Curve
    epochs: int  # that a trial trains at most
    standing: Callable[[], Standing]
    stopped_by: Callable[[BasePruner], bool]


@dataclass(frozen=True)
class GoOn:
    """The trial trains its next epoch."""


@dataclass(frozen=True)
class Stop:
    """The trial ends here, pruned: its last score is too weak for `judge`, as people read it."""

    judge: str


@dataclass(frozen=True)
class Pause:
    """The trial is kept as it is and frees its worker; `until` says in words what it waits for.

    Any worker may go on with it, once `next` says so.
    """

    until: str


@dataclass(frozen=True)
class Begin:
    """A worker begins a new trial, as long as the budget has one."""


@dataclass(frozen=True)
class Resume:
    """A worker goes on with the paused trial of a number."""

    number: int


@dataclass(frozen=True)
class Wait:
    """Nothing is due before a trial that is running has come further."""


class Scheduler:
    """A policy, and the one that lets every trial run to its end.

    `pauses` is whether it ever pauses a trial; where it does not, `next` is never asked. `pruner`
    is what Optuna's samplers are to know of it.
    """

    pauses = False

    @property
    def pruner(self) -> BasePruner:
        return optuna.pruners.NopPruner()

    def after_epoch(self, trial: TrialSoFar) -> GoOn | Stop | Pause:
        """Return what becomes of a trial after an epoch that is neither its last nor diverged.

        A policy that pauses may be asked a second time about the same epoch, where a worker died
        before it could do what was decided.
        """
        return GoOn()

    def next(self, standing: Standing) -> Begin | Resume | Wait:
        """Return what a free worker does. Trials whose worker was lost are taken over before that.

        Another worker may be quicker; then it is asked again. Where nobody is at a trial, `Wait`
        begins one all the same, and with none left of the budget it is the end: whatever is still
        paused is pruned.
        """
        return Begin()


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
    return Pruned(optuna.pruners.MedianPruner(**_timing(search)))


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
    "none": lambda search: Scheduler(),
}


def scheduler_for(search: Search) -> Scheduler:
    """Return the policy of a study."""
    return SCHEDULERS[search.pruner.name](search)
