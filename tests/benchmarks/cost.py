"""What deciding about a trial costs, and a worker's memory, by how many trials have ended.

    python tests/benchmarks/cost.py [--other CHECKOUT] [--sizes 100 1000 5000] [--workers 1 16]

Studies of eight parameters and ten epochs a trial, already filled with ended trials, on SQLite
and on Postgres; real workers, no training. With `--other`, both checkouts take turns, the other
one with the median pruner. `--pruner` and `--storages` choose. Milliseconds a trial, medians
without each worker's first trial, which reads all others: claim, sampling, the scheduler after all
its epochs, and everything; on the clock, and of the worker's processor. Prints a table and JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

HERE = Path(__file__).resolve().parents[2]
NAME = "cost"
EPOCHS = 10
SPACE = {
    "filters": {"low": 16, "high": 128, "step": 8},
    "layers": {"low": 1, "high": 4},
    "kernel_size": [3, 5],
    "units1": {"low": 32, "high": 128, "step": 8},
    "units2": {"low": 32, "high": 128, "step": 8},
    "optimizer": ["adam", "adamw", "sgd"],
    "batch_size": {"low": 32, "high": 256, "step": 32},
    "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
}
PARTS = ("claim", "sampling", "scheduling", "whole")
ALL = (*PARTS, *(f"{part}_cpu" for part in PARTS))
COMPLETE, INFEASIBLE = 0.3, 0.05  # of the ended trials; the others are pruned


def study_of(trials: int, pruner: str, sampler: str) -> dict[str, Any]:
    search = {"trials": trials, "epochs": EPOCHS, "pruner": pruner, "sampler": sampler}
    search |= {"precision": "fp32", "seed": 1}
    return {"name": NAME, "data": {"source": "digits"}, "space": SPACE, "search": search}


# In a checkout's own process


def score(params: dict[str, Any], epoch: int) -> float:
    """Return a made score of a configuration after an epoch, the same every time."""
    noise = random.Random(json.dumps([params, epoch], sort_keys=True)).gauss(0, 0.01)
    good = 0.9 - 0.002 * abs(params["filters"] - 80) - 0.05 * abs(params["layers"] - 3)
    return float(max(0.05, good - 0.3 / epoch + noise))


def fill(storage: Any, count: int) -> None:
    """Write ended trials of the study, with what a worker would have written, in one go."""
    import optuna
    from sqlalchemy import func, insert, select, update

    from hpsearch.storage import optuna_private as private
    from hpsearch.storage.optuna_rows import Changes
    from hpsearch.storage.schema import leases, studies

    asked = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    space = storage.row(NAME).spec.space
    study_id = private.study_id_of(storage.known(NAME))
    began, chance = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=1), random.Random(1)
    with storage.ledger.engine.begin() as connection:
        last_id = connection.execute(select(func.max(private.TRIALS.c.trial_id))).scalar()
        next_id = 1 + (last_id or 0)
        for slot in range(count):
            trial = asked.ask()
            space.pick_all(trial)
            state, changes = ended(slot, trial, chance)
            trial_id = next_id + slot
            connection.execute(
                insert(private.TRIALS).values(
                    trial_id=trial_id, study_id=study_id, number=slot, state=state,
                    datetime_start=began, datetime_complete=began + timedelta(seconds=slot),
                )
            )  # fmt: skip
            private.put_changes(connection, trial_id, cast(Changes, changes))
            connection.execute(
                insert(leases).values(
                    study=NAME, kind="trial", slot=slot, repeat=0, trial_id=trial_id, worker="past",
                    expires_at=0.0, begun_at=0.0, progress_at=0.0, attempts=1, done=True,
                )
            )  # fmt: skip
        connection.execute(update(studies).values(claimed=count))
        if connection.dialect.name == "postgresql":
            ids = "pg_get_serial_sequence('trials', 'trial_id')"
            connection.exec_driver_sql(f"SELECT setval({ids}, {next_id + count})")


def ended(slot: int, trial: Any, chance: random.Random) -> tuple[Any, Any]:
    """Return the state of an ended trial, and what it holds."""
    from optuna.trial import TrialState

    from hpsearch.storage.optuna_rows import Changes

    draw = chance.random()
    epochs = 0 if draw < INFEASIBLE else EPOCHS if draw > 1 - COMPLETE else chance.choice([1, 3, 4])
    curve = {number: score(trial.params, number) for number in range(1, epochs + 1)}
    attrs: dict[str, Any] = {
        "slot": slot, "seed": slot, "precision": "fp32", "threads": 1, "worker": f"w{slot % 16}",
        "device": "cpu", "torch": "2.14.1", "parameters": 100_000 + slot, "forward_flops": 1e7,
        "duration_s": 12.5, "curve": [
            {
                "epoch": number, "train_loss": 0.3, "train_metric": 0.9, "test_loss": 0.4,
                "test_metric": value, "duration_s": 1.25,
            }
            for number, value in curve.items()
        ],
    }  # fmt: skip
    kept: dict[str, Any] = {"tpe:relative_params:0": json.dumps(trial.params), "fixed_params": {}}
    state = TrialState.COMPLETE if epochs == EPOCHS else TrialState.PRUNED
    values = [curve[epochs]] if epochs else None
    if state == TrialState.PRUNED:
        attrs |= {"reason": "the score was too low", "ended": "pruned" if epochs else "infeasible"}
        kept |= {} if epochs else {"constraints:parameters": 1.0}
    params = {
        name: (drawn.to_internal_repr(trial.params[name]), drawn)
        for name, drawn in trial.distributions.items()
    }
    return state, Changes(params, attrs, kept, curve, None, values)


def trained_in_no_time(attempt: Any, config: Any) -> Any:
    """Stands in for a training: every epoch is heard of and decided about, none is trained."""
    from hpsearch.search.attempt import Ended
    from hpsearch.search.decisions import GoOn
    from hpsearch.training.state import Epoch

    epochs: list[Epoch] = []
    for number in range(1, EPOCHS + 1):
        test = score({name: getattr(config, name) for name in SPACE}, number)
        epochs.append(Epoch(number, 0.3, 0.9, 0.4, test, 1.25))
        attempt.hear(epochs[-1])
        decision = attempt.after_epoch(epochs[-1]) if number < EPOCHS else GoOn()
        if not isinstance(decision, GoOn):
            return Ended(config, tuple(epochs), decision=decision)
    training: Any = SimpleNamespace(result=epochs[-1], epochs=epochs)
    return Ended(config, tuple(epochs), training=training)


class Clock:
    """Adds up, for each trial, how long its parts take."""

    def __init__(self) -> None:
        self.trials: list[dict[str, float]] = []
        self.now = dict.fromkeys(ALL, 0.0)

    def timed(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed_call(*given: Any, **more: Any) -> Any:
            began, used = time.perf_counter(), time.process_time()
            try:
                return call(*given, **more)
            finally:
                self.now[part] += 1000 * (time.perf_counter() - began)
                self.now[f"{part}_cpu"] += 1000 * (time.process_time() - used)

        return timed_call

    def timed_sampler(self, make: Callable[..., Any]) -> Callable[..., Any]:
        """Return what makes samplers, so that it makes samplers that are timed."""

        def made(*given: Any, **more: Any) -> Any:
            sampler = make(*given, **more)
            for name in ("infer_relative_search_space", "sample_relative", "sample_independent"):
                setattr(sampler, name, self.timed("sampling", getattr(sampler, name)))
            return sampler

        return made

    def trial_over(self) -> None:
        for kind in ("", "_cpu"):
            self.now[f"whole{kind}"] += self.now[f"claim{kind}"]
        self.trials.append(self.now)
        self.now = dict.fromkeys(ALL, 0.0)


def work(url: str, name: str, ready: Any, told: Any) -> None:
    """What a worker process does: claim and end trials until there are none left."""
    import torch

    from hpsearch.search import runner
    from hpsearch.search.attempt import Attempt
    from hpsearch.search.scheduling import Scheduling
    from hpsearch.search.worker import Worker
    from hpsearch.storage.checkpoints import Checkpoints
    from hpsearch.storage.storage import open_storage

    torch.set_num_threads(1)
    clock, timed = Clock(), cast(Any, runner)
    training, scheduling = cast(Any, Attempt), cast(Any, Scheduling)
    training.train = trained_in_no_time
    scheduling.claim = clock.timed("claim", scheduling.claim)
    timed.sampler_for = clock.timed_sampler(timed.sampler_for)
    scheduling.after_epoch = clock.timed("scheduling", scheduling.after_epoch)
    timed.TrialRunner.run = clock.timed("whole", timed.TrialRunner.run)
    storage = open_storage(url, create=False)
    place = Checkpoints("memory://cost")
    worker = Worker(name, storage, torch.device("cpu"), 1, place, lambda: False, only=NAME)
    ready.wait()
    while (lease := worker._next()) is not None:
        worker._run(lease)
        clock.trial_over()
    storage.close()
    told.put((clock.trials, memory_mb()))


def memory_mb() -> float:
    """Return what this process holds."""
    rows = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("VmRSS")) / 1024


def measured_here(asked: argparse.Namespace) -> dict[str, Any]:
    """Fill a study, let workers run trials of it, and return medians."""
    from hpsearch.data.prepare import prepare
    from hpsearch.search.stored_study import enter_study
    from hpsearch.storage.storage import open_storage
    from hpsearch.study.spec import StudySpec

    workers, size = asked.workers[0], asked.sizes[0]
    total = size + workers * asked.each
    spec = StudySpec.model_validate(study_of(total, asked.pruner, asked.sampler))
    storage = open_storage(asked.url)
    enter_study(storage, spec, prepare(spec.data))
    storage.ledger.begin_launch(NAME, spec.model_dump_json(), total, None)
    fill(storage, size)
    context = get_context("forkserver")
    context.set_forkserver_preload(["hpsearch.search.worker", "optuna", "psycopg"])
    ready, told = context.Barrier(workers + 1), context.Queue()
    crew = [
        context.Process(target=work, args=(asked.url, f"worker {i}", ready, told))
        for i in range(workers)
    ]
    for process in crew:
        process.start()
    ready.wait()
    got = [told.get() for _ in crew]
    for process in crew:
        process.join()
    left = [t for t in storage.known(NAME).get_trials(deepcopy=False) if t.number >= size]
    storage.close()
    assert len(left) == total - size, f"{len(left)} trials were begun, not {total - size}"
    later = [trial for trials, _ in got for trial in trials[1:]]
    found = {part: round(statistics.median(t[part] for t in later), 1) for part in ALL}
    return found | {
        "first": round(statistics.median(trials[0]["whole"] for trials, _ in got if trials)),
        "memory_mb": round(statistics.median(memory for _, memory in got)),
        "ended_as": {s: sum(t.state.name == s for t in left) for s in ("COMPLETE", "PRUNED")},
    }


# In turn


@contextmanager
def sqlite() -> Iterator[Callable[[], str]]:
    """Yield what makes an empty database, and returns its URL."""
    with tempfile.TemporaryDirectory() as folder:
        yield lambda: f"sqlite:///{tempfile.mkdtemp(dir=folder)}/cost.db"


@contextmanager
def postgresql() -> Iterator[Callable[[], str]]:
    """Yield what makes an empty database of a server, and returns its URL."""
    from many_workers import postgres

    from hpsearch.storage.database import database_engine
    from hpsearch.storage.url import parse_url

    with postgres() as url:
        engine = database_engine(parse_url(url))

        def made() -> str:
            name = f"cost_{time.monotonic_ns()}"
            with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
                connection.exec_driver_sql(f"CREATE DATABASE {name}")
            return url.replace("/postgres?", f"/{name}?")

        yield made
        engine.dispose()


STORAGES = {"sqlite": sqlite, "postgres": postgresql}


def measure(checkout: Path, words: list[str], cache: str) -> dict[str, Any]:
    """Return what a checkout comes to in a fresh process."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "HPSEARCH_CACHE": cache}
    command = [sys.executable, str(Path(__file__).resolve()), *words]
    # There, for the server that workers are forked from looks for modules where it stands first.
    ran = subprocess.run(command, env=environment, cwd=checkout, stdout=subprocess.PIPE, check=True)
    return cast(dict[str, Any], json.loads(ran.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--other", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 5000])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--storages", nargs="+", choices=STORAGES, default=list(STORAGES))
    parser.add_argument("--each", type=int, default=8, help="trials of each worker")
    parser.add_argument("--pruner", default="median")
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--url", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.url:
        print(json.dumps(measured_here(asked)))
        return
    builds = {"this": HERE} | ({"other": asked.other.resolve()} if asked.other else {})
    rows = []
    with ExitStack() as opened:
        cache = opened.enter_context(tempfile.TemporaryDirectory())
        for storage in asked.storages:
            database = opened.enter_context(STORAGES[storage]())
            for workers in asked.workers:
                for size in asked.sizes:
                    for build, checkout in builds.items():
                        pruner = asked.pruner if build == "this" else "median"
                        words = ["--url", database(), "--sizes", size, "--workers", workers]
                        words += ["--each", asked.each, "--pruner", pruner]
                        words += ["--sampler", asked.sampler]
                        found = measure(checkout, [str(word) for word in words], cache)
                        rows.append(
                            {"storage": storage, "workers": workers, "ended": size, "build": build}
                            | found
                        )
                        print("  ".join(f"{k} {v}" for k, v in rows[-1].items()), flush=True)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
