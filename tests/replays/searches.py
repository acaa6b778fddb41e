"""Policies with samplers: which sampler to take, and what it is to be told."""

from __future__ import annotations

from collections.abc import Callable

from replays.counting import Tool
from replays.policies import Made, Ours, promoting
from replays.samplers import (
    Proposing,
    View,
    all_rungs,
    best_so_far,
    final_alone,
    first_rung,
    highest_full_rung,
)
from replays.table import Table

from hpsearch.search.decisions import Scheduler


def searched(
    scheduler: Callable[[Table], Scheduler],
    name: str,
    view: View = all_rungs,
    startup: int = 10,
    first: bool = False,
) -> Made:
    """Return a search by one of our samplers; `first` begins with the default configuration."""

    def made(table: Table, seed: int) -> Tool:
        proposing = Proposing(table, seed, name, view, startup, first)
        return Ours(scheduler(table), proposing, table)

    return made


def to_the_end(table: Table) -> Scheduler:
    """Return the policy that stops nothing."""
    return Scheduler()


SEARCHES: dict[str, Made] = {
    "no stopping, tpe": searched(to_the_end, "tpe"),
    "promote, random": searched(promoting(), "random"),
    "promote, tpe: all rungs": searched(promoting(), "tpe"),
    "promote, tpe: final scores alone": searched(promoting(), "tpe", final_alone),
    "promote, tpe: first rung": searched(promoting(), "tpe", first_rung),
    "promote, tpe: highest full rung": searched(promoting(), "tpe", highest_full_rung),
    "promote, tpe: best so far": searched(promoting(), "tpe", best_so_far),
    "promote, tpe: all rungs, 5 random": searched(promoting(), "tpe", startup=5),
    "promote, tpe: first rung, 5 random": searched(promoting(), "tpe", first_rung, startup=5),
    "promote, tpe, default first": searched(promoting(), "tpe", first=True),
    "promote eta 4, tpe: all rungs": searched(promoting(4), "tpe"),
    "promote eta 4, tpe: first rung": searched(promoting(4), "tpe", first_rung),
    "promote, gp": searched(promoting(), "gp", best_so_far),
}
