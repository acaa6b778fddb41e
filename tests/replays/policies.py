"""Policies of this project, and what they are compared with, as tools of a replay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np
import optuna
from optuna.pruners import BasePruner
from optuna.trial import Trial, TrialState
from replays.counting import Tool, Work, order
from replays.table import Table

from hpsearch.search.decisions import (
    Begin,
    Budget,
    Curve,
    GoOn,
    Pause,
    Resume,
    Scheduler,
    Standing,
    Stop,
    TrialSoFar,
)
from hpsearch.search.scheduler import scheduler_for
from hpsearch.study.searching import Search


class Proposer(Protocol):
    """Where a new trial's configuration comes from, and what it is told of how trials fare."""

    def row(self, number: int) -> int:
        """Return the row of a new trial; IndexError where every row was tried."""

    def told(self, number: int, epoch: int, score: float) -> None:
        """Hear of a trial's score."""

    def became(self, number: int, kind: str) -> None:
        """Hear that a trial is running again, paused, pruned or complete."""


class InOrder:
    """Proposes the rows in the random order of a seed, and learns nothing."""

    def __init__(self, table: Table, seed: int) -> None:
        self._order = order(table, seed)

    def row(self, number: int) -> int:
        return self._order[number]

    def told(self, number: int, epoch: int, score: float) -> None:
        pass

    def became(self, number: int, kind: str) -> None:
        pass


class Ours:
    """A policy of `hpsearch.search.scheduler` beside a proposer, asked as a study's workers ask.

    The study has as many trials as the table has rows, and no end in time.
    """

    def __init__(self, scheduler: Scheduler, proposer: Proposer, table: Table) -> None:
        self._scheduler, self._proposer, self._table = scheduler, proposer, table
        self._curves: dict[int, Curve] = {}
        self._works: dict[int, Work] = {}
        self._standing: Standing | None = None

    def take(self) -> Work | None:
        decision = self._scheduler.next(self._now()) if self._scheduler.pauses else Begin()
        if isinstance(decision, Resume):
            self._set(replace(self._curves[decision.number], kind="running"))
            return self._works[decision.number]
        standing = self._now()
        waits = not isinstance(decision, Begin) and standing.is_at_work
        if waits or not standing.budget.unclaimed:
            return None
        number = len(self._works)
        work = self._works[number] = Work(number, self._proposer.row(number))
        self._set(Curve(number, "running"))
        return work

    def heard(self, work: Work, epoch: int, score: float) -> bool:
        before = self._curves[work.trial]
        curve = replace(before, scores=(*before.scores, score))
        self._set(curve)
        self._proposer.told(work.trial, epoch, score)
        if epoch == self._table.epochs:
            self._set(replace(curve, kind="complete"))
            return False
        asked = TrialSoFar(curve, self._table.epochs, self._now, _never)
        match self._scheduler.after_epoch(asked):
            case GoOn():
                return True
            case Pause():
                self._set(replace(curve, kind="paused"))
            case Stop():
                self._set(replace(curve, kind="pruned"))
        return False

    def _set(self, curve: Curve) -> None:
        before = self._curves.get(curve.number)
        self._curves[curve.number], self._standing = curve, None
        if before is not None and before.kind != curve.kind:
            self._proposer.became(curve.number, curve.kind)

    def _now(self) -> Standing:
        if self._standing is None:
            rows = self._table.rows
            budget = Budget(rows, rows - len(self._works), self._table.epochs)
            self._standing = Standing(tuple(self._curves.values()), budget)
        return self._standing


def _never(pruner: BasePruner) -> bool:
    raise NotImplementedError("replays ask a pruner of Optuna's through `Pruned`")


