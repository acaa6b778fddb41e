"""Keeping a lease alive while its trial trains."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType

import optuna
from sqlalchemy.exc import SQLAlchemyError

from hpsearch.search.ledger import LEASE_S, Lease, Ledger

logger = logging.getLogger(__name__)

RENEW_EVERY_S = LEASE_S / 4


class HeldLease:
    """A lease renewed by a thread, that also learns from the ledger when the time is up.

    The thread outlives database errors: it tries again until the lease is known to be lost.
    """

    def __init__(self, ledger: Ledger, lease: Lease) -> None:
        self.lease = lease
        self.lost = False
        self._ledger = ledger
        self._ends_at = float("inf")  # on this process's monotonic clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_stopped, daemon=True)

    def __enter__(self) -> HeldLease:
        self._read_time_left()
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

    def time_is_up(self) -> bool:
        """Whether what is left of the study's time is needed for its final training."""
        return time.monotonic() >= self._ends_at

    def _renew_until_stopped(self) -> None:
        while not self._stop.wait(RENEW_EVERY_S):
            try:
                if not self._ledger.renew(self.lease):
                    self.lost = True
                    return
                self._read_time_left()
            except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
                logger.warning(
                    "lease on slot %d not renewed, trying again: %s",
                    self.lease.slot,
                    type(error).__name__,
                )

    def _read_time_left(self) -> None:
        row = self._ledger.study(self.lease.study)
        if row is None:
            self.lost = True
        elif row.time_left_s is None:
            self._ends_at = float("inf")
        else:
            self._ends_at = time.monotonic() + row.time_left_s - row.final_s
