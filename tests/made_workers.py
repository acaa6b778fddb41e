"""Workers that tests run, in this process or in others."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from hpsearch.search.worker import Worker
from hpsearch.storage.checkpoints import Checkpoints
from hpsearch.storage.storage import Storage
from hpsearch.workers.local import LocalWorkers

PATIENCE_S = 120
HERE = Path(__file__).parent


def environment() -> dict[str, str]:
    return os.environ | {
        "PYTHONPATH": f"{HERE}:{HERE / 'workers'}:{HERE.parent}",
        "OMP_NUM_THREADS": "1",
    }


def crew_of(storage: Storage, study: str, place: Path, count: int = 1) -> LocalWorkers:
    return LocalWorkers(storage, study, str(place / "checkpoints"), count)


def run(crew: LocalWorkers, until: Callable[[], bool] = lambda: False) -> None:
    """Look after workers until they are done, or something has come true."""
    deadline = time.monotonic() + PATIENCE_S
    try:
        while crew.look() and not until():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.05)
    finally:
        crew.stop()


def work_here(storage: Storage, study: str, place: Path, **options: Any) -> None:
    """Be a worker in this process, until the study is over."""
    Worker(
        name="here",
        storage=storage,
        device=torch.device("cpu"),
        threads=1,
        checkpoints=Checkpoints(str(place / "checkpoints")),
        stopped=options.pop("stopped", lambda: False),
        only=study,
        **options,
    ).work()
