"""What trials come to when nothing happens to them, to compare with."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import load_search_data
from hpsearch.machine.children import Tell, in_child
from hpsearch.search.stored_study import enter_study, read_stored_study
from hpsearch.storage.storage import Storage
from hpsearch.study.config import TrialConfig
from hpsearch.study.spec import StudySpec
from hpsearch.training.loop import train

Curve = list[tuple[float, float, float]]  # train loss, test loss, test metric of each epoch

SPACE = {
    "filters": [4, 8],
    "layers": [1, 2],
    "learning_rate": {"low": 1e-3, "high": 1e-2, "log": True},
    "units1": 16,
    "units2": 16,
    "dropout": 0.2,
}


def digits_spec(name: str, space: Any = None, **search: Any) -> StudySpec:
    """Return a study of digits whose trials are short, in a precision that is the same anywhere."""
    written = {
        "name": name,
        "data": {"source": "digits"},
        "space": SPACE | (space or {}),
        "search": {"epochs": 4, "pruner": "none", "sampler": "random", "precision": "fp32"}
        | search,
    }
    return StudySpec.model_validate(written)


def opened(storage: Storage, spec: StudySpec) -> Path:
    """Enter a study and open it for workers; return the folder of its prepared data."""
    prepared = prepare(spec.data)
    enter_study(storage, spec, prepared)
    storage.ledger.begin_launch(
        spec.name, spec.model_dump_json(), spec.trial_budget(), spec.search.timeout
    )
    return prepared.folder


def freeze(pid: int, storage: Storage) -> None:
    """Stop a process with SIGSTOP, not in the middle of a transaction, which others wait for."""
    while True:
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.2)
        if not _transactions(storage):
            return
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.05)


def _transactions(storage: Storage) -> bool:
    """Whether another process is in the middle of a transaction."""
    if storage.url.drivername == "sqlite":
        connection = sqlite3.connect(str(storage.url.database), timeout=0.2, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return True
        finally:
            connection.close()
        return False
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid() AND state <> 'idle'"
    )
    with storage.ledger.engine.connect() as connected:
        return bool(connected.exec_driver_sql(query).scalar())


def _curves(tell: Tell, configs: list[tuple[TrialConfig, int]], prepared: Path) -> list[Curve]:
    """Train each configuration in peace, for so many of its epochs."""
    data = load_search_data(prepared)
    return [
        [
            (epoch.train_loss, epoch.test_loss, epoch.test_metric)
            for epoch, _ in islice(train(config, data, torch.device("cpu")), epochs)
        ]
        for config, epochs in configs
    ]


def assert_undisturbed(storage: Storage, name: str, prepared: Path) -> None:
    """Every trial has, as far as it went, exactly the curve of its config trained in peace."""
    study = read_stored_study(storage, name)
    configs = [(study.config(trial), len(trial.user_attrs["curve"])) for trial in study.trials]
    curves: list[Curve] = in_child(_curves, configs, prepared, threads=1)
    for trial, curve in zip(study.trials, curves, strict=True):
        recorded = trial.user_attrs["curve"]
        got = [(e["train_loss"], e["test_loss"], e["test_metric"]) for e in recorded]
        assert got == curve, f"trial {trial.number} differs"
        assert trial.intermediate_values == {
            i: metric for i, (_, _, metric) in enumerate(curve, start=1)
        }
