"""NePS 0.17: PriorBand, whose prior is the default configuration, asked and told.

It samples freely, so a proposal is answered with the untried row that is most like it. At a rung it
proposes the same values with more epochs, and the trial goes on.
"""

from __future__ import annotations

import logging
import random
from typing import Any

import numpy as np
import torch
from neps.optimizers.algorithms import priorband
from neps.optimizers.ask_and_tell import AskAndTell
from neps.space import HPOCategorical, HPOFloat, HPOInteger, SearchSpace
from replays.counting import Work
from replays.peer import answer
from replays.table import Axis, Table

logging.disable(logging.WARNING)
torch.set_num_threads(1)


class PriorBand:
    """Its answers at a rung are heard as costs, which it makes as small as it can."""

    def __init__(self, table: Table, seed: int, base: str) -> None:
        for seeded in (random.seed, np.random.seed, torch.manual_seed):
            seeded(seed)
        self._table = table
        prior = table.default
        space = {axis.name: _parameter(axis, prior[axis.name]) for axis in table.axes}
        space["epoch"] = HPOInteger(1, table.epochs, is_fidelity=True)
        self._tool = AskAndTell(priorband(SearchSpace(space), base=base))
        self._rows: dict[str, int] = {}  # by what it calls a configuration
        self._asked: dict[int, Any] = {}  # by trial

    def take(self) -> Work | None:
        asked = self._tool.ask()
        name = asked.metadata.id.rsplit("_", 1)[0]
        if name not in self._rows:
            if len(self._rows) == self._table.rows:
                return None
            config = {axis.name: asked.config[axis.name] for axis in self._table.axes}
            self._rows[name] = self._table.nearest(config, self._rows.values())
        trial = list(self._rows).index(name)
        self._asked[trial] = asked
        return Work(trial, self._rows[name])

    def heard(self, work: Work, epoch: int, score: float) -> bool:
        asked = self._asked[work.trial]
        if epoch < asked.config["epoch"]:
            return True
        self._tool.tell(asked, 1.0 - score)
        return False


def _parameter(axis: Axis, prior: Any) -> Any:
    if axis.choices:
        return HPOCategorical(list(axis.choices), prior=prior)
    if axis.whole:
        return HPOInteger(int(axis.low), int(axis.high), prior=int(prior))
    return HPOFloat(axis.low, axis.high, log=axis.log, prior=float(prior))


if __name__ == "__main__":
    answer(
        {
            "priorband": lambda table, seed: PriorBand(table, seed, "hyperband"),
            "priorband-asha": lambda table, seed: PriorBand(table, seed, "asha"),
        }
    )
