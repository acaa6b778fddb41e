"""Looking after workers from their start to their stop: the same for a launch and for a pool."""

from __future__ import annotations

import time
from collections.abc import Callable

from hpsearch.workers.protocol import Workers

LOOK_EVERY_S = 0.1  # at the workers


def supervise(
    workers: Workers, interrupted: Callable[[], bool], meanwhile: Callable[[], float]
) -> bool:
    """Have workers at work until none is left, or `interrupted()` turns true; return which it was.

    `meanwhile()` is called at first and now and then, and says after how many seconds again.
    Workers are stopped in the end, whatever happens.
    """
    try:
        if interrupted():
            return True
        due = time.monotonic() + meanwhile()
        workers.start()
        while workers.look():
            if interrupted():
                return True
            time.sleep(LOOK_EVERY_S)
            if time.monotonic() >= due:
                due = time.monotonic() + meanwhile()
        return False
    finally:
        workers.stop()
