"""Training one configuration to its end under a lease: what trials, finalists and finals share."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch

from hpsearch.data.prepared import SearchData
from hpsearch.search.decisions import GoOn, Pause, Stop
from hpsearch.search.objective import SavedTraining
from hpsearch.storage.checkpoints import Checkpoints
from hpsearch.study.config import TrialConfig
from hpsearch.training.loop import Interrupted, train
from hpsearch.training.state import Epoch, Training

logger = logging.getLogger(__name__)

MICRO_BATCHES = 4  # a batch is cut into so many where the whole one does not fit into memory
TOO_LONG = "it takes too long"


class Held(Protocol):
    """A lease that somebody keeps alive, here or in another process (see `HeldLease`)."""

    @property
    def lost(self) -> bool: ...

    def batch_over(self) -> None: ...

    def epoch_over(self) -> None: ...

    def why_stop(self) -> str | None: ...


@dataclass(frozen=True)
class Ended:
    """A training that has ended, and how.

    `training` has the weights that count; it is None where there is none worth having, and `reason`
    says why: diverged, or infeasible for want of what `infeasible` names, `memory` or
    `trial_timeout`. `config` is what was trained, in parts of a batch where memory was short.
    With a `decision` it has not come to its end: it was stopped, or is kept where it pauses.
    """

    config: TrialConfig
    epochs: tuple[Epoch, ...] = ()
    training: Training | None = None
    reason: str | None = None
    infeasible: str | None = None
    decision: Stop | Pause | None = None


@dataclass(frozen=True)
class Attempt:
    """One worker's try at a training: with which data, on what, under which lease and limits.

    Checkpoints lie in `checkpoints` under `study`, `training` and the configuration. `further()` is
    called when a training has come an epoch further than ever, `hear` for every epoch, those that
    an earlier attempt trained included; `known` is how many were heard of before, kept or not.
    `after_epoch` decides what follows on each but the last. `cut` hears of a configuration with
    a batch in parts, by whoever comes back with that one. With `keeps_last` the whole training is
    kept, too, for whoever has to do something with it before it is safe.
    """

    data: SearchData
    device: torch.device
    held: Held
    checkpoints: Checkpoints
    study: str
    training: str
    stopped: Callable[[], bool]
    timeout_s: float | None = None
    further: Callable[[], None] = lambda: None
    hear: Callable[[Epoch], None] = lambda epoch: None
    keeps_last: bool = False
    known: int = 0
    after_epoch: Callable[[Epoch], GoOn | Stop | Pause] = lambda epoch: GoOn()
    cut: Callable[[TrialConfig], None] | None = None
    called: str = ""  # in the log
    event: Mapping[str, object] | None = None  # of the log, where it is given back

    def train(self, config: TrialConfig) -> Ended | None:
        """Return how the training of a configuration ended.

        None where it was interrupted: it is kept, for whoever has the lease next. Where memory is
        short it is tried once more with a batch in parts. Errors of any other kind are raised.
        """
        torch.set_num_threads(config.threads)
        smaller, saved = in_parts(config), self._saved(config)
        if smaller is not None and saved.state is None and self.cut is None:
            before = self._saved(smaller)  # of an attempt whose memory was short, too
            if before.state is not None:
                smaller, saved = None, before
        ended = self._tried(saved)
        if ended is None or ended.infeasible != "memory" or smaller is None:
            return ended
        saved.drop()
        free_memory(self.device)
        logger.warning(
            "%s ran out of memory; again, a batch in %d parts", self._name, smaller.micro_batches
        )
        if self.cut is not None:
            self.cut(smaller)
        return self._tried(self._saved(smaller))

    def drop(self, config: TrialConfig) -> None:
        """Remove whatever is kept of a training, once what came of it is safe."""
        for trained in (config, in_parts(config)):
            if trained is not None:
                self.checkpoints.drop(self.study, self.training, trained)

    @property
    def _name(self) -> str:
        return self.called or f"the training {self.training} of '{self.study}'"

    def _saved(self, config: TrialConfig) -> SavedTraining:
        return SavedTraining(self.checkpoints, self.study, self.training, config).load(
            self.data, self.device
        )

    def _tried(self, saved: SavedTraining) -> Ended | None:
        """Return how a training ended, None where it was interrupted."""
        watch = Watch(self.held, self.stopped, self.timeout_s, saved.trained_s)
        try:
            return self._trained(saved, watch)
        except Interrupted as asked:
            if watch.why == TOO_LONG:
                assert self.timeout_s is not None
                reason, what = took_too_long(self.timeout_s), "trial_timeout"
                epochs = tuple(asked.training.epochs)
                return Ended(saved.config, epochs, reason=reason, infeasible=what)
            if not self.held.lost:
                saved.keep(asked.training, now=True)
                logger.info("%s is given back: %s", self._name, watch.why, extra=self.event)
            return None
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        reason = no_memory(saved.config, self.device)  # outside of `except`, which holds tensors
        return Ended(saved.config, reason=reason, infeasible="memory")

    def _trained(self, saved: SavedTraining, watch: Watch) -> Ended:
        config = saved.config
        for epoch, training in train(config, self.data, self.device, watch.must_stop, saved.state):
            self.hear(epoch)
            if epoch.diverged:
                reason = f"the loss was no finite number after epoch {epoch.number}"
                return Ended(config, tuple(training.epochs), reason=reason)
            last = epoch.number == config.epochs or training.turned
            if epoch.number > max(saved.epochs, self.known):
                self.held.epoch_over()
                self.further()
            decision = GoOn() if last else self.after_epoch(epoch)
            if not isinstance(decision, GoOn):
                return self._left(saved, training, decision)
            if epoch.number > saved.epochs and (self.keeps_last or not last):
                saved.keep(training, now=last)
        return Ended(config, tuple(training.epochs), training)

    def _left(self, saved: SavedTraining, training: Training, decision: Stop | Pause) -> Ended:
        """Return a training that ends, or pauses, before its last epoch."""
        if isinstance(decision, Pause):
            saved.keep(training, now=True)
        return Ended(saved.config, tuple(training.epochs), decision=decision)


class Watch:
    """Asks, between two batches, whether a training has to stop, and remembers why."""

    def __init__(
        self,
        held: Held,
        stopped: Callable[[], bool],
        timeout_s: float | None,
        trained_s: float,
    ) -> None:
        self._held = held
        self._stopped = stopped
        self._timeout_s = timeout_s
        self._began = time.monotonic() - trained_s  # what earlier attempts took counts, too
        self.why = ""

    def must_stop(self) -> bool:
        self._held.batch_over()
        if self._stopped():
            self.why = "its worker was asked to stop"
        elif self._timeout_s is not None and time.monotonic() - self._began > self._timeout_s:
            self.why = TOO_LONG
        else:
            self.why = self._held.why_stop() or ""
        return bool(self.why)


def in_parts(config: TrialConfig) -> TrialConfig | None:
    """Return a configuration with smaller parts of a batch, None where they are small already."""
    if config.micro_batches > 1 or config.batch_size == 1:
        return None
    return config.model_copy(update={"micro_batches": min(MICRO_BATCHES, config.batch_size)})


def free_memory(device: torch.device) -> None:
    """Give back what a training held that did not fit."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def no_memory(config: TrialConfig, device: torch.device) -> str:
    """Return why a training that was tried in small parts as well is infeasible here."""
    return (
        f"out of memory on {device_name(device)}, even with a batch of {config.batch_size} in "
        f"{config.micro_batches} part(s)"
    )


def took_too_long(timeout_s: float) -> str:
    """Return why a training was ended before its last epoch."""
    return f"it took longer than search.trial_timeout, {timeout_s} s"


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that a training does not fit into the memory of its device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "allocate memory" in said or "out of memory" in said
    )


def device_name(device: torch.device) -> str:
    """Return what a trial records of its device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
