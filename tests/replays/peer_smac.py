"""SMAC3 2.4: its multi-fidelity facade, Hyperband with random forests, asked and told.

It samples freely, so a proposal is answered with the untried row that is most like it. Where it
asks for the same values with more epochs, the trial goes on.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

from ConfigSpace import Categorical, ConfigurationSpace, Float, Integer
from replays.counting import Work
from replays.peer import answer
from replays.table import Axis, Table
from smac import MultiFidelityFacade, Scenario
from smac.runhistory.dataclasses import TrialValue

logging.disable(logging.WARNING)


class MultiFidelity:
    """The facade as it is; its budgets, which are no whole numbers, are rounded."""

    def __init__(self, table: Table, seed: int) -> None:
        self._table = table
        space = ConfigurationSpace(seed=seed)
        space.add([_parameter(axis) for axis in table.axes])
        scenario = Scenario(
            space,
            name=f"replay-{seed}",
            output_directory=Path(tempfile.mkdtemp()),
            deterministic=True,
            n_trials=2 * table.rows,
            min_budget=1,
            max_budget=table.epochs,
            seed=seed,
        )
        self._tool = MultiFidelityFacade(
            scenario, lambda config, seed, budget: 0.0, overwrite=True, logging_level=False
        )
        self._rows: dict[Any, int] = {}
        self._asked: dict[int, Any] = {}

    def take(self) -> Work | None:
        try:
            asked = self._tool.ask()
        except StopIteration:
            return None
        if asked.config not in self._rows:
            if len(self._rows) == self._table.rows:
                return None
            self._rows[asked.config] = self._table.nearest(asked.config, self._rows.values())
        trial = list(self._rows).index(asked.config)
        self._asked[trial] = asked
        return Work(trial, self._rows[asked.config])

    def heard(self, work: Work, epoch: int, score: float) -> bool:
        asked = self._asked[work.trial]
        if epoch < round(asked.budget):
            return True
        self._tool.tell(asked, TrialValue(cost=1.0 - score), save=False)
        return False


def _parameter(axis: Axis) -> Any:
    if axis.choices:
        return Categorical(axis.name, list(axis.choices), ordered=not axis.is_of_words())
    if axis.whole:
        return Integer(axis.name, (int(axis.low), int(axis.high)))
    return Float(axis.name, (axis.low, axis.high), log=axis.log)


if __name__ == "__main__":
    answer({"multi-fidelity": MultiFidelity})
