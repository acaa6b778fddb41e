"""A worker: takes leases on trials, of one study or of whichever is open, and runs them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version

import torch

from hpsearch.data.prepared import find_prepared, load_search_data
from hpsearch.errors import DataError, StudyMismatchError, StudyNotFoundError
from hpsearch.search import confirm
from hpsearch.search.attempt import device_name
from hpsearch.search.checkpoints import Checkpoints
from hpsearch.search.leases import Lease
from hpsearch.search.ledger import DONE, STOPPED, Waiting
from hpsearch.search.memory import MemoryWatch
from hpsearch.search.retrain import retrain
from hpsearch.search.storage import Storage
from hpsearch.search.tables import CONFIRM_SLOT
from hpsearch.search.trials import TrialRunner
from hpsearch.search.worker_list import SEEN_EVERY_S
from hpsearch.study.spec import StudySpec
from hpsearch.training.precision import faster_precision

logger = logging.getLogger(__name__)

FIRST_POLL_S, POLL_S = 0.1, 1.0  # between looks at the ledger by a worker of one launch, growing
IDLE_POLL_S = 5.0  # by a worker of a pool, which may wait for days


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
    _lacks: dict[str, str] = field(default_factory=dict, init=False)  # study -> why not here
    _seen_at: float = field(default=float("-inf"), init=False)

    def work(self) -> bool:
        """Run trials until there is nothing left to do, or `stopped()` turns true.

        Returns False where the process has grown and a fresh one should go on in its place.
        """
        versions = f"hpsearch {version('hpsearch')}, torch {version('torch')}"
        self.storage.workers.enter(self.name, device_name(self.device), versions)
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
                    self._pause(poll_s if self.only else IDLE_POLL_S)
                    poll_s = min(2 * poll_s, POLL_S)
            return True
        finally:
            self.storage.workers.leave(self.name)

    def _next(self) -> Lease | None:
        """Return a lease on what is due, a trial or a finalist; None where this worker has none."""
        for study in self.storage.ledger.waiting():
            if self.only not in (None, study.name):
                continue
            lease = None
            if study.has_work and self._can_serve(study):
                lease = self.storage.leases.claim(study.name, self.name)
            elif study.search_is_over and study.confirms and self._can_serve(study):
                lease = confirm.claim(self.storage, study.name, self.name)
            if lease is not None:
                return lease
        return None

    def _run(self, lease: Lease) -> None:
        _, runner = self._runners[lease.study]
        self.progressed()
        try:
            if lease.slot <= CONFIRM_SLOT:
                retrain(runner, lease)
            else:
                runner.run(lease)
        except Exception:
            if self.storage.ledger.study(lease.study) is not None:
                raise
            logger.info("study '%s' was deleted; its trial is given up", lease.study)

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
            raise StudyMismatchError(f"study '{self.only}': {self._lacks[self.only]}")
        return any(study.is_over or (study.time_is_up and not study.confirms) for study in here)

    def _can_serve(self, study: Waiting) -> bool:
        """Whether this machine has the data of a study, and this process has loaded it."""
        edition, _ = self._runners.get(study.name, (None, None))
        if edition == study.edition:
            return True
        try:
            self._runners[study.name] = (study.edition, self._hire(study))
        except (DataError, StudyMismatchError, StudyNotFoundError) as error:
            if self._lacks.get(study.name) != str(error):
                logger.info("study '%s' waits for another worker: %s", study.name, error)
                self._lacks[study.name] = str(error)
                self._seen_at = float("-inf")  # tell the others at once
            return False
        self._lacks.pop(study.name, None)
        return True

    def _hire(self, study: Waiting) -> TrialRunner:
        """Return a runner of a study's trials; StudyMismatchError where its data is not here."""
        folder = find_prepared(study.fingerprint)
        if folder is None:
            raise StudyMismatchError(
                f"its data (fingerprint {study.fingerprint[:12]}) is not prepared on this machine"
            )
        row = self.storage.ledger.study(study.name)
        if row is None:
            raise StudyNotFoundError(f"study '{study.name}' was deleted")
        spec = StudySpec.model_validate(row.spec)
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
            note = "; ".join(f"{study}: {why}" for study, why in self._lacks.items())
            self.storage.workers.see(self.name, note)
            self._seen_at = now

    def _pause(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends and not self.stopped():
            time.sleep(0.1)
