"""Worker processes on this machine: started, watched, replaced when they die, and stopped."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from sqlalchemy import URL

from hpsearch.errors import HpsearchError, SchemaError, StorageError, UnreadableStudyError
from hpsearch.machine.children import (
    OURS,
    SPAWN,
    STOP_GRACE_S,
    UNGUARDED,
    child_environment,
    death,
    device_named,
    is_processor,
    leave,
    unguarded,
)
from hpsearch.machine.logs import set_up_logging
from hpsearch.machine.stopping import stop_signals
from hpsearch.search import outcomes as endings
from hpsearch.search.idle import wait_for_work
from hpsearch.storage.checkpoints import EVERY_S, Checkpoints
from hpsearch.storage.leases import Held, Lease
from hpsearch.storage.retry import DATABASE_ERRORS
from hpsearch.storage.storage import Storage, opened_storage
from hpsearch.storage.url import network_file_system
from hpsearch.study.searching import Search
from hpsearch.workers.gpu_slots import GpuSlots

logger = logging.getLogger(__name__)

REFUSED = 3  # the exit code of a worker that has said why it cannot go on
RECYCLED = 4  # of one that asks for a fresh process in its place
MAX_DEATHS = 10  # of each worker, in a row, while none of them gets as far as a trial
SUPERVISE_EVERY_S = 5.0
LOOKS_AT_HUNG, LOOKS_AT_SILENT = 4, 24  # in a row, before a worker is killed
IDLE_LOOKS = 6  # looks in a row that are left out while no worker is at a trial
SQLITE_WORKERS = 8  # more than that wait for each other
TIMEOUT_GRACE_S = 30.0  # a trial past its time ends by itself, unless it hangs


@dataclass(frozen=True)
class WorkerOrder:
    """What a worker process is given when it starts. URLs travel by pipe, not by `ps`."""

    storage_url: str
    worker: str
    device: str
    number: int  # spreads workers over GPUs
    threads: int
    checkpoints: str
    checkpoint_every_s: float
    only: str | None
    waits: bool
    log_level: int


def _run_worker(order: WorkerOrder, progress: Any) -> None:
    """The main function of a worker process; `progress` is a number it shares with its parent."""
    stopped = stop_signals()
    set_up_logging(order.log_level, dated=order.log_level < logging.WARNING)

    def progressed() -> None:
        progress.value += 1

    try:
        with opened_storage(order.storage_url, gives_up=stopped, waits_to_open=True) as storage:
            due = not _may_wait(order) or wait_for_work(
                storage, order.worker, "cpu" if is_processor(order.device) else "cuda", stopped
            )
            goes_on = due and _work(order, storage, stopped, progressed)
    except HpsearchError as error:
        logger.error("worker %s: %s", order.worker, error)
        may_pass = isinstance(error, StorageError) and not isinstance(error, SchemaError)
        sys.exit(1 if may_pass else REFUSED)
    leave(RECYCLED if goes_on else 0)


def _may_wait(order: WorkerOrder) -> bool:
    """Whether torch can be loaded late: not to be asked whether a device is there at all."""
    return order.waits and order.only is None and order.device in ("auto", "cpu")


def _work(
    order: WorkerOrder,
    storage: Storage,
    stopped: Callable[[], bool],
    progressed: Callable[[], None],
) -> bool:
    """Load torch and run trials to the end; return whether a fresh process should go on."""
    import torch

    from hpsearch.search.worker import Worker

    torch.set_num_threads(order.threads)
    worker = Worker(
        name=order.worker,
        storage=storage,
        device=device_named(order.device, order.number),
        threads=order.threads,
        checkpoints=Checkpoints(order.checkpoints, order.checkpoint_every_s),
        stopped=stopped,
        progressed=progressed,
        only=order.only,
        waits=order.waits,
    )
    return not worker.work()


@dataclass
class LocalWorkers:
    """Worker processes of this machine, and their supervisor.

    `study` names the one study they serve; without it they serve every open study, and `waits` is
    whether they wait for more. `count` None is one for each core, or as many as GPUs hold.
    """

    storage: Storage
    study: str | None
    checkpoints: str
    count: int | None = None
    device: str = "auto"
    threads: int = 1
    waits: bool = False
    log_level: int = logging.WARNING
    checkpoint_every_s: float = EVERY_S
    most: int | None = None  # no more than there are trials
    _alive: dict[str, SpawnProcess] = field(default_factory=dict, init=False)
    _numbers: dict[str, int] = field(default_factory=dict, init=False)
    _progress: Any = field(default_factory=lambda: SPAWN.Value("L", 0, lock=False), init=False)
    _progress_seen: int = field(default=0, init=False)
    _deaths: int = field(default=0, init=False)
    _suspected: Counter[str] = field(default_factory=Counter, init=False)
    _busy: bool = field(default=True, init=False)
    _stopping: bool = field(default=False, init=False)
    _supervised_at: float = field(default=float("-inf"), init=False)
    _slots: GpuSlots = field(init=False)
    gave_up: bool = field(default=False, init=False)  # whether a worker ended and was not replaced

    def __post_init__(self) -> None:
        self._slots = GpuSlots(self.device, self.count, self.most)

    def start(self) -> None:
        """Start all workers."""
        advise(self.storage.url, self._slots.count)
        for number in range(self._slots.count):
            self._start_one(number)

    def _start_one(self, number: int) -> None:
        name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        order = WorkerOrder(
            storage_url=self.storage.url.render_as_string(hide_password=False),
            worker=name,
            device=self.device,
            number=number,
            threads=self.threads,
            checkpoints=self.checkpoints,
            checkpoint_every_s=self.checkpoint_every_s,
            only=self.study,
            waits=self.waits,
            log_level=self.log_level,
        )
        process = SPAWN.Process(target=_run_worker, args=(order, self._progress), name=OURS + name)
        with child_environment(self.threads):
            process.start()
        self._alive[name], self._numbers[name] = process, number

    def look(self) -> bool:
        """Replace workers that died, end trials that hang; return whether any is still at work.

        A worker that said itself why it cannot go on is not replaced, and neither are those of a
        series of deaths without progress: `gave_up` is true then. Raises WorkerError where the
        main script keeps processes from starting.
        """
        if self._progress.value != self._progress_seen:
            self._progress_seen, self._deaths = self._progress.value, 0
        for name, process in list(self._alive.items()):
            if process.exitcode is not None:
                self._replace(name, process.exitcode)
        now = time.monotonic()
        idle = 1 if self._busy else IDLE_LOOKS
        if self._alive and now - self._supervised_at > SUPERVISE_EVERY_S * idle:
            self._supervised_at = now
            self._end_hung_trials()
            for number in self._slots.more(self.storage, self.study):
                self._start_one(number)
        return bool(self._alive)

    def _replace(self, name: str, exitcode: int) -> None:
        number = self._numbers.pop(name)
        del self._alive[name]
        if exitcode == 0:
            return
        self.storage.leases.expire_worker(name)
        self.storage.workers.leave(name)
        if exitcode == UNGUARDED:
            raise unguarded()
        if exitcode == RECYCLED and not self._stopping:
            logger.info("worker %s has grown; a fresh one goes on", name)
            self._start_one(number)
        elif exitcode == REFUSED or self._stopping:
            self.gave_up = True
        elif self._deaths >= MAX_DEATHS * self._slots.count:
            logger.error("a worker %s, the %dth in a row", death(exitcode), self._deaths + 1)
            self.gave_up = True
        else:
            self._deaths += 1
            logger.warning("a worker %s; starting another", death(exitcode))
            self._start_one(number)

    def _end_hung_trials(self) -> None:
        """Kill workers that hang. One look is not believed: an outage of the database ages all."""
        present = {worker.name for worker in self.storage.workers.present()}
        held = {h.lease.worker: h for h in self.storage.leases.held_by(list(self._alive))}
        self._busy = bool(held)
        for name in list(self._alive):
            reason = self._hangs(held[name]) if name in held else None
            silent = name not in present
            self._suspected[name] = self._suspected[name] + 1 if reason or silent else 0
            if self._suspected[name] < (LOOKS_AT_HUNG if reason else LOOKS_AT_SILENT):
                continue
            reason = reason or "it hung: its process gave no sign of life"
            logger.error("worker %s is killed: %s", name, reason)
            self._alive[name].kill()
            self._alive[name].join()
            if name in held:
                self._fail(held[name].lease, reason)

    def _fail(self, lease: Lease, reason: str) -> None:
        """End what a worker that was killed was at; leave it to be taken over where it cannot."""
        try:
            endings.end_hung(self.storage, lease, reason)
        except DATABASE_ERRORS:
            raise
        except Exception:  # of a study that was deleted meanwhile, or that cannot be read
            logger.exception("%s of '%s' is not ended", lease.on, lease.study)

    def _hangs(self, held: Held) -> str | None:
        """Return why a trial has to be ended from outside, None where it goes on."""
        row = self.storage.ledger.study(held.lease.study)
        if row is None:
            return None
        try:
            search = row.spec.search
        except UnreadableStudyError:
            search = Search()  # a worker that hangs is ended all the same
        limit = search.stall_timeout
        if search.trial_timeout is not None:
            limit = min(limit, search.trial_timeout + TIMEOUT_GRACE_S)
        if held.idle_s <= limit:
            return None
        return f"it hung: no batch was over for {limit:g} s"

    def stop(self) -> None:
        """Ask all workers to give their trials back; end those that take too long."""
        self._stopping = True
        try:
            for process in self._alive.values():
                if process.exitcode is None:
                    process.terminate()
            deadline = time.monotonic() + STOP_GRACE_S
            for process in self._alive.values():
                process.join(max(0.0, deadline - time.monotonic()))
        finally:  # a second Ctrl-C too
            self.kill()

    def kill(self) -> None:
        """End whatever is left, and let others take over what it held."""
        for name, process in self._alive.items():
            if process.exitcode != 0:
                process.kill()
                process.join()
                self.storage.leases.expire_worker(name)
                self.storage.workers.leave(name)
        self._alive.clear()


def advise(url: URL, workers: int) -> None:
    """Say where SQLite is the wrong storage, or soon will be."""
    if not url.drivername.startswith("sqlite"):
        return
    mounts = Path("/proc/mounts")
    kind = mounts.exists() and network_file_system(Path(str(url.database)), mounts.read_text())
    if kind:
        logger.warning(
            "%s lies on a network file system (%s), where SQLite's locks fail: use Postgres",
            url.database,
            kind,
        )
    if workers > SQLITE_WORKERS:
        logger.warning(
            "%d workers write to one SQLite file, and wait for each other: use Postgres", workers
        )