class Pruned:
    """Trials in the order of a seed, and a pruner of Optuna's, asked in a study of its own."""

    def __init__(self, pruner: BasePruner, table: Table, seed: int) -> None:
        self._study = optuna.create_study(
            study_name=f"replay-{seed}", direction="maximize", pruner=pruner
        )
        self._order, self._epochs = order(table, seed), table.epochs
        self._trials: list[Trial] = []

    def take(self) -> Work | None:
        number = len(self._trials)
        if number == len(self._order):
            return None
        self._trials.append(self._study.ask())
        return Work(number, self._order[number])

    def heard(self, work: Work, epoch: int, score: float) -> bool:
        trial = self._trials[work.trial]
        trial.report(score, epoch)
        if epoch == self._epochs:
            self._study.tell(trial, score)
            return False
        if not trial.should_prune():
            return True
        self._study.tell(trial, state=TrialState.PRUNED)
        return False


class Median:
    """What `Pruned(MedianPruner(5))` decides, without a study: a thousand orders take seconds.

    A trial stops where its best score so far is below the median of the complete trials' scores at
    this epoch, once five are complete.
    """

    def __init__(self, table: Table, seed: int, startup: int = 5) -> None:
        self._order, self._table, self._startup = order(table, seed), table, startup
        self._begun = 0
        self._complete: list[int] = []
        self._medians = np.zeros(0)
        self._best: dict[int, float] = {}

    def take(self) -> Work | None:
        if self._begun == len(self._order):
            return None
        self._begun += 1
        return Work(self._begun - 1, self._order[self._begun - 1])

    def heard(self, work: Work, epoch: int, score: float) -> bool:
        best = self._best[work.trial] = max(score, self._best.get(work.trial, score))
        if epoch == self._table.epochs:
            self._complete.append(work.row)
            self._medians = np.median(self._table.scores[self._complete], axis=0)
            return False
        return len(self._complete) < self._startup or best >= self._medians[epoch - 1]


class OneEpochFirst:
    """Trains eight configurations for one epoch each, then the best of them to its end."""

    def __init__(self, table: Table, seed: int, of: int = 8) -> None:
        self._order, self._of = order(table, seed), of
        self._begun = 0
        self._waiting: list[tuple[float, Work]] = []

    def take(self) -> Work | None:
        left = self._begun < len(self._order)
        if len(self._waiting) >= self._of or (self._waiting and not left):
            best = max(self._waiting, key=lambda found: found[0])
            self._waiting = []
            return best[1]
        if not left:
            return None
        self._begun += 1
        return Work(self._begun - 1, self._order[self._begun - 1])

    def heard(self, work: Work, epoch: int, score: float) -> bool:
        if epoch == 1:
            self._waiting.append((score, work))
        return epoch > 1


Made = Callable[[Table, int], Tool]  # of a table and a seed


def _in_order(scheduler: Callable[[Table], Scheduler]) -> Made:
    return lambda table, seed: Ours(scheduler(table), InOrder(table, seed), table)


def promoting(eta: int = 3, first: int = 1) -> Callable[[Table], Scheduler]:
    """Return the policy `promote` of a study file with these settings, for a table's epochs."""

    def made(table: Table) -> Scheduler:
        pruner = {"name": "promote", "reduction_factor": eta, "warmup_epochs": first}
        search = {"pruner": pruner, "epochs": table.epochs, "trials": table.rows}
        return scheduler_for(Search.model_validate(search))

    return made


def _hyperband(table: Table, seed: int) -> Tool:
    pruner = optuna.pruners.HyperbandPruner(1, table.epochs, reduction_factor=3)
    return Pruned(pruner, table, seed)


POLICIES: dict[str, Made] = {
    "random search": _in_order(lambda table: Scheduler()),
    "median, Optuna's": Median,
    "Hyperband, Optuna's": _hyperband,
    "one epoch, then the best of 8": OneEpochFirst,
    "promote": _in_order(promoting()),
    "promote, eta 2": _in_order(promoting(2)),
    "promote, eta 4": _in_order(promoting(4)),
    "promote, first rung 2": _in_order(promoting(3, 2)),
    "promote, first rung 3": _in_order(promoting(3, 3)),
}
