"""A tiny study that is launched while one of its writes fails, and what it comes to undisturbed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hpsearch.search.stored_study import read_stored_study
from hpsearch.storage.schema import openings
from hpsearch.storage.storage import open_storage

HERE = Path(__file__).parent
STUDY = """name: small
data: {source: digits}
space: {filters: 4, layers: 1, learning_rate: [1.0e-5, 1.0e-2]}
search: {trials: 2, epochs: 2, pruner: none, sampler: random, precision: fp32, seed: 1}
confirm: {candidates: 1, seeds: 1}
"""
ALONE = ("--workers", "1", "--device", "cpu")
LAUNCH = [sys.executable, "-m", "launched", "launch", "small.yaml", *ALONE]
# A file of weights lists what is known of them in any order; what they answer has a digest, too.
INCIDENTAL = ("duration_s", "weights", "weights_sha256")


@dataclass(frozen=True)
class Fault:
    """The write that fails, of the so many-th of a kind of process, and how."""

    process: str
    at: int
    kind: str = "broken"


class Launcher:
    """Runs launches in processes forked from one that has loaded everything: that takes seconds."""

    def __init__(self) -> None:
        environment = os.environ | {
            "PYTHONPATH": f"{HERE / 'faults'}:{HERE.parent.parent}",
            "OMP_NUM_THREADS": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "forked"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def launched(self, place: Path, fault: Fault | None = None, *options: str) -> tuple[int, str]:
        """Launch the study of a folder while a write fails; return its exit code and words."""
        place.mkdir(exist_ok=True)
        log_of(place).unlink(missing_ok=True)
        (place / "small.yaml").write_text(STUDY)
        fault = fault or Fault("none", 0)
        order = {
            "folder": str(place),
            "arguments": ["launch", "small.yaml", *ALONE, *options],
            "fault": asdict(fault) | {"place": str(place), "log": str(log_of(place))},
        }
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        code, said = json.loads(self._process.stdout.readline())
        return code, said

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


def log_of(place: Path) -> Path:
    return place.with_name(f"{place.name}.writes")


def writes(place: Path) -> list[tuple[str, str]]:
    """Return the writes of the launches in a folder: whose, and what."""
    lines = log_of(place).read_text().splitlines()
    return [(line.split()[0], line.split(maxsplit=2)[2]) for line in lines]


def points(place: Path) -> list[Fault]:
    """Return every fault that a launch in a folder can meet, in the order of its writes."""
    seen: Counter[str] = Counter()
    found = []
    for process, what in writes(place):
        seen[process] += 1
        of_files = what.split()[0] in ("open", "mkdir", "replace", "fsync")
        kinds = ["broken"] if of_files else ["broken", "locked"]
        kinds += ["unheard"] if what == "COMMIT" else []
        found += [Fault(process, seen[process], kind) for kind in kinds]
    return found


def files(place: Path) -> set[str]:
    """Return every file below a folder; the names that the database gives its own are left out."""
    names = {str(p.relative_to(place)) for p in place.rglob("*") if not p.is_dir()}
    return {name for name in names if not name.endswith(("-wal", "-shm", ".lock"))}


def told(place: Path, url: str | None = None) -> dict[str, Any]:
    """Return what a study came to, without times: trials, trainings of finalists, final, files."""
    storage = open_storage(url or f"sqlite:///{place}/runs/hpsearch.db", create=False)
    try:
        row = storage.ledger.study("small")
        assert row is not None
        study = read_stored_study(storage, "small")
        with storage.ledger.engine.connect() as connection:
            opened = [dict(r._mapping) for r in connection.execute(openings.select())]
        return {
            "state": row.state,
            "trials": {
                t.user_attrs["slot"]: (t.state.name, t.value, timeless(t.user_attrs["curve"]))
                for t in study.trials
            },
            "count": len(study.trials),
            "confirmed": [
                (c.trial_number, c.repeat, c.score) for c in storage.confirmations.of("small")
            ],
            "finals": [timeless(o["result"]) for o in opened],
            "best": (place / "runs" / "small" / "best.yaml").read_text(),
            "files": files(place),
        }
    finally:
        storage.close()


def timeless(value: Any) -> Any:
    """Return a stored result without times and places."""
    if isinstance(value, str) and value.startswith("{"):
        return timeless(json.loads(value))
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if k not in INCIDENTAL}
    if isinstance(value, list):
        return [timeless(v) for v in value]
    return value
