"""The one place where a trial of Optuna's and a training meet."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from optuna.trial import Trial

from hpsearch.data.prepared import SearchData
from hpsearch.search.decisions import GoOn, Pause, Stop
from hpsearch.search.kinds import RESUMED
from hpsearch.search.progress import epochs_of
from hpsearch.search.scheduling import Scheduling
from hpsearch.storage.checkpoints import Checkpoints
from hpsearch.storage.optuna_private import id_of
from hpsearch.storage.optuna_trials import note
from hpsearch.storage.records import TrialNotes
from hpsearch.study.config import TrialConfig
from hpsearch.study.tasks import MINIMISED, WORDS, shown
from hpsearch.training.fitting import check_fits
from hpsearch.training.state import Epoch, State, Training, from_bytes, to_bytes

logger = logging.getLogger(__name__)

SAVE_SHARE = 0.05  # of the time may go into keeping


@dataclass
class SavedTraining:
    """The checkpoint of one trial: read once, written now and then, removed in the end."""

    checkpoints: Checkpoints
    study: str
    training: str
    config: TrialConfig
    state: State | None = None  # what an earlier worker left
    _next_at: float = field(init=False)

    def __post_init__(self) -> None:
        self._next_at = time.monotonic() + self.checkpoints.every_s

    def load(self, data: SearchData, device: torch.device) -> SavedTraining:
        """Read what an earlier worker kept of the trial, if anything usable; returns itself."""
        content = self.checkpoints.load(self.study, self.training, self.config)
        if content is None:
            return self
        try:
            state = from_bytes(content, device)
            check_fits(state, self.config, data, device)
            self.state = state
        except ValueError as error:
            logger.warning("a checkpoint of '%s' %s; that trial starts again", self.study, error)
        return self

    @property
    def epochs(self) -> int:
        """How many epochs are in what was read."""
        return 0 if self.state is None else len(self.state["epochs"])

    @property
    def trained_s(self) -> float:
        """How long what was read took to train."""
        if self.state is None:
            return 0.0
        whole: float = sum(epoch["duration_s"] for epoch in self.state["epochs"])
        return whole + float(self.state["elapsed_s"])

    def keep(self, training: Training, now: bool = False) -> None:
        """Keep a training, if it is time to do so again, or `now`."""
        began = time.monotonic()
        if not now and began < self._next_at:
            return
        content = to_bytes(training.state())
        self.checkpoints.save(self.study, self.training, self.config, content)
        ended = time.monotonic()
        self._next_at = ended + max(self.checkpoints.every_s, (ended - began) / SAVE_SHARE)

    def drop(self) -> None:
        """Remove what was kept."""
        self.checkpoints.drop(self.study, self.training, self.config)


class Objective:
    """A trial of Optuna's while its configuration trains, and what that comes to.

    Every epoch's **test** metric is reported, and the scheduler asked what becomes of the trial.
    `known` is how many epochs the trial had before.
    """

    def __init__(self, trial: Trial, config: TrialConfig, scheduling: Scheduling) -> None:
        stored = trial.storage.get_trial(id_of(trial))
        trained = epochs_of(stored)  # reports beyond are of an early stop that nobody heard of
        self._reported = {n: v for n, v in stored.intermediate_values.items() if n <= trained}
        self.known = len(self._reported)
        # Of an answer that a worker died on nobody knows: a scheduler that pauses is asked again,
        # but not about the epoch after which the trial was resumed.
        resumed = stored.user_attrs.get(RESUMED, 0)
        self._decided = max(resumed, self.known - scheduling.pauses)
        self._trial, self._config, self._scheduling = trial, config, scheduling
        self._epochs: list[Epoch] = []

    def hear(self, epoch: Epoch) -> None:
        """Record an epoch, and report its test metric, where that was not done before."""
        self._epochs[epoch.number - 1 :] = [epoch]  # it begins again where memory was short
        if self._reported.get(epoch.number) != epoch.test_metric:
            _record(self._trial, self._epochs)

    def after_epoch(self, epoch: Epoch) -> GoOn | Stop | Pause:
        """Return what becomes of the trial after an epoch that was heard, and is not its last."""
        if epoch.number <= self._decided:
            return GoOn()
        self._decided = epoch.number
        return self._scheduling.after_epoch(self._trial)

    def value(self, training: Training) -> float:
        """Return the test metric of the epoch that counts: the last one, or under early stopping
        the best.

        A trial that stops early is complete, and is reported to stand still at its best value in
        all epochs that it was spared: the median pruner compares trials by epoch, and one that
        trains on has to beat what others had by then, not only those that needed as long.
        """
        result = training.result
        if self._config.early_stopping is not None:
            spared = range(len(training.epochs) + 1, self._config.epochs + 1)
            best = TrialNotes(best_epoch=result.number)
            note(self._trial, best, steps=dict.fromkeys(spared, result.test_metric))
        return result.test_metric


def too_weak(config: TrialConfig, epoch: Epoch, judge: str) -> str:
    """Return why a trial was stopped after an epoch."""
    return (
        f"test {WORDS[config.metric]} {shown(config.metric, epoch.test_metric)} after epoch "
        f"{epoch.number} was too {'high' if config.metric in MINIMISED else 'low'} for {judge}"
    )


def _record(trial: Trial, epochs: list[Epoch]) -> None:
    """Write the curve so far, and report the test metric of its last epoch."""
    notes = TrialNotes(
        curve=[recorded(epoch) for epoch in epochs],
        duration_s=round(sum(epoch.duration_s for epoch in epochs), 3),
    )
    note(trial, notes, steps={epochs[-1].number: epochs[-1].test_metric})


def recorded(epoch: Epoch) -> dict[str, Any]:
    """Return an epoch as trials store it: plain numbers, losses that are none as None."""

    def finite(number: float) -> float | None:
        return number if math.isfinite(number) else None

    return {
        "epoch": epoch.number,
        "train_loss": finite(epoch.train_loss),
        "train_metric": finite(epoch.train_metric),
        "test_loss": finite(epoch.test_loss),
        "test_metric": finite(epoch.test_metric),
        "duration_s": round(epoch.duration_s, 3),
    }
