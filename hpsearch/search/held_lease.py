"""Keeping a lease alive while its trial trains."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType

from hpsearch.search.leases import LEASE_S, Lease, Leases, Pulse
from hpsearch.search.ledger import OPEN, PAUSED, STOPPED
from hpsearch.search.patience import DATABASE_ERRORS, Patience
from hpsearch.search.tables import FINAL_SLOT

logger = logging.getLogger(__name__)

RENEW_EVERY_S = LEASE_S / 12
TRY_EVERY_S = 0.3  # after an error: another outage may follow before the lease is safe


class HeldLease:
    """A lease renewed by a thread, that also learns from the ledger when its trial has to stop.

    The thread outlives database errors: it tries again until the lease is known to be lost. It
    says when batches and epochs were over; a trial that hangs holds its lease without progress,
    which its supervisor sees.
    """

    def __init__(self, leases: Leases, lease: Lease) -> None:
        self.lease = lease
        self.lost = False
        self._leases = Leases(leases.engine, Patience(leases.patience.shown))  # none: it may end
        self._state = OPEN
        self._ends_at = float("inf")  # on this process's monotonic clock
        self._batch_over = True
        self._epoch_over = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_stopped, daemon=True)

    def __enter__(self) -> HeldLease:
        self._renew()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def batch_over(self) -> None:
        """Note that the trial goes on."""
        self._batch_over = True

    def epoch_over(self) -> None:
        """Note that the trial has come an epoch further than ever: its worker does it no harm."""
        self._epoch_over = True

    def why_stop(self) -> str | None:
        """Return why the trial cannot go on at this worker, None while it can."""
        if self.lost:
            return "another worker has it"
        if self.lease.slot == FINAL_SLOT:  # it has the rest of the time, and a done study may be
            return f"the study is {self._state}" if self._state in (PAUSED, STOPPED) else None
        if self._state != OPEN:
            return f"the study is {self._state}"
        if time.monotonic() >= self._ends_at:
            return "the study's time is up"
        return None

    def _renew_until_stopped(self) -> None:
        answered = True
        while not self.lost and not self._stop.wait(RENEW_EVERY_S if answered else TRY_EVERY_S):
            answered = self._renew()

    def _renew(self) -> bool:
        """Renew the lease; False where the database did not answer."""
        batches, epochs = self._batch_over, self._epoch_over
        self._batch_over = self._epoch_over = False
        try:
            pulse = self._leases.renew(self.lease, batches, epochs)
        except DATABASE_ERRORS as error:
            if batches:  # and never back to False: more may have been over meanwhile
                self._batch_over = True
            if epochs:
                self._epoch_over = True
            logger.info(
                "lease on slot %d of '%s' not renewed, trying again: %s",
                self.lease.slot,
                self.lease.study,
                type(error).__name__,
            )
            return False
        self.lost = pulse is None
        if pulse is not None:
            self._state, self._ends_at = pulse.state, _ends_at(pulse)
        return True


def _ends_at(pulse: Pulse) -> float:
    """Return when, on this process's clock, what is left of the time is for what comes after."""
    if pulse.time_left_s is None:
        return float("inf")
    return time.monotonic() + pulse.time_left_s - pulse.kept_s
