"""How far decoding has come, and how long it will still take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table as RichTable

from hpsearch.cli.about_data import err
from hpsearch.reports.report import hours

TOLD_AFTER_S = 2.0  # of decoding, from which on the pace is no accident
DECODING_STEPS = 10  # lines while decoding, where the output is no terminal


def bar(label: str, done: int, of: int, left: str = "") -> RenderableType:
    row = RichTable.grid(padding=(0, 1))
    bar = ProgressBar(total=max(1, of), completed=done, width=30)
    row.add_row(label, bar, f"{done} of {of}{left}")
    return row


class Pace:
    """How fast decoding goes, and so how long it will take; what was decoded before does not count.

    `clock` tells seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: tuple[float, int] | None = None
        self._steps = 0

    def label(self, done: int, of: int) -> str:
        return "decoding images" if done < of else "all decoded; splitting, looking for copies"

    def bar(self, done: int, of: int) -> RenderableType:
        return bar(self.label(done, of), done, of, self.left(done, of))

    def left(self, done: int, of: int) -> str:
        """Return how much longer decoding takes, in words; nothing before that is known."""
        now = self._clock()
        self._began = self._began or (now, done)
        seconds, count = now - self._began[0], done - self._began[1]
        if seconds < TOLD_AFTER_S or not count or done >= of:
            return ""
        return f", about {hours(seconds / count * (of - done))} left"

    def is_a_step(self, done: int, of: int) -> bool:
        """Whether another tenth of all is done since this was last asked."""
        steps = DECODING_STEPS * done // max(1, of)
        self._began = self._began or (self._clock(), done)
        is_new = steps > self._steps
        self._steps = steps
        return is_new


@contextmanager
def decoding_display() -> Iterator[Callable[[int, int], None]]:
    """Show how far decoding has come."""
    pace = Pace()
    with Live(console=err, transient=True) as live:
        yield lambda done, of: live.update(pace.bar(done, of))
