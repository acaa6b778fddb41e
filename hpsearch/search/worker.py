"""A worker: takes leases on trials, of one study or of whichever is open, and runs them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from hpsearch.data.prepared import find_prepared, load_search_data
from hpsearch.errors import DataError, HpsearchError, StudyMismatchError, StudyNotFoundError
from hpsearch.machine.memory import MemoryWatch
from hpsearch.search import finalists as confirm
from hpsearch.search.attempt import device_name
from hpsearch.search.finalist_training import retrain
from hpsearch.search.idle import pause, versions
from hpsearch.search.runner import TrialRunner
from hpsearch.storage.checkpoints import Checkpoints
from hpsearch.storage.leases import Lease, LeaseLostError
from hpsearch.storage.retry import DATABASE_ERRORS
from hpsearch.storage.schema import FINALIST
from hpsearch.storage.storage import Storage
from hpsearch.storage.studies import DONE, STOPPED
from hpsearch.storage.waiting import Waiting
from hpsearch.storage.worker_registry import SEEN_EVERY_S
from hpsearch.training.precision import faster_precision

logger = logging.getLogger(__name__)

FIRST_POLL_S, POLL_S = 0.1, 1.0  # between looks at the ledger by a worker of one launch, growing
IDLE_POLL_S = 5.0  # by a worker of a pool, which may wait for days
TRY_AGAIN_S = 60.0  # a study with which something went wrong here


@dataclass(frozen=True)
class Lack:
    """Why a worker does not serve a study, as it was launched last, and when it looks again."""

    why: str
    edition: float
    again_at: float  # on this process's monotonic clock


@dataclass
class Worker:
    """One worker process: its name, its device, and what tells it to stop.

    `only` names the one study it serves; without it, every open study of the storage is served.
    `waits` is whether it waits for more when there is nothing to do.
    """

    name: str
    storage: Storage
    device: torch.device
    threads: int
    checkpoints: Checkpoints
    stopped: Callable[[], bool]
    progressed: Callable[[], None] = lambda: None  # called when a trial begins or gets further
    only: str | None = None
    waits: bool = False
    memory: MemoryWatch = field(default_factory=MemoryWatch)
    _runners: dict[str, tuple[float, TrialRunner]] = field(default_factory=dict, init=False)
    _lacks: dict[str, Lack] = field(default_factory=dict, init=False)
    _seen_at: float = field(default=float("-inf"), init=False)

    def work(self) -> bool:
        """Run trials until there is nothing left to do, or `stopped()` turns true.

        Returns False where the process has grown and a fresh one should go on in its place.
        """
        self.storage.workers.enter(self.name, device_name(self.device), versions())
        poll_s = FIRST_POLL_S
        try:
            while not self.stopped():
                self._show_itself()
                lease = self._next()
                if lease is not None:
                    self._run(lease)
                    if self.memory.has_grown():
                        return False
                    poll_s = FIRST_POLL_S
                elif self._is_done():
                    return True
                else:
                    pause(poll_s if self.only else IDLE_POLL_S, self.stopped)
                    poll_s = min(2 * poll_s, POLL_S)
            return True
        finally:
            self.storage.workers.leave(self.name)

    def _next(self) -> Lease | None:
        """Return a lease on what is due, a trial or a finalist; None where this worker has none."""
        waiting = self.storage.ledger.waiting()
        self._forget_all_but({study.name for study in waiting})
        for study in waiting:
            if self.only not in (None, study.name):
                continue
            try:
                lease = self._claim(study)
            except Exception as error:  # whatever is wrong with it, others are served
                self._pass_over(study.name, study.edition, error)
                continue
            if lease is not None:
                return lease
        return None

    def _claim(self, study: Waiting) -> Lease | None:
        """Return a lease on what is due in one study."""
        if study.has_work and self._can_serve(study):
            _, runner = self._runners[study.name]
            return runner.claim(study.edition)
        if study.search_is_over and study.confirms and self._can_serve(study):
            return confirm.claim(self.storage, study.name, self.name)
        return None

    def _run(self, lease: Lease) -> None:
        edition, runner = self._runners[lease.study]
        self.progressed()
        try:
            if lease.kind == FINALIST:
                retrain(runner, lease)
            else:
                runner.run(lease)
        except LeaseLostError as lost:
            logger.info("%s is another worker's, or deleted, by now; it is given up", lost)
        except Exception as error:
            self._pass_over(lease.study, edition, error)
            self.storage.leases.expire_worker(self.name)  # another may have more luck with it
        else:
            self._lacks.pop(lease.study, None)

    def _pass_over(self, study: str, edition: float, error: Exception) -> None:
        """Leave a study alone for a while with which something went wrong.

        Raises the error where it is the database's, or no other study is served.
        """
        if self.storage.ledger.study(study) is None:
            logger.info("study '%s' was deleted", study)
            return
        if self.only is not None or isinstance(error, DATABASE_ERRORS):
            raise error
        before = self._lacks.get(study)
        said = isinstance(error, HpsearchError)  # all there is to say, without a traceback
        why = str(error) if said else f"{type(error).__name__}: {error}"
        if before is None or before.why != why:
            trace = None if said else error
            logger.error("study '%s' is passed over: %s", study, why, exc_info=trace)
        self._lack(study, edition, why, TRY_AGAIN_S)

    def _forget_all_but(self, studies: set[str]) -> None:
        """Keep nothing of studies that are done, deleted or paused."""
        for kept in (self._runners, self._lacks):
            for study in kept.keys() - studies:
                del kept[study]

    def _lack(self, study: str, edition: float, why: str, for_s: float) -> None:
        """Note why a study is not served here, and tell the others at once."""
        before = self._lacks.get(study)
        if before is None or before.why != why:
            self._seen_at = float("-inf")
        self._lacks[study] = Lack(why, edition, time.monotonic() + for_s)

    def _is_done(self) -> bool:
        """Whether to wait would be in vain."""
        if self.only is None:
            return not self.waits and all(
                study.is_over or study.name in self._lacks
                for study in self.storage.ledger.waiting()
            )
        row = self.storage.ledger.study(self.only)
        if row is None or row.state in (STOPPED, DONE):
            return True
        here = [study for study in self.storage.ledger.waiting() if study.name == self.only]
        if self.only in self._lacks:
            raise StudyMismatchError(f"study '{self.only}': {self._lacks[self.only].why}")
        return any(study.is_over or (study.time_is_up and not study.confirms) for study in here)

    def _can_serve(self, study: Waiting) -> bool:
        """Whether this machine has the data of a study, and this process has loaded it."""
        lack = self._lacks.get(study.name)
        if lack is not None and lack.edition == study.edition and time.monotonic() < lack.again_at:
            return False
        edition, _ = self._runners.get(study.name, (None, None))
        if edition == study.edition:
            return True
        try:
            self._runners[study.name] = (study.edition, self._runner_for(study))
        except (DataError, StudyMismatchError, StudyNotFoundError) as error:
            if lack is None or lack.why != str(error):
                logger.info("study '%s' waits for another worker: %s", study.name, error)
            self._lack(study.name, study.edition, str(error), for_s=0.0)
            return False
        self._lacks.pop(study.name, None)
        return True

    def _runner_for(self, study: Waiting) -> TrialRunner:
        """Return a runner of a study's trials; StudyMismatchError where its data is not here."""
        folder = find_prepared(study.fingerprint)
        if folder is None:
            raise StudyMismatchError(
                f"its data (fingerprint {study.fingerprint[:12]}) is not prepared on this machine"
            )
        row = self.storage.ledger.study(study.name)
        if row is None:
            raise StudyNotFoundError(f"study '{study.name}' was deleted")
        spec = row.spec
        data = load_search_data(folder)
        precision = row.precision or self.storage.ledger.decide_precision(
            study.name, faster_precision(spec.search.precision, data, self.device)
        )
        return TrialRunner(
            worker=self.name,
            storage=self.storage,
            spec=spec,
            data=data,
            device=self.device,
            precision=precision,
            threads=self.threads,
            checkpoints=self.checkpoints,
            stopped=self.stopped,
            epoch_over=self.progressed,
        )

    def _show_itself(self) -> None:
        now = time.monotonic()
        if now - self._seen_at > SEEN_EVERY_S:
            note = "; ".join(
                f"{study}: {lack.why.replace('; ', ', ')}" for study, lack in self._lacks.items()
            )
            self.storage.workers.see(self.name, note)
            self._seen_at = now
