"""Counting the epochs that a tool needs on recorded curves; needs numpy alone, as peers do.

A tool is asked what a free worker does and told every epoch's score. Workers are simulated: an
epoch takes as long as it did when it was recorded, and deciding takes no time. A trial that goes on
after a pause goes on from where it was, for every tool alike, whether the tool keeps checkpoints or
not.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from replays.table import Table

MARGIN = 0.005  # half a point


@dataclass(frozen=True)
class Work:
    """What a worker takes up: the next epochs of a trial, whose curve is a row of the table."""

    trial: int
    row: int


class Tool(Protocol):
    """A search as a replay sees it."""

    def take(self) -> Work | None:
        """Return what a free worker does; None where that is nothing, for now or for ever."""

    def heard(self, work: Work, epoch: int, score: float) -> bool:
        """Hear a trial's score after an epoch, 1 being the first; return whether it goes on.

        After the last epoch the answer does not matter. One that does not go on is paused if the
        tool takes it up again, otherwise over.
        """


@dataclass(frozen=True)
class Spent:
    """What it took until a score within the margin was seen; infinite where none ever was.

    `seconds` are those of the simulated clock, `workers` times: what the machine was kept for.
    """

    epochs: float
    seconds: float


def spent_by(tool: Tool, table: Table, workers: int, margin: float = MARGIN) -> Spent:
    """Return what a tool spends until it has seen a score within the margin of the table's best.

    Raises ValueError where a tool takes up a trial that is over, or that another worker is at.
    """
    wanted = table.best - margin - 1e-9
    done: dict[int, int] = {}  # epochs of each trial
    busy: list[tuple[float, int, Work]] = []  # when an epoch ends, in which order it began, whose
    trained = began = 0
    now, idle = 0.0, workers
    at_work: set[int] = set()
    while True:
        while idle and (work := tool.take()) is not None:
            if work.trial in at_work or done.get(work.trial, 0) >= table.epochs:
                raise ValueError(f"trial {work.trial} cannot be taken up: it runs, or is over")
            at_work.add(work.trial)
            idle, began = idle - 1, began + 1
            heapq.heappush(busy, (now + _lasts(table, work, done), began, work))
        if not busy:
            return Spent(math.inf, math.inf)
        now, _, work = heapq.heappop(busy)
        trained += 1
        epoch = done[work.trial] = done.get(work.trial, 0) + 1
        score = float(table.scores[work.row, epoch - 1])
        if score >= wanted:
            return Spent(trained, now * workers)
        if tool.heard(work, epoch, score) and epoch < table.epochs:
            began += 1
            heapq.heappush(busy, (now + _lasts(table, work, done), began, work))
        else:
            at_work.discard(work.trial)
            idle += 1


def _lasts(table: Table, work: Work, done: dict[int, int]) -> float:
    return float(table.seconds[work.row, done.get(work.trial, 0)])


def order(table: Table, seed: int) -> list[int]:
    """Return the rows in the random order of a seed, the same for every tool."""
    return [int(row) for row in np.random.default_rng(seed).permutation(table.rows)]


def quartiles(found: list[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper one, each of them a value of its list."""
    ordered = sorted(found)
    last = len(ordered) - 1
    lower, middle, upper = (ordered[round(last * share)] for share in (0.25, 0.5, 0.75))
    return lower, middle, upper
