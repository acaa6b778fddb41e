"""Trials whose memory is short: tried once more with a batch in parts, and then given up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from fixtures_storage import on_sqlite
from made_workers import work_here
from optuna.trial import FrozenTrial
from undisturbed import assert_undisturbed, digits_spec, opened

from hpsearch.search.attempt import MICRO_BATCHES
from hpsearch.search.kinds import kind_of
from hpsearch.search.stored_study import read_stored_study
from hpsearch.storage.storage import Storage
from hpsearch.study.config import TrialConfig
from hpsearch.training.loop import train

FULL = "CUDA out of memory. Tried to allocate 2.00 GiB"


def trained_with(
    storage: Storage, place: Path, monkeypatch: pytest.MonkeyPatch, parts: int
) -> tuple[FrozenTrial, list[int], Path]:
    """Return a trial that needs a batch in so many parts, what was tried, and its data."""
    tried = []

    def short(config: TrialConfig, *others: Any) -> Any:
        tried.append(config.micro_batches)
        for epoch, training in train(config, *others):
            if config.micro_batches < parts and epoch.number == 3:
                raise torch.OutOfMemoryError(FULL)
            yield epoch, training

    monkeypatch.setattr("hpsearch.search.attempt.train", short)
    prepared = opened(storage, digits_spec("short", trials=1))
    work_here(storage, "short", place)
    (trial,) = read_stored_study(storage, "short").trials
    return trial, tried, prepared


@on_sqlite
def test_a_trial_that_runs_out_of_memory_begins_again_in_parts(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, tried, prepared = trained_with(storage, tmp_path, monkeypatch, MICRO_BATCHES)
    assert tried == [1, MICRO_BATCHES]
    assert kind_of(trial) == "complete" and trial.user_attrs["micro_batches"] == MICRO_BATCHES
    assert_undisturbed(storage, "short", prepared)
    assert not list(tmp_path.rglob("*.ckpt"))


@on_sqlite
def test_a_trial_that_does_not_fit_in_parts_either_is_infeasible(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, tried, _ = trained_with(storage, tmp_path, monkeypatch, 2 * MICRO_BATCHES)
    assert tried == [1, MICRO_BATCHES]
    assert kind_of(trial) == "infeasible" and trial.constraints == {"memory": 1.0}
    assert "out of memory on cpu" in trial.user_attrs["reason"]
    assert not list(tmp_path.rglob("*.ckpt"))
