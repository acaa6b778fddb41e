"""A tiny study that is launched while one of its writes fails, and what it comes to undisturbed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
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
LAUNCH = [sys.executable, "-m", "launched", "launch", "small.yaml"]
LAUNCH += ["--workers", "1", "--device", "cpu"]
PATIENCE_S = 300.0
# A file of weights lists what is known of them in any order; what they answer has a digest, too.
INCIDENTAL = ("duration_s", "weights", "weights_sha256")


@dataclass(frozen=True)
class Fault:
    """The write that fails, of the so many-th of a kind of process, and how."""

    process: str
    at: int
    kind: str = "broken"


def launched(
    place: Path, fault: Fault | None = None, *options: str
) -> subprocess.CompletedProcess[str]:
    """Launch the study of a folder while a write fails, if any; return how that ended."""
    place.mkdir(exist_ok=True)
    log_of(place).unlink(missing_ok=True)
    (place / "small.yaml").write_text(STUDY)
    told = {"process": "none", "at": 0, "kind": "broken"}
    if fault is not None:
        told = {"process": fault.process, "at": fault.at, "kind": fault.kind}
    told |= {"place": str(place), "log": str(log_of(place))}
    environment = os.environ | {
        "PYTHONPATH": f"{HERE / 'faults'}:{HERE.parent.parent}",
        "HPSEARCH_CACHE": str(place / "cache"),
        "HPSEARCH_FAULT": json.dumps(told),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [*LAUNCH, *options],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


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
