"""Syne Tune 0.13, the last series with promotion and PASHA; rows come in the order of the seed."""

from __future__ import annotations

import datetime
import logging
from typing import Any

import numpy as np
from replays.counting import Work, order
from replays.peer import answer
from replays.table import Axis, Table
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import choice, loguniform, randint, uniform
from syne_tune.optimizer.baselines import PASHA
from syne_tune.optimizer.scheduler import SchedulerDecision
from syne_tune.optimizer.schedulers import HyperbandScheduler

logging.disable(logging.WARNING)


class Promoting:
    """One of its schedulers that pause and resume, eta 3, told every epoch."""

    def __init__(self, scheduler: Any, table: Table, seed: int) -> None:
        self._scheduler, self._epochs = scheduler, table.epochs
        self._rows = order(table, seed)
        self._trials: list[Trial] = []
        self._refused = 0

    def take(self) -> Work | None:
        number = len(self._trials)
        suggested = self._scheduler.suggest(number + self._refused)
        if suggested is None:
            return None
        if suggested.spawn_new_trial_id and number == len(self._rows):
            self._refused += 1  # every row was begun: it may only resume
            return None
        if not suggested.spawn_new_trial_id:
            resumed = int(suggested.checkpoint_trial_id)
            return Work(resumed, self._rows[resumed])
        trial = Trial(number, suggested.config, datetime.datetime.now())
        self._trials.append(trial)
        self._scheduler.on_trial_add(trial)
        return Work(number, self._rows[number])

    def heard(self, work: Work, epoch: int, score: float) -> bool:
        trial, result = self._trials[work.trial], {"score": score, "epoch": epoch}
        decided = self._scheduler.on_trial_result(trial, result)
        if epoch == self._epochs:
            self._scheduler.on_trial_complete(trial, result)
        return bool(decided == SchedulerDecision.CONTINUE)


def _domain(axis: Axis) -> object:
    if axis.choices:
        return choice(list(axis.choices))
    if axis.whole:
        return randint(int(axis.low), int(axis.high))
    return loguniform(axis.low, axis.high) if axis.log else uniform(axis.low, axis.high)


def _settings(table: Table, seed: int) -> dict[str, Any]:
    np.random.seed(seed)
    points = [dict(table.configs[row]) for row in order(table, seed)]
    return {
        "metric": "score",
        "mode": "max",
        "resource_attr": "epoch",
        "max_t": table.epochs,
        "grace_period": 1,
        "reduction_factor": 3,
        "random_seed": seed,
        "points_to_evaluate": points,
    }


def promotion(table: Table, seed: int) -> Promoting:
    """Return its asynchronous successive halving that pauses and resumes."""
    space = {axis.name: _domain(axis) for axis in table.axes}
    made = HyperbandScheduler(space, searcher="random", type="promotion", **_settings(table, seed))
    return Promoting(made, table, seed)


def pasha(table: Table, seed: int) -> Promoting:
    """Return its PASHA, which promotes and lengthens trials only while their ranking changes."""
    space = {axis.name: _domain(axis) for axis in table.axes}
    return Promoting(PASHA(space, **_settings(table, seed)), table, seed)


if __name__ == "__main__":
    answer({"promotion": promotion, "pasha": pasha})
