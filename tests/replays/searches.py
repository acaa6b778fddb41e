"""Policies with samplers: which sampler to take, and what it is to be told."""

from __future__ import annotations

import optuna
from replays.counting import Tool
from replays.policies import Made, Ours
from replays.samplers import Proposing, View, all_rungs
from replays.table import Table

from hpsearch.search.scheduler import Scheduler


def searched(scheduler: Scheduler, name: str, view: View = all_rungs, startup: int = 10) -> Made:
    """Return a search by one of our samplers."""

    def made(table: Table, seed: int) -> Tool:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        return Ours(scheduler, Proposing(table, seed, name, view, startup), table)

    return made


SEARCHES: dict[str, Made] = {
    "none + random": searched(Scheduler(), "random"),
    "none + tpe": searched(Scheduler(), "tpe"),
}
