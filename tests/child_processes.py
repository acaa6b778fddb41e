"""What child processes of the tests do, together and at one moment."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from typing import Any

from made_studies import PREPARED

from hpsearch.search.stored_study import enter_study
from hpsearch.storage.storage import open_storage
from hpsearch.study.spec import StudySpec

CREW = 8
HALF = CREW // 2
PATIENCE_S = 120
PRELOADED = [  # imported once, not by each process; Optuna imports most of these late
    "hpsearch.search.stored_study",
    "optuna.storages._rdb.models",
    "alembic.command",
    "alembic.config",
    "sqlalchemy.dialects.sqlite",
    "sqlalchemy.dialects.postgresql",
    "psycopg",
]

Ready = Callable[[], object]

_starts: dict[int, Barrier] = {}


class Crew:
    """Processes that are up and have imported hpsearch. What they are ordered to do calls its
    `ready` where all of them should go on at one moment."""

    def __init__(self) -> None:
        context = get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        self._starts = {count: context.Barrier(count) for count in (CREW, HALF)}
        self._pool = ProcessPoolExecutor(
            CREW, context, initializer=_enlist, initargs=(self._starts,)
        )

    def together(self, order: Any, *arguments: Any, count: int = CREW) -> list[Any]:
        """Return what `order(*arguments, ready, number)` returned in each of `count` processes."""
        done = [
            self._pool.submit(_obey, order, arguments, number, count) for number in range(count)
        ]
        try:
            return [future.result(timeout=PATIENCE_S) for future in done]
        finally:
            self._starts[count].reset()  # an order that failed may have let others wait

    def close(self) -> None:
        self._pool.shutdown()


def _enlist(starts: dict[int, Barrier]) -> None:
    _starts.update(starts)
    starts[CREW].wait(PATIENCE_S)


def _obey(order: Any, arguments: tuple[Any, ...], number: int, count: int) -> Any:
    return order(*arguments, lambda: _starts[count].wait(PATIENCE_S), number)


def stand_by(ready: Ready, number: int) -> int:
    ready()
    return number


def open_it(url: str, ready: Ready, number: int) -> list[str]:
    ready()
    storage = open_storage(url)
    names = storage.study_names()
    storage.close()
    return names


def enter_it(url: str, spec: StudySpec, ready: Ready, number: int) -> list[str]:
    storage = open_storage(url)
    ready()
    enter_study(storage, spec, PREPARED)
    names = storage.study_names()
    storage.close()
    return names


def claim_all(url: str, study: str, ready: Ready, number: int) -> list[tuple[int, int]]:
    """Claim until there is nothing left; return slot and attempts of what this process got."""
    storage = open_storage(url, create=False)
    ready()
    got = []
    while (lease := storage.leases.claim(study, f"process {number}")) is not None:
        got.append((lease.slot, lease.attempts))
    storage.close()
    return got


def decide(url: str, study: str, ready: Ready, number: int) -> str:
    storage = open_storage(url, create=False)
    ready()
    decided = storage.ledger.decide_precision(study, ("fp32", "bf16")[number % 2])
    storage.close()
    return decided
