"""When a process should stop: it was asked to, or nobody is there any more for whom it works."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable


def stop_signals() -> Callable[[], bool]:
    """Return what tells that this process should stop: SIGTERM came, or its parent died.

    Ctrl-C reaches the whole terminal; the parent alone answers it. No lock is shared with other
    processes: one that is killed while it holds a lock would stop them all.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    terminated = False

    def note(_number: int, _frame: object) -> None:
        nonlocal terminated
        terminated = True

    signal.signal(signal.SIGTERM, note)
    return or_orphaned(lambda: terminated, os.getppid())


def or_orphaned(asked: Callable[[], bool], parent: int) -> Callable[[], bool]:
    """Return whether to stop: that was `asked`, or the process of this id is no parent any more."""
    return lambda: asked() or os.getppid() != parent
