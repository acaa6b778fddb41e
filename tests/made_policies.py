"""A scheduler that pauses, and a worker that obeys it: made_policies.py URL STUDY PLACE NAME."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from hpsearch.machine.children import device_named
from hpsearch.search.decisions import (
    Begin,
    GoOn,
    Pause,
    Resume,
    Scheduler,
    Standing,
    Stop,
    TrialSoFar,
    Wait,
)
from hpsearch.search.scheduler import SCHEDULERS
from hpsearch.search.worker import Worker
from hpsearch.storage.checkpoints import Checkpoints
from hpsearch.storage.storage import open_storage

RUNG = 2  # the epoch after which every trial is paused
BEST = 2  # so many are resumed


@dataclass(frozen=True)
class BestGoOn(Scheduler):
    """Pauses every trial at the rung; once all are there, the best ones go on to their end.

    With a folder, the first process that has a trial three epochs further is killed by the kernel.
    """

    deadly: Path | None = None

    pauses = True

    def after_epoch(self, trial: TrialSoFar) -> GoOn | Stop | Pause:
        if self.deadly is not None and len(trial.curve.scores) == RUNG + 3:
            try:
                (self.deadly / "killed").touch(exist_ok=False)
                os.kill(os.getpid(), signal.SIGKILL)
            except FileExistsError:
                pass
        at_rung = len(trial.curve.scores) == RUNG
        return Pause("it is among the best") if at_rung else GoOn()

    def next(self, standing: Standing) -> Begin | Resume | Wait:
        paused, trials = standing.of_kind("paused"), standing.budget.trials
        if standing.budget.unclaimed:
            return Begin()
        all_there = len(paused) == trials
        going = any(len(curve.scores) > RUNG for curve in standing.curves)
        if len(paused) > trials - BEST and (all_there or going):
            return Resume(max(paused, key=lambda c: (c.scores, -c.number)).number)
        return Wait()


def obey(deadly: Path | None = None) -> None:
    """Have studies without a pruner scheduled so in this process."""
    SCHEDULERS["none"] = lambda search: BestGoOn(deadly)


def main(url: str, study: str, place: str, name: str) -> None:
    obey(Path(place))
    torch.set_num_threads(1)
    storage = open_storage(url, create=False)
    worker = Worker(
        name=name,
        storage=storage,
        device=device_named("cpu"),
        threads=1,
        checkpoints=Checkpoints(f"{place}/checkpoints", every_s=0.0),
        stopped=lambda: False,
        only=study,
    )
    worker.work()
    storage.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
