"""Who is at work on a storage: the ledger's list of workers."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from sqlalchemy import Engine, delete, exists, insert, select, update

from hpsearch.storage.retry import Retry, retried
from hpsearch.storage.schema import check_unchanged, is_ours, now_s, reading, workers

SEEN_EVERY_S = 45.0
GONE_AFTER_S = 120.0  # without a sign of life
# After a machine's sleep or a long outage a worker goes on under its name: a supervisor takes one
# that is not in the list for dead.
FORGOTTEN_AFTER_S = 7 * 86400.0


@dataclass(frozen=True)
class ListedWorker:
    """A worker process as the ledger knows it. `seen_s` is how long ago it was last heard of."""

    name: str
    host: str
    pid: int
    device: str
    version: str
    note: str
    seen_s: float


@dataclass(frozen=True)
class WorkerList:
    """Reads and writes the list of workers."""

    engine: Engine
    retry: Retry

    @retried
    def enter(self, name: str, device: str, version: str) -> None:
        """Enter this process; those that were not heard of for a week leave the list."""
        with self.engine.begin() as connection:
            gone = workers.c.seen_at < now_s() - FORGOTTEN_AFTER_S
            connection.execute(delete(workers).where(gone | (workers.c.name == name)))
            connection.execute(
                insert(workers).values(
                    name=name,
                    host=socket.gethostname(),
                    pid=os.getpid(),
                    device=device,
                    version=version,
                    note="",
                    started_at=now_s(),
                    seen_at=now_s(),
                )
            )

    @retried
    def see(self, name: str, note: str = "") -> None:
        """Say that a worker is there, and what it cannot do, if anything.

        Raises SchemaError where the schema was changed since the storage was opened.
        """
        mine = update(workers).where(workers.c.name == name, exists().where(is_ours))
        with self.engine.begin() as connection:
            if connection.execute(mine.values(seen_at=now_s(), note=note)).rowcount != 1:
                check_unchanged(connection, self.retry.shown)

    @retried
    def leave(self, name: str) -> None:
        """Take a worker off the list."""
        with self.engine.begin() as connection:
            connection.execute(delete(workers).where(workers.c.name == name))

    @retried
    def present(self) -> list[ListedWorker]:
        """Return the workers that were heard of lately, in the order they came."""
        with reading(self.engine) as connection:
            rows = connection.execute(
                select(workers, (now_s() - workers.c.seen_at).label("seen_s"))
                .where(workers.c.seen_at >= now_s() - GONE_AFTER_S)
                .order_by(workers.c.started_at)
            ).all()
        return [
            ListedWorker(r.name, r.host, r.pid, r.device, r.version, r.note, r.seen_s) for r in rows
        ]
