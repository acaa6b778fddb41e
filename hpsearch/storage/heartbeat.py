"""Keeping a lease alive while its trial trains."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType

from hpsearch.storage.leases import LEASE_S, Lease, Leases, Pulse
from hpsearch.storage.retry import DATABASE_ERRORS, Retry, first_cause
from hpsearch.storage.schema import FINAL, SCHEMA_VERSION
from hpsearch.storage.studies import OPEN, PAUSED, STOPPED

logger = logging.getLogger(__name__)

RENEW_EVERY_S = LEASE_S / 12
TRY_EVERY_S = 0.3  # after an error: another outage may follow before the lease is safe
REMIND_EVERY_S = 60.0  # of an outage, in the log


class HeldLease:
    """A lease renewed by a thread, that also learns from the ledger when its trial has to stop.

    The thread outlives database errors: it tries again until the lease is known to be lost. It
    says when batches and epochs were over; a trial that hangs holds its lease without progress,
    which its supervisor sees.
    """

    def __init__(self, leases: Leases, lease: Lease) -> None:
        self.lease = lease
        self.lost = False
        self._leases = Leases(leases.engine, Retry(leases.retry.shown))  # none: it may end
        self._state = OPEN
        self._schema = SCHEMA_VERSION
        self._ends_at = float("inf")  # on this process's monotonic clock
        self._batch_over = True
        self._epoch_over = False
        self._silent_since: float | None = None  # of the database, on this process's clock
        self._reminded_at = 0.0
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
        if self._schema != SCHEMA_VERSION:
            return f"the storage was upgraded to schema version {self._schema}"
        if self.lease.kind == FINAL:  # it has the rest of the time, and a done study may be
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
            self._say_silent(error)
            return False
        self._silent_since = None
        self.lost = pulse is None
        if pulse is None:
            logger.info("%s is held no longer", self._name)
        else:
            self._state, self._ends_at = pulse.state, _ends_at(pulse)
            self._schema = pulse.schema
        return True

    @property
    def _name(self) -> str:
        return f"the lease on {self.lease.on} of '{self.lease.study}'"

    def _say_silent(self, error: Exception) -> None:
        """Log that the database does not answer: once, and now and then while that lasts."""
        now = time.monotonic()
        due = self._silent_since is None or now - self._reminded_at >= REMIND_EVERY_S
        self._silent_since = now if self._silent_since is None else self._silent_since
        self._reminded_at = now if due else self._reminded_at
        logger.log(
            logging.INFO if due else logging.DEBUG,
            "%s: not renewed, trying again for %.0f s: %s",
            self._name,
            now - self._silent_since,
            first_cause(error),
        )


def _ends_at(pulse: Pulse) -> float:
    """Return when, on this process's clock, what is left of the time is for what comes after."""
    if pulse.time_left_s is None:
        return float("inf")
    return time.monotonic() + pulse.time_left_s - pulse.kept_s
