"""Asynchronous successive halving that pauses: the best third of each rung goes on to the next.

After Li et al., "A System for Massively Parallel Hyperparameter Tuning" (MLSys 2020), whose trials
are promoted one at a time and never wait for a rung to be full. Added here is what a real budget
needs: the baseline comes to its end at once, so that there is soon a complete trial, and one to
beat; rungs are settled when no trial is left to begin, nothing is trained that cannot end in time,
and the last part of the time goes to what can still win.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice

from hpsearch.search.decisions import (
    Begin,
    Curve,
    Finish,
    GoOn,
    Pause,
    Resume,
    Scheduler,
    Standing,
    Stop,
    TrialSoFar,
    Wait,
)
from hpsearch.search.kinds import Kind
from hpsearch.study.searching import Search

COUNTED: tuple[Kind, ...] = ("running", "paused", "complete", "pruned")  # others had no chance
MARGIN = 1.1  # times what it is expected to take: epochs differ, and workers share a machine
HANDOVER_S = 1.0  # a checkpoint is read, and the last epoch's score is written
# Ranks beyond the last promoted one, in square roots of the trials at a rung, from which no trial
# comes back: as more are begun, the border moves by half of that in one standard deviation.
HOPELESS_ROOTS = 2.0


def rungs_between(first: int, epochs: int, eta: int) -> tuple[int, ...]:
    """Return the epochs after which trials are compared, from the first on; the last is all epochs.

    One that is nearer to the last than to the one before it is left out: what it could spare is
    less than what a pause costs.
    """
    rungs = []
    while first * math.sqrt(eta) <= epochs:
        rungs.append(first)
        first *= eta
    return (*rungs, epochs)


def rungs_of(search: Search) -> tuple[int, ...]:
    """Return the epochs after which a study compares its trials."""
    pruner = search.pruner
    return rungs_between(max(1, pruner.warmup_epochs), search.epochs, pruner.reduction_factor)


def share_of_epochs(search: Search, trials: int) -> float:
    """Return the share of all epochs of so many trials that are trained at least."""
    rungs, eta = rungs_of(search), search.pruner.reduction_factor
    count, before, trained = trials, 0, 0
    for rung in rungs:
        trained += count * (rung - before)
        count, before = -(-count // eta), rung
    return trained / (trials * rungs[-1])


@dataclass(frozen=True)
class Promote(Scheduler):
    """Pauses trials at rungs, and resumes the best of them; see the module."""

    rungs: tuple[int, ...]
    eta: int
    spares_baseline: bool = True  # it comes to its end at once

    pauses = True

    def after_epoch(self, trial: TrialSoFar) -> GoOn | Stop | Pause:
        if len(trial.curve.scores) not in self.rungs:
            return GoOn()
        standing = trial.standing()
        ours = replace(trial.curve, kind="paused")
        others = tuple(c for c in standing.curves if c.number != ours.number)
        return Field(replace(standing, curves=(*others, ours)), self.rungs, self.eta).judge(
            ours, self.spares_baseline and ours.is_baseline
        )

    def next(self, standing: Standing) -> Begin | Resume | Wait | Finish:
        return Field(standing, self.rungs, self.eta).choice()


@dataclass(frozen=True)
class Field:
    """All trials of a study at one moment, compared rung by rung."""

    standing: Standing
    rungs: tuple[int, ...]
    eta: int
    _rankings: dict[int, list[Curve]] = field(default_factory=dict, init=False, compare=False)

    def choice(self) -> Begin | Resume | Wait | Finish:
        """Return what a free worker does."""
        due = self._due()
        if due is None and not self.standing.is_at_work and not self.standing.of_kind("complete"):
            due = next((c for c in self._hopeful() if self._can_win(c)), None)
        if due is not None:
            return Begin() if due is self._fresh else Resume(due.number)
        out_of_time = self.standing.time_left_s is not None and self.standing.budget.unclaimed
        return Finish() if out_of_time else Wait()

    def judge(self, ours: Curve, is_spared: bool = False) -> GoOn | Stop | Pause:
        """Return what becomes of a trial that has come to a rung; it is among the paused here."""
        rung = self._rung(ours)
        is_due = is_spared or ours in self._promoted(rung) or self._due() is ours
        if is_due and self._can_win(ours):
            return GoOn()
        place, of = self._ranked(rung).index(ours) + 1, len(self._ranked(rung))
        if place > of / self.eta + HOPELESS_ROOTS * math.sqrt(of):
            return Stop(f"promotion, which takes one of {self.eta}: it was {place} of {of}")
        return Pause(f"it is among the best 1/{self.eta} there")

    def _due(self) -> Curve | None:
        """Return what is trained next, a trial that nobody has begun among it; None for nothing.

        Where there is no time left for the whole of another one, those that came furthest go on.
        """
        able = [curve for curve in self._promotable() if self._can_win(curve)]
        if not able and self.standing.budget.unclaimed:
            able = [c for c in (self._fresh, *self._hopeful()) if self._can_win(c)]
        return next(iter(able), None)

    def _promotable(self) -> Iterator[Curve]:
        """Return paused trials with a place in the next rung: highest rung first, then best."""
        for rung in reversed(range(len(self.rungs) - 1)):
            for curve in self._promoted(rung):
                if curve.kind == "paused" and self._rung(curve) == rung:
                    yield curve

    def _promoted(self, rung: int) -> list[Curve]:
        """Return the best of a rung, which go on to the next one.

        Where no trial is left to begin, their number is rounded up: the best of any has to.
        """
        ranked = self._ranked(rung)
        count = len(ranked)
        places = count // self.eta if self.standing.budget.unclaimed else -(-count // self.eta)
        able = (c for c in ranked if c.kind != "pruned" or self._rung(c) > rung)
        return list(islice(able, places))

    def _ranked(self, rung: int) -> list[Curve]:
        """Return the trials that came to a rung, the best one there first."""
        if rung not in self._rankings:
            epochs = self.rungs[rung]
            there = [
                c for c in self.standing.curves if len(c.scores) >= epochs and c.kind in COUNTED
            ]
            there.sort(key=lambda c: (-c.scores[epochs - 1], c.number))
            self._rankings[rung] = there
        return self._rankings[rung]

    def _hopeful(self) -> list[Curve]:
        """Return all paused trials: highest rung first, then the best score there."""
        paused = self.standing.of_kind("paused")
        return sorted(paused, key=lambda c: (-self._rung(c), -c.scores[-1], c.number))

    def _rung(self, curve: Curve) -> int:
        """Return the highest rung that a trial has come to, -1 before the first."""
        return bisect_right(self.rungs, len(curve.scores)) - 1

    # Time

    def _can_win(self, curve: Curve) -> bool:
        """Whether it can come to its end in time; where none can, to its next rung."""
        left_s = self.standing.time_left_s
        if left_s is None:
            return True
        return (self._end_s(curve) if self._any_ends else self._step_s(curve)) <= left_s

    @cached_property
    def _any_ends(self) -> bool:
        """Whether any trial is complete, or can be in the time that is left."""
        begun = self.standing.of_kind("running", "paused")
        able = [*begun, self._fresh] if self.standing.budget.unclaimed else begun
        left_s = self.standing.time_left_s or 0.0
        complete = bool(self.standing.of_kind("complete"))
        return complete or any(self._end_s(c) <= left_s for c in able)

    @cached_property
    def _fresh(self) -> Curve:
        return unbegun(self.standing)

    def _end_s(self, curve: Curve) -> float:
        return takes_s(curve, self.rungs[-1], self._fresh)

    def _step_s(self, curve: Curve) -> float:
        following = min(self._rung(curve) + 1, len(self.rungs) - 1)
        return takes_s(curve, self.rungs[following], self._fresh)


def unbegun(standing: Standing) -> Curve:
    """Return a trial that nobody has begun, as costly as those so far are on average."""
    known = [c.epoch_s for c in standing.curves if c.epoch_s is not None]
    return Curve(-1, "waiting", (), sum(known) / len(known) if known else None)


def takes_s(curve: Curve, until: int, typical: Curve) -> float:
    """Return how long a trial takes until an epoch, by its own epochs or by a typical trial's."""
    epoch_s = typical.epoch_s if curve.epoch_s is None else curve.epoch_s
    if epoch_s is None:
        return 0.0
    return MARGIN * epoch_s * max(0, until - len(curve.scores)) + HANDOVER_S
