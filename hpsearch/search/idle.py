"""A worker that nobody has work for yet: it waits without torch, which fills half a gigabyte."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.metadata import version

from hpsearch.storage.storage import Storage
from hpsearch.storage.worker_registry import SEEN_EVERY_S

# More often than a worker that has torch looks (5 s): loading it takes 1 to 2 s then.
POLL_S = 3.0
LOOK_EVERY_S = 0.1  # at whether it should stop


def versions() -> str:
    """Return what runs trials here, as the list of workers has it; torch is not loaded for it."""
    return f"hpsearch {version('hpsearch')}, torch {version('torch')}"


def wait_for_work(storage: Storage, name: str, device: str, stopped: Callable[[], bool]) -> bool:
    """Return whether an open study has work, once one has or `stopped()` turns true.

    Work counts where the study's data is not here yet, too: what a worker loads for it, it loads
    beside. The worker is in the list of workers meanwhile, on the `device` of that name.
    """
    due = False
    storage.workers.enter(name, device, versions())
    try:
        seen_at = time.monotonic()
        while not stopped():
            if due := _is_due(storage):
                break
            pause(POLL_S, stopped)
            if time.monotonic() - seen_at > SEEN_EVERY_S:
                storage.workers.see(name)
                seen_at = time.monotonic()
        return due
    finally:
        if not due:
            storage.workers.leave(name)


def pause(seconds: float, stopped: Callable[[], bool]) -> None:
    """Wait so long, or until `stopped()` turns true."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends and not stopped():
        time.sleep(LOOK_EVERY_S)


def _is_due(storage: Storage) -> bool:
    """Whether a worker might claim a trial or a finalist now."""
    return any(
        study.has_work or (study.search_is_over and study.confirms)
        for study in storage.ledger.waiting()
    )
