"""The median pruner with a second chance: what it would stop is paused, the best go on later."""

from __future__ import annotations

import math
from dataclasses import dataclass

from optuna.pruners import BasePruner

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
from hpsearch.search.promotion import COUNTED, takes_s, unbegun

CHANCES = 0.1  # of all that were paused, which go on once no trial is left to begin; at least one


@dataclass(frozen=True)
class MedianResume(Scheduler):
    """Pauses the trials that the median pruner would stop, and ends with the best of them.

    They go on when no trial is left to begin, one of ten, or as many as can end in time once there
    is no time left for the whole of another one. What was resumed is not judged again.
    """

    by: BasePruner
    epochs: int

    pauses = True

    @property
    def pruner(self) -> BasePruner:
        return self.by

    def after_epoch(self, trial: TrialSoFar) -> GoOn | Stop | Pause:
        if trial.curve.resumed or not trial.stopped_by(self.by):
            return GoOn()
        return Pause("there is nothing better to train")

    def next(self, standing: Standing) -> Begin | Resume | Wait | Finish:
        left_s, fresh = standing.time_left_s, unbegun(standing)

        def ends(curve: Curve) -> bool:
            return left_s is None or takes_s(curve, self.epochs, fresh) <= left_s

        unclaimed = standing.budget.unclaimed
        if unclaimed and ends(fresh):
            return Begin()
        able = [curve for curve in standing.of_kind("paused") if ends(curve)]
        if able and (unclaimed or self._has_chances(standing)):
            return Resume(max(able, key=lambda c: (_promise(c, standing), -c.number)).number)
        return Finish() if left_s is not None and unclaimed else Wait()

    def _has_chances(self, standing: Standing) -> bool:
        """Whether fewer were resumed than are to be."""
        resumed = sum(curve.resumed for curve in standing.curves)
        paused = sum(not curve.resumed for curve in standing.of_kind("paused"))
        return resumed < math.ceil(CHANCES * (paused + resumed))


def _promise(curve: Curve, standing: Standing) -> float:
    """Return the share of trials that were no better by the epoch after which this one waits."""
    epochs, best = len(curve.scores), max(curve.scores)
    others = [
        max(c.scores[:epochs])
        for c in standing.curves
        if c.kind in COUNTED and len(c.scores) >= epochs
    ]
    return sum(score <= best for score in others) / len(others)
