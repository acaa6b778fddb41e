"""Makes one write of a process, or of those that it forks, fail.

Writes are counted for each kind of process by itself, in a file that names every one so far, a line
each: several processes write at once, and their order is no two times the same.
"""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import HasFileno

WRITES = ("INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP")


def role() -> str:
    """Return what this process is: launch, worker, final or baseline."""
    process: Any = multiprocessing.current_process()
    target = getattr(process, "_target", None)
    if target is None:
        return "launch"
    if target.__name__ == "_run_worker":
        return "worker"
    called = process._args[1]
    name = called if isinstance(called, str) else called.__name__
    return "baseline" if name.endswith("run_baseline") else "final"


class Faults:
    """Counts writes below a place in a log, and tells the one that is to fail.

    That is number `at` of a kind of process. Of the database a write fails for good (`broken`), for
    now (`locked`), or after it was carried out (`unheard`); of a file, as on a full disk.
    """

    def __init__(self, place: str, log: str, process: str, at: int, kind: str) -> None:
        self.place = place + os.sep
        self.log, self.process, self.at, self.kind = log, process, at, kind

    def strikes(self, what: str) -> bool:
        """Count a write; return whether it is the one that fails."""
        mine = role()
        with open(self.log, "a+") as log:
            fcntl.flock(log, fcntl.LOCK_EX)
            log.seek(0)
            number = 1 + sum(line.startswith(f"{mine} ") for line in log)
            log.write(f"{mine} {number} {what}\n")
        return (mine, number) == (self.process, self.at)

    def file(self, what: str, path: Any, half: bool = False) -> None:
        """Fail as a full disk does; `half` leaves the beginning of what was to be written."""
        if isinstance(path, int) or not os.path.abspath(os.fsdecode(path)).startswith(self.place):
            return
        if self.strikes(f"{what} {Path(os.fsdecode(path)).name}"):
            if half:
                self.at = 0
                Path(os.fsdecode(path)).write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fsdecode(path))

    def heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if flags & (os.O_WRONLY | os.O_RDWR):
                self.file("open", path, half=bool(flags & os.O_TRUNC))
        elif event == "os.rename":
            self.file("replace", arguments[1])
        elif event == "os.mkdir":
            self.file("mkdir", arguments[0])

    def statement(self, sql: str) -> None:
        words = sql.split(None, 3)
        if words and words[0].upper() in WRITES and self.strikes(" ".join(words[:3])):
            raise self.error()

    def error(self) -> sqlite3.OperationalError:
        return sqlite3.OperationalError(
            "disk I/O error" if self.kind == "broken" else "database is locked"
        )


def fail(faults: Faults) -> None:
    """Have the writes of this process counted from now on."""

    class Cursor(sqlite3.Cursor):
        def execute(self, sql: str, *arguments: Any) -> Any:
            faults.statement(sql)
            return super().execute(sql, *arguments)

        def executemany(self, sql: str, *arguments: Any) -> Any:
            faults.statement(sql)
            return super().executemany(sql, *arguments)

    class Connection(sqlite3.Connection):
        def cursor(self, factory: Any = Cursor) -> Any:
            return super().cursor(factory)

        def commit(self) -> None:
            strikes = self.in_transaction and faults.strikes("COMMIT")
            if not strikes or faults.kind == "unheard":  # carried out, and nobody is told
                super().commit()
            if strikes:
                raise faults.error()

    connect, fsync = sqlite3.dbapi2.connect, os.fsync

    def connected(*arguments: Any, **named: Any) -> Any:
        return connect(*arguments, **named | {"factory": Connection})

    def synced(fd: int | HasFileno) -> None:
        number = fd if isinstance(fd, int) else fd.fileno()
        faults.file("fsync", os.readlink(f"/proc/self/fd/{number}"))
        fsync(fd)

    sqlite3.connect = sqlite3.dbapi2.connect = connected
    os.fsync = synced
    sys.addaudithook(faults.heard)
