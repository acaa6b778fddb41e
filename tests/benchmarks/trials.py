"""What a trial costs that is not training, and how long a worker takes to its first batch.

    python tests/benchmarks/trials.py [--trials 30]

Runs a study of small networks with one worker, on SQLite and on a real Postgres. A trial's own cost
is the time between the ends of two trials less what its epochs took: claim, sampling, building the
network, reports, checkpoints, bookkeeping. Prints medians as JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from many_workers import postgres

from hpsearch.storage.storage import open_storage
from hpsearch.workers.local import LocalWorkers

EPOCHS = 10


@contextmanager
def sqlite() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{folder}/trials.db"


def study_of(trials: int) -> dict[str, Any]:
    space = {
        "filters": {"low": 8, "high": 32, "step": 8},
        "layers": 2,
        "units1": [32, 64],
        "learning_rate": {"low": 1e-3, "high": 1e-2, "log": True},
        "dropout": {"low": 0.0, "high": 0.4},
        "batch_size": [64, 128],
        "optimizer": ["adamw", "sgd"],
    }
    search = {"trials": trials, "epochs": EPOCHS, "sampler": "tpe", "pruner": "none"}
    return {"name": "small", "data": {"source": "digits"}, "space": space, "search": search}


def measure(url: str, trials: int) -> dict[str, float]:
    """Run the study with one worker; return medians in milliseconds, the start in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "small.json"
        file.write_text(json.dumps(study_of(trials)))
        entered = ["launch", str(file), "--detach", "--no-final", "--storage", url]
        subprocess.run(
            [sys.executable, "-m", "hpsearch", *entered], check=True, capture_output=True
        )
        storage = open_storage(url)
        crew = LocalWorkers(storage, "small", f"{folder}/checkpoints", 1, "cpu")
        began = datetime.now()
        started = time.perf_counter()
        crew.start()
        while crew.look():
            time.sleep(0.05)
        crew.stop()
        whole_s = time.perf_counter() - started
    ended = storage.load("small").get_trials()
    storage.close()
    ended.sort(key=lambda t: t.datetime_complete or began)
    ends = [t.datetime_complete or began for t in ended]
    trained_s = [t.user_attrs["duration_s"] for t in ended]
    between = [
        1000 * ((end - before).total_seconds() - took)
        for before, end, took in zip(ends, ends[1:], trained_s[1:], strict=False)
    ]
    # What the first trial's end costs is in it, too: a few milliseconds.
    first = (ends[0] - began).total_seconds() - trained_s[0]
    return {
        "trials": len(ended),
        "own_cost_ms": round(statistics.median(between)),
        "own_cost_p95_ms": round(sorted(between)[int(0.95 * len(between))]),
        "start_to_first_batch_s": round(first, 2),
        "whole_s": round(whole_s, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=30)
    asked = parser.parse_args()
    found = {}
    for name, place in (("sqlite", sqlite), ("postgres", postgres)):
        with place() as url:
            found[name] = measure(url, asked.trials)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
