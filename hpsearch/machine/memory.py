"""How much memory a worker process holds, and when a fresh process should go on in its place."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

SETTLED_AFTER = 20  # trials, after which a worker's memory is what trials of this kind need
GROWTH = 1.25  # times that memory: it is time to give some back, or for a fresh process


def memory_bytes() -> int:
    """Return how much memory of its own this process holds; 0 where the system does not say."""
    if sys.platform != "linux":
        return 0
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    return int(found.group(1)) * 1024 if found else 0


def give_back() -> None:
    """Give the system back what the allocator keeps for the next step; takes 0.2 s."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # another libc than glibc
        ctypes.CDLL(None).malloc_trim(0)


@dataclass
class MemoryWatch:
    """Whether a process has grown far beyond what its first trials took.

    The allocator keeps what it once had, and torch's libraries keep compiled code for every shape
    they have met, 2 to 3 MB for each architecture (measured over 200 of them).
    """

    growth: float = GROWTH
    settled_after: int = SETTLED_AFTER
    _trials: int = field(default=0, init=False)
    _settled_bytes: int = field(default=0, init=False)

    def has_grown(self) -> bool:
        """Note that a trial is over; whether a fresh process should go on in this one's place."""
        self._trials += 1
        held = memory_bytes()
        if self._trials <= self.settled_after:
            self._settled_bytes = max(self._settled_bytes, held)
            return False
        limit = self.growth * self._settled_bytes
        if held > limit:
            give_back()
        return held > limit and memory_bytes() > limit
