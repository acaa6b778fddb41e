"""What child processes of the tests do."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from typing import Any

from made_studies import PREPARED

from hpsearch.search.storage import open_storage
from hpsearch.search.studies import enter_study
from hpsearch.study.spec import StudySpec

CREW = 8
PRELOADED = [  # imported once, not by each process; Optuna imports most of these late
    "hpsearch.search.studies",
    "optuna.storages._rdb.models",
    "alembic.command",
    "alembic.config",
    "sqlalchemy.dialects.sqlite",
    "sqlalchemy.dialects.postgresql",
    "psycopg",
]
HEAD_START_S = 0.3  # for the last process to have read its order


class Crew:
    """Processes that are up and have imported hpsearch, so that they can begin at one moment."""

    def __init__(self) -> None:
        context = get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        self._pool = ProcessPoolExecutor(
            CREW, context, initializer=wait_for_all, initargs=(context.Barrier(CREW),)
        )

    def together(self, function: Any, *arguments: Any, count: int = CREW) -> list[Any]:
        """Return what `function(*arguments, number)` returned in `count` processes at once."""
        start_at = time.time() + HEAD_START_S
        orders = [
            self._pool.submit(begin_at, start_at, function, *arguments, number)
            for number in range(count)
        ]
        return [order.result(timeout=120) for order in orders]

    def close(self) -> None:
        self._pool.shutdown()


def wait_for_all(barrier: Barrier) -> None:
    barrier.wait(timeout=120)


def begin_at(start_at: float, function: Any, *arguments: Any) -> Any:
    time.sleep(max(0.0, start_at - time.time()))
    return function(*arguments)


def stand_by(number: int) -> int:
    return number


def open_it(url: str, number: int) -> list[str]:
    storage = open_storage(url)
    names = storage.study_names()
    storage.close()
    return names


def enter_it(url: str, spec: StudySpec, number: int) -> list[str]:
    storage = open_storage(url)
    enter_study(storage, spec, PREPARED)
    names = storage.study_names()
    storage.close()
    return names


def claim_all(url: str, study: str, number: int) -> list[int]:
    """Claim until there is nothing left; return the slots that this process got."""
    storage = open_storage(url, create=False)
    slots = []
    while (lease := storage.ledger.claim(study, f"process {number}")) is not None:
        slots.append(lease.slot)
    storage.close()
    return slots


def claim_one(url: str, study: str, number: int) -> tuple[int, int] | None:
    """Return slot and attempts of one claim."""
    storage = open_storage(url, create=False)
    lease = storage.ledger.claim(study, f"process {number}")
    storage.close()
    return None if lease is None else (lease.slot, lease.attempts)


def decide(url: str, study: str, number: int) -> str:
    storage = open_storage(url, create=False)
    decided = storage.ledger.decide_precision(study, ("fp32", "bf16")[number % 2])
    storage.close()
    return decided
