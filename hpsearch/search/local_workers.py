"""Worker processes on this machine: started, watched, replaced when they die, and stopped."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Event
from pathlib import Path

from hpsearch.errors import HpsearchError, StorageError
from hpsearch.search.processes import SPAWN, child_environment, death, device_named
from hpsearch.search.storage import Storage, open_storage, storage_errors

logger = logging.getLogger(__name__)

STOP_GRACE_S = 10.0
REFUSED = 3  # the exit code of a worker that has said why it cannot go on
MAX_RESTARTS = 5  # of all workers of one launch together


@dataclass(frozen=True)
class WorkerOrder:
    """What a worker process is told when it starts. The URL travels by pipe, not by `ps`."""

    storage_url: str
    study: str
    prepared: Path
    worker: str
    device: str
    number: int  # counts the workers of a launch, to spread them over GPUs
    threads: int


def _run_worker(order: WorkerOrder, stop: Event) -> None:
    """The main function of a worker process."""
    stopped = _stop_signals(stop)
    import torch

    from hpsearch.search.worker import hire

    torch.set_num_threads(order.threads)
    storage = open_storage(order.storage_url, create=False)
    try:
        with storage_errors(storage):
            device = device_named(order.device, order.number)
            hire(order.worker, storage, order.study, order.prepared, device, stopped).work()
    except HpsearchError as error:
        print(f"worker {order.worker}: {error}", file=sys.stderr, flush=True)
        sys.exit(1 if isinstance(error, StorageError) else REFUSED)
    finally:
        storage.close()


def _stop_signals(stop: Event) -> Callable[[], bool]:
    """Return what tells that this process should stop: its parent says so or died, or SIGTERM.

    Ctrl-C reaches the whole terminal; the parent alone answers it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    terminated = False

    def note(_number: int, _frame: object) -> None:
        nonlocal terminated
        terminated = True

    signal.signal(signal.SIGTERM, note)
    parent = os.getppid()
    return lambda: terminated or stop.is_set() or os.getppid() != parent


@dataclass
class LocalWorkers:
    """Worker processes of one launch on this machine."""

    storage: Storage
    study: str
    prepared: Path
    count: int
    device: str = "auto"
    threads: int = 1
    _stop: Event = field(default_factory=SPAWN.Event)
    _alive: dict[str, SpawnProcess] = field(default_factory=dict)
    _started: int = 0
    _restarts: int = 0
    gave_up: bool = False  # whether a worker ended that was not replaced

    def start(self) -> None:
        """Start all workers."""
        for _ in range(self.count):
            self._start_one()

    def _start_one(self) -> None:
        name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        order = WorkerOrder(
            self.storage.url.render_as_string(hide_password=False),
            self.study,
            self.prepared,
            name,
            self.device,
            self._started,
            self.threads,
        )
        self._started += 1
        process = SPAWN.Process(target=_run_worker, args=(order, self._stop), name=name)
        with child_environment(self.threads):
            process.start()
        self._alive[name] = process

    def look(self) -> bool:
        """Replace workers that died; return whether any is still at work.

        One that said itself why it cannot go on is not replaced, and neither are more than
        MAX_RESTARTS: `gave_up` is true then.
        """
        for name, process in list(self._alive.items()):
            if process.exitcode is None:
                continue
            del self._alive[name]
            if process.exitcode == 0:
                continue
            self.storage.ledger.expire_worker(name)
            if process.exitcode == REFUSED:
                self.gave_up = True
            elif self._restarts < MAX_RESTARTS and not self._stop.is_set():
                logger.warning("a worker %s; starting another", death(process.exitcode))
                self._restarts += 1
                self._start_one()
            else:
                self.gave_up = True
        return bool(self._alive)

    def stop(self) -> None:
        """Ask all workers to give their trials back; end those that take too long."""
        self._stop.set()
        deadline = time.monotonic() + STOP_GRACE_S
        for process in self._alive.values():
            process.join(max(0.0, deadline - time.monotonic()))
        self.kill()

    def kill(self) -> None:
        """End whatever is left, and let others take over what it held."""
        for name, process in self._alive.items():
            if process.exitcode is None:
                process.kill()
                process.join()
                self.storage.ledger.expire_worker(name)
        self._alive.clear()
