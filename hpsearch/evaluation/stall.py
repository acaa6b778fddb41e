"""Noticing that a process which trains for a final hangs."""

from __future__ import annotations

import time
from typing import Any

START_S = 120.0  # that a process may take to its first batch, on a machine that is busy


class Stall:
    """Tells when a process has given no sign of life for too long; `beat` counts its signs."""

    def __init__(self, beat: Any, limit_s: float) -> None:
        self._beat, self._limit_s = beat, limit_s
        self._seen, self._since = 0, time.monotonic()

    def why(self) -> str | None:
        """Return in words that no batch was over for the limit, None where one was."""
        now, seen = time.monotonic(), self._beat.value
        if seen != self._seen:
            self._seen, self._since = seen, now
        limit_s = self._limit_s if seen else max(self._limit_s, START_S)
        return (
            f"it hung: no batch was over for {limit_s:g} s" if now - self._since > limit_s else None
        )
