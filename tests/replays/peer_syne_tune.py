"""Syne Tune 0.16: its ASHA, which stops; configurations come in the order of the seed."""

from __future__ import annotations

import datetime
import logging

import numpy as np
from replays.counting import Work, order
from replays.peer import answer
from replays.table import Axis, Table
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import choice, loguniform, randint, uniform
from syne_tune.optimizer.baselines import ASHA
from syne_tune.optimizer.scheduler import SchedulerDecision

logging.disable(logging.WARNING)


class Asha:
    """ASHA as it is, eta 3, its first configurations being all rows in a random order."""

    def __init__(self, table: Table, seed: int) -> None:
        np.random.seed(seed)
        self._rows = order(table, seed)
        self._epochs = table.epochs
        self._trials: list[Trial] = []
        self._scheduler = ASHA(
            {axis.name: _domain(axis) for axis in table.axes},
            metric="score",
            do_minimize=False,
            time_attr="epoch",
            max_t=table.epochs,
            grace_period=1,
            reduction_factor=3,
            random_seed=seed,
            points_to_evaluate=[dict(table.configs[row]) for row in self._rows],
        )

    def take(self) -> Work | None:
        number = len(self._trials)
        if number == len(self._rows):
            return None
        suggested = self._scheduler.suggest()
        trial = Trial(number, suggested.config, datetime.datetime.now())
        self._trials.append(trial)
        self._scheduler.on_trial_add(trial)
        return Work(number, self._rows[number])

    def heard(self, work: Work, epoch: int, score: float) -> bool:
        trial, result = self._trials[work.trial], {"score": score, "epoch": epoch}
        if epoch == self._epochs:
            self._scheduler.on_trial_complete(trial, result)
            return False
        decided = self._scheduler.on_trial_result(trial, result)
        if decided == SchedulerDecision.CONTINUE:
            return True
        self._scheduler.on_trial_remove(trial)
        return False


def _domain(axis: Axis) -> object:
    if axis.choices:
        return choice(list(axis.choices))
    if axis.whole:
        return randint(int(axis.low), int(axis.high))
    return loguniform(axis.low, axis.high) if axis.log else uniform(axis.low, axis.high)


if __name__ == "__main__":
    answer({"asha": Asha})
