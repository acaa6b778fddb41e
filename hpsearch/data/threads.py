"""Work that lets other threads run: in as many threads as there are cores, results in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

AHEAD = 4  # items for each thread that are handed out at a time, so that results need not pile up

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_turn(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield what `work` makes of each item, in order, a few of them ahead of those that are taken.

    Matrix products keep to one thread each meanwhile: their own threads wait for each other by
    spinning, which on busy cores took three times the time of the products.
    """
    threads = os.cpu_count() or 1
    running: deque[Future[Result]] = deque()
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(max_workers=threads) as pool:
        try:
            for item in items:
                running.append(pool.submit(work, item))
                if len(running) > AHEAD * threads:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for waiting in running:
                waiting.cancel()
