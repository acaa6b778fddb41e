"""What a pool's worker holds before and at its work, and how long a study waits for a first epoch.

    python tests/benchmarks/worker_memory.py [--pools 5] [--against ANOTHER_CHECKOUT]

Starts `hpsearch worker --workers 1` on an empty SQLite storage and reads the memory of its
processes while they wait; then enters a study of digits, at another moment between two looks of the
worker each time, and waits for the end of its first epoch and of its eight trials, where the memory
is read again. With `--against`, both checkouts take turns, in fresh processes. Prints medians as
JSON, in MB and seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent.parent
PATIENCE_S = 900
IDLE_S = 10.0  # before a look at what waits
PHASE_S = 0.7  # later, each time, comes the study
HPSEARCH = [sys.executable, "-c", "from hpsearch.cli.main import main; main()"]
STUDY = {
    "name": "pool",
    "data": {"source": "digits"},
    "search": {"trials": 8, "epochs": 6, "precision": "fp32", "seed": 1},
}


def memory_mb(pid: int) -> dict[str, int]:
    """Return what a process holds now, what of it no other shares, and the most it ever held."""
    rows = [
        line.split(":")
        for name in ("smaps_rollup", "status")
        for line in Path(f"/proc/{pid}/{name}").read_text().splitlines()
        if line.endswith(" kB")
    ]
    kb = {name: int(value.split()[0]) for name, value in rows}
    private = kb["Private_Clean"] + kb["Private_Dirty"]
    return {"rss": kb["VmRSS"] // 1024, "private": private // 1024, "peak": kb["VmHWM"] // 1024}


def until(true: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := true()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found


def workers_of(pid: int) -> list[int]:
    """Return the worker processes that a pool has started."""
    words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(w) for w in words if b"spawn_main" in Path(f"/proc/{w}/cmdline").read_bytes()]


def counted(database: Path, query: str) -> int:
    connection = sqlite3.connect(database, timeout=30)
    try:
        found: int = connection.execute(query).fetchone()[0]
        return found
    finally:
        connection.close()


def measure(checkout: Path, phase_s: float) -> dict[str, int | float]:
    """Return what one pool of one worker held, and how long its first study waited."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pool.json").write_text(json.dumps(STUDY))
        database = folder / "pool.db"
        environment = os.environ | {
            "PYTHONPATH": str(checkout),
            "HPSEARCH_CACHE": str(folder / "cache"),
            "HPSEARCH_STORAGE": f"sqlite:///{database}",
        }

        def run(*words: str) -> None:
            subprocess.run(
                [*HPSEARCH, *words], cwd=folder, env=environment, check=True, capture_output=True
            )

        run("launch", "pool.json", "--detach", "--no-final", "--trials", "1")  # its data is ready
        run("delete", "pool", "--yes")
        pool = subprocess.Popen(
            [*HPSEARCH, "worker", "--workers", "1"],
            cwd=folder,
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        try:
            (worker,) = until(lambda: workers_of(pool.pid))
            time.sleep(IDLE_S + phase_s)
            found: dict[str, int | float] = {
                f"idle_{key}": value for key, value in memory_mb(worker).items()
            }
            found["supervisor_rss"] = memory_mb(pool.pid)["rss"]
            run("launch", "pool.json", "--detach", "--no-final")
            entered = time.monotonic()
            until(lambda: counted(database, "SELECT count(*) FROM trial_intermediate_values"))
            found["first_epoch_s"] = round(time.monotonic() - entered, 2)
            ended = "SELECT count(*) FROM trials WHERE state NOT IN ('RUNNING', 'WAITING')"
            until(lambda: counted(database, ended) == STUDY["search"]["trials"])  # type: ignore[index]
            found |= {f"trained_{key}": value for key, value in memory_mb(worker).items()}
        finally:
            pool.terminate()
            pool.wait()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--pools", type=int, default=5)
    parser.add_argument("--against", type=Path)
    asked = parser.parse_args()
    checkouts = {"here": HERE} | ({"against": asked.against} if asked.against else {})
    found: dict[str, list[dict[str, int | float]]] = {name: [] for name in checkouts}
    for number in range(asked.pools):
        for name, checkout in checkouts.items():
            found[name].append(measure(checkout, PHASE_S * number))
    print(
        json.dumps(
            {
                name: {key: statistics.median(row[key] for row in rows) for key in rows[0]}
                for name, rows in found.items()
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
