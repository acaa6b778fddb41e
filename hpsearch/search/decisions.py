"""What a scheduling policy sees of a study, and what it may decide: no more than plain objects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import optuna
from optuna.pruners import BasePruner

from hpsearch.search.kinds import Kind


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
    epoch_s: float | None = None  # the mean of its epochs, None before its first
    resumed: bool = False  # whether it was paused before, and went on
    is_baseline: bool = False  # the default configuration, which whatever wins is compared with


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
    # Of the search, without what is kept for confirm and final; None where it has no end.
    time_left_s: float | None = None

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


@dataclass(frozen=True)
class Finish:
    """Nothing that could be begun or resumed would come to anything in the time that is left.

    What is paused ends as pruned, and what is left of the time is for confirm and final.
    """


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

    def next(self, standing: Standing) -> Begin | Resume | Wait | Finish:
        """Return what a free worker does. Trials whose worker was lost are taken over before that.

        Another worker may be quicker; then it is asked again. Where nobody is at a trial, `Wait`
        begins one all the same, and with none left of the budget it is the end: whatever is still
        paused is pruned. While somebody is at one, `Finish` is as `Wait`.
        """
        return Begin()
