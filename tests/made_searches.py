"""Searches without training: workers that obey a policy, over made curves, in made time."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

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

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Made:
    """Configurations that a search may begin: scores `(configs, epochs)`, seconds an epoch."""

    scores: Floats
    epoch_s: Floats  # (configs,)
    dies_at: NDArray[np.int64]  # (configs,): after which epoch it diverges; 0 for never


@dataclass
class Search:
    """A search at work; `run` has it come to its end. Configurations come round again."""

    policy: Scheduler
    made: Made
    workers: int
    trials: int
    time_s: float | None = None
    seed: int = 0

    def run(self) -> list[Curve]:
        """Return the trials as they stand at the end."""
        self.rng = np.random.default_rng(self.seed)
        self.curves: list[Curve] = []
        self.spent_s: list[float] = []
        self.now_s, self.over = 0.0, False
        idle, self.events = list(range(self.workers)), list[tuple[float, int, int]]()
        while True:
            idle = [w for w in idle if not self._takes_up(w)]
            if not self.events:
                return self.curves
            self.now_s, worker, number = heapq.heappop(self.events)
            if self.time_s is not None and self.now_s > self.time_s:
                return self.curves
            if not self._epoch_over(worker, number):
                idle.append(worker)
            idle.sort()

    def standing(self) -> Standing:
        epochs = self.made.scores.shape[1]
        left_s = None if self.time_s is None else self.time_s - self.now_s
        budget = Budget(self.trials, self.trials - len(self.curves), epochs)
        return Standing(tuple(self.curves), budget, time_left_s=left_s)

    def _takes_up(self, worker: int) -> bool:
        if self.over:
            return False
        found = self.policy.next(self.standing())
        if isinstance(found, Begin) and len(self.curves) < self.trials:
            number = len(self.curves)
            self.curves.append(Curve(number, "running"))
            self.spent_s.append(0.0)
        elif isinstance(found, Resume):
            number = found.number
            assert self.curves[number].kind == "paused"
            self._set(number, kind="running")
        else:
            return False
        self._goes_on(worker, number)
        return True

    def _config(self, number: int) -> int:
        return number % len(self.made.epoch_s)

    def _set(self, number: int, **values: object) -> None:
        self.curves[number] = replace(self.curves[number], **values)  # type: ignore[arg-type]

    def _goes_on(self, worker: int, number: int) -> None:
        takes_s = self.made.epoch_s[self._config(number)] * self.rng.uniform(0.95, 1.05)
        self.spent_s[number] += takes_s
        heapq.heappush(self.events, (self.now_s + takes_s, worker, number))

    def _epoch_over(self, worker: int, number: int) -> bool:
        """Have a trial end an epoch; return whether its worker goes on with it."""
        epoch, epochs = len(self.curves[number].scores) + 1, self.made.scores.shape[1]
        if epoch == self.made.dies_at[self._config(number)]:
            self._set(number, kind="diverged")
            return False
        scores = (
            *self.curves[number].scores,
            float(self.made.scores[self._config(number), epoch - 1]),
        )
        self._set(number, scores=scores, epoch_s=self.spent_s[number] / epoch)
        if epoch == epochs:
            self._set(number, kind="complete")
            return False
        curve = self.curves[number]
        found = self.policy.after_epoch(
            TrialSoFar(curve, epochs, self.standing, lambda pruner: False)
        )
        if isinstance(found, GoOn):
            self._goes_on(worker, number)
            return True
        self._set(number, kind="paused" if isinstance(found, Pause) else "pruned")
        assert isinstance(found, Pause | Stop)
        return False


def made(
    rng: np.random.Generator, configs: int, epochs: int, dying: float = 0.1, spread: float = 0.8
) -> Made:
    """Return configurations as a search finds them: a few good, a tail, some that diverge.

    What is good late shows early, but not all of it; costs differ by their `spread` (of logs).
    """
    ends = np.maximum(0.93 - rng.exponential(0.04, (configs, 1)), 0.1)
    lag = rng.uniform(0.02, 0.4, (configs, 1))
    rises = rng.uniform(0.6, 1.6, (configs, 1))
    epoch = np.arange(1, epochs + 1)
    scores = ends - lag * (epoch**-rises - float(epochs) ** -rises)
    scores += rng.normal(0, 0.006, scores.shape) / np.sqrt(epoch)
    dies = np.where(rng.random(configs) < dying, rng.integers(1, epochs + 1, configs), 0)
    return Made(scores, np.exp(rng.normal(0, spread, configs)), dies)


def best_complete(curves: list[Curve]) -> float:
    return max((c.scores[-1] for c in curves if c.kind == "complete"), default=0.0)
