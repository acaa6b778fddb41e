"""Finalists trained again by real workers: interrupted, killed, and never twice."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from fixtures_storage import on_sqlite
from made_workers import PATIENCE_S, crew_of, run, work_here
from sqlalchemy import select, update
from undisturbed import digits_spec

from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import load_search_data
from hpsearch.search import control
from hpsearch.search.attempt import MICRO_BATCHES
from hpsearch.search.finalists import choice, correct, plan
from hpsearch.search.progress import progress_of
from hpsearch.search.samplers import seed_of
from hpsearch.search.stored_study import enter_study, read_stored_study
from hpsearch.storage.leases import MAX_ATTEMPTS, Lease
from hpsearch.storage.schema import FINALIST, leases, studies
from hpsearch.storage.storage import Storage
from hpsearch.study.config import TrialConfig
from hpsearch.study.spec import StudySpec
from hpsearch.training.loop import train
from hpsearch.workers import local as local_workers

SEARCHED = seed_of(0, 0, stream=1)  # the seed of a study's first trial


def opened(storage: Storage, confirm: Any, **search: Any) -> Path:
    """Enter the study `again` and open it for workers; return where its data lies."""
    written = digits_spec("again", **search).model_dump(mode="json") | {"confirm": confirm}
    spec = StudySpec.model_validate(written)
    prepared = prepare(spec.data)
    enter_study(storage, spec, prepared)
    storage.ledger.begin_launch(
        "again", spec.model_dump_json(), spec.trial_budget(), spec.search.timeout,
        confirm=spec.candidates() > 0,
    )  # fmt: skip
    return prepared.folder


def assert_whole(storage: Storage, prepared: Path, trainings: int) -> None:
    """So many trainings have ended, each exactly as if nobody had ever disturbed it."""
    study = read_stored_study(storage, "again")
    assert len(study.confirmations) == trainings
    assert plan(study).due == []
    data = load_search_data(prepared)
    by_number = {t.number: t for t in study.trials}
    torch.set_num_threads(1)
    for confirmation in study.confirmations:
        trial = by_number[confirmation.trial_number]
        slot = trial.user_attrs["slot"]
        seed = seed_of(study.spec.search.seed, slot, stream=2 + confirmation.repeat)
        assert confirmation.result.seed == seed != trial.user_attrs["seed"]
        config = study.config(trial).model_copy(update={"seed": seed})
        epochs = [epoch for epoch, _ in train(config, data, torch.device("cpu"))]
        curve = confirmation.result.curve
        assert [(e.train_loss, e.test_metric) for e in curve] == [
            (e.train_loss, e.test_metric) for e in epochs
        ]
        assert confirmation.score == epochs[-1].test_metric
        assert correct(confirmation).mean() == pytest.approx(confirmation.score, abs=1e-6)
    with storage.ledger.engine.connect() as connection:
        rows = connection.execute(select(leases).where(leases.c.kind == FINALIST)).all()
    assert len(rows) == trainings and all(row.done for row in rows)


def confirmations(storage: Storage) -> int:
    return len(storage.confirmations.of("again"))


def begun(storage: Storage) -> bool:
    return bool(storage.confirmations.running("again"))


def test_workers_confirm_what_the_search_has_found_and_are_done(
    storage: Storage, tmp_path: Path
) -> None:
    prepared = opened(storage, {"candidates": 2, "seeds": 2}, trials=3, epochs=2)
    crew = crew_of(storage, "again", tmp_path, 2)
    crew.start()
    run(crew)
    assert not crew.gave_up
    assert_whole(storage, prepared, 4)
    study = read_stored_study(storage, "again")
    assert len(study.trials) == 3, "they are no trials"
    assert storage.load("again").best_value == max(t.value or 0 for t in study.trials)
    (waits,) = storage.ledger.waiting()
    assert waits.is_over
    confirm = progress_of(storage, "again").confirm
    assert confirm is not None
    assert (confirm.ended, confirm.of, confirm.running, confirm.is_due) == (4, 4, [], False)
    assert not list((tmp_path / "checkpoints").rglob("*.ckpt"))
    assert choice(study) in study.trials


@on_sqlite
@pytest.mark.parametrize("confirm", ["none", {}, {"candidates": 0}])
def test_without_confirm_and_in_small_studies_nothing_is_trained_again(
    confirm: Any, storage: Storage, tmp_path: Path
) -> None:
    opened(storage, confirm, trials=2, epochs=1)
    work_here(storage, "again", tmp_path)
    study = read_stored_study(storage, "again")
    assert study.confirmations == () and choice(study) == study.best()
    assert progress_of(storage, "again").confirm is None
    (waits,) = storage.ledger.waiting()
    assert waits.is_over


def test_a_training_stopped_within_an_epoch_goes_on_there_at_another_worker(
    storage: Storage, tmp_path: Path
) -> None:
    prepared = opened(storage, {"candidates": 1, "seeds": 2}, trials=1, epochs=3)
    asked = iter(range(10**9))
    stop_at: list[int] = []

    def stopped() -> bool:
        now = next(asked)
        if not stop_at and begun(storage):
            stop_at.append(now + 20)
        return bool(stop_at) and now > stop_at[0]

    work_here(storage, "again", tmp_path, stopped=stopped)
    (kept,) = (tmp_path / "checkpoints" / "again").glob("*.ckpt")
    assert kept.name.startswith("000000-finalist-0-")
    assert confirmations(storage) == 0 and not begun(storage)
    assert progress_of(storage, "again").finished == 1
    work_here(storage, "again", tmp_path)
    assert_whole(storage, prepared, 2)


def test_workers_that_are_killed_while_they_confirm_repeat_and_lose_nothing(
    storage: Storage, tmp_path: Path
) -> None:
    prepared = opened(storage, {"candidates": 2, "seeds": 3}, trials=2, epochs=8)
    crew = crew_of(storage, "again", tmp_path, 2)
    crew.checkpoint_every_s = 0.0
    crew.start()
    killed: list[int] = []

    def kill() -> bool:
        if len(killed) < 3 and begun(storage) and confirmations(storage) >= len(killed):
            with storage.ledger.engine.connect() as connection:
                holder = connection.execute(
                    select(leases.c.worker).where(leases.c.kind == FINALIST, ~leases.c.done)
                ).scalar()
            process = crew._alive.get(holder or "")
            if process is not None and process.pid is not None and process.is_alive():
                os.kill(process.pid, signal.SIGKILL)
                process.join()
                killed.append(process.pid)
        return False

    run(crew, kill)
    assert len(killed) == 3 and not crew.gave_up
    study = read_stored_study(storage, "again")
    assert_whole(storage, prepared, plan(study).of)
    assert 4 <= plan(study).of <= 6


@on_sqlite
def test_a_paused_study_lets_go_of_a_finalist_and_goes_on(storage: Storage, tmp_path: Path) -> None:
    prepared = opened(storage, {"candidates": 1, "seeds": 1}, trials=1, epochs=60)
    paused: list[bool] = []

    def progressed() -> None:
        if not paused and begun(storage):
            control.pause(storage, "again")
            paused.append(True)

    deadline = time.monotonic() + PATIENCE_S

    def stopped() -> bool:
        return (bool(paused) and not begun(storage)) or time.monotonic() > deadline

    work_here(storage, "again", tmp_path, progressed=progressed, stopped=stopped)
    assert paused and confirmations(storage) == 0
    control.resume(storage, "again")
    work_here(storage, "again", tmp_path)
    assert_whole(storage, prepared, 1)


@on_sqlite
def test_a_training_on_which_workers_die_is_given_up_with_that_reason(
    storage: Storage, tmp_path: Path
) -> None:
    opened(storage, {"candidates": 1, "seeds": 1}, trials=1, epochs=1)
    lease: list[Lease] = []

    def progressed() -> None:
        if begun(storage) and not lease:
            with storage.ledger.engine.begin() as connection:
                connection.execute(update(leases).values(attempts=MAX_ATTEMPTS))
            lease.append(Lease("again", 0, None, "here", 1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work_here(storage, "again", tmp_path, progressed=progressed)
    storage.leases.expire_worker("here")
    work_here(storage, "again", tmp_path)
    (found,) = read_stored_study(storage, "again").confirmations
    assert found.score is None
    assert found.reason == f"{MAX_ATTEMPTS} workers died on this training, one after the other"


@on_sqlite
def test_a_training_that_fails_is_on_record_and_the_worker_goes_on(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(storage, {"candidates": 1, "seeds": 2}, trials=1, epochs=1)

    def broken(config: TrialConfig, *others: Any) -> Any:
        if config.seed == SEARCHED:
            return train(config, *others)
        raise RuntimeError("a kernel that is not there")

    monkeypatch.setattr("hpsearch.search.attempt.train", broken)
    work_here(storage, "again", tmp_path)
    found = read_stored_study(storage, "again").confirmations
    assert [c.score for c in found] == [None, None]
    assert found[0].reason == "RuntimeError: a kernel that is not there"
    assert "Traceback" in (found[0].result.traceback or "")
    assert choice(read_stored_study(storage, "again")) is not None


def short_of_memory(monkeypatch: pytest.MonkeyPatch, parts: int) -> list[int]:
    """Let trainings in fewer parts of a batch fail as they do on a full GPU; return the tries.

    The trial's own training, before them, goes well.
    """
    real, tried = train, []

    def trained(config: TrialConfig, *others: Any) -> Any:
        if config.seed == SEARCHED:
            yield from real(config, *others)
            return
        tried.append(config.micro_batches)
        for number, epoch in enumerate(real(config, *others)):
            if config.micro_batches < parts and number == 1:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            yield epoch

    monkeypatch.setattr("hpsearch.search.attempt.train", trained)
    return tried


@on_sqlite
def test_a_training_that_runs_out_of_memory_is_tried_in_parts_and_says_so(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = opened(storage, {"candidates": 1, "seeds": 1}, trials=1, epochs=3)
    tried = short_of_memory(monkeypatch, MICRO_BATCHES)
    work_here(storage, "again", tmp_path)
    assert tried == [1, MICRO_BATCHES]
    study = read_stored_study(storage, "again")
    (found,) = study.confirmations
    assert found.result.micro_batches == MICRO_BATCHES and found.reason is None
    config = study.config(study.trials[0])
    config = config.model_copy(update={"seed": found.result.seed, "micro_batches": MICRO_BATCHES})
    epochs = [e for e, _ in train(config, load_search_data(prepared), torch.device("cpu"))]
    assert found.score == epochs[-1].test_metric
    assert not list((tmp_path / "checkpoints").rglob("*.ckpt"))


@on_sqlite
def test_a_training_that_does_not_fit_in_parts_either_is_infeasible(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(storage, {"candidates": 1, "seeds": 1}, trials=1, epochs=3)
    tried = short_of_memory(monkeypatch, MICRO_BATCHES + 1)
    work_here(storage, "again", tmp_path)
    assert tried == [1, MICRO_BATCHES]
    (found,) = read_stored_study(storage, "again").confirmations
    assert found.result.infeasible == "memory" and found.score is None
    assert "out of memory on cpu, even with a batch of 128 in 4 part(s)" in str(found.reason)


@on_sqlite
def test_a_training_in_parts_goes_on_in_parts_at_another_worker(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(storage, {"candidates": 1, "seeds": 1}, trials=1, epochs=4)
    tried = short_of_memory(monkeypatch, MICRO_BATCHES)
    asked: list[int] = []

    def stopped() -> bool:
        asked.extend([1] if MICRO_BATCHES in tried else [])
        return len(asked) > 20

    work_here(storage, "again", tmp_path, stopped=stopped)
    assert confirmations(storage) == 0
    work_here(storage, "again", tmp_path)
    assert tried == [1, MICRO_BATCHES, MICRO_BATCHES], "it does not run out of memory again first"
    (found,) = read_stored_study(storage, "again").confirmations
    assert [e.epoch for e in found.result.curve] == [1, 2, 3, 4]


@on_sqlite
def test_a_training_past_its_time_ends_counting_what_earlier_workers_took(
    storage: Storage, tmp_path: Path
) -> None:
    opened(storage, {"candidates": 1, "seeds": 1}, trials=1, epochs=2)
    work_here(storage, "again", tmp_path, stopped=lambda: progress_of(storage, "again").complete)
    row = storage.ledger.study("again")
    assert row is not None
    spec = row.spec
    search = spec.search.model_copy(update={"trial_timeout": 0.001})
    spec = spec.model_copy(update={"search": search})
    storage.ledger.begin_launch("again", spec.model_dump_json(), 1, None, confirm=True)
    work_here(storage, "again", tmp_path)
    (found,) = read_stored_study(storage, "again").confirmations
    assert found.result.infeasible == "trial_timeout"
    assert "longer than search.trial_timeout, 0.001 s" in str(found.reason)


@on_sqlite
def test_a_finalist_that_hangs_is_ended_by_its_supervisor(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_workers, "SUPERVISE_EVERY_S", 0.2)
    opened(storage, {"candidates": 1, "seeds": 1}, trials=1, epochs=60, stall_timeout=1)
    work_here(storage, "again", tmp_path, stopped=lambda: progress_of(storage, "again").complete)
    crew = crew_of(storage, "again", tmp_path)
    crew.start()
    frozen: list[int] = []

    def freeze_once() -> bool:
        if not frozen and begun(storage):
            (process,) = crew._alive.values()
            assert process.pid is not None
            os.kill(process.pid, signal.SIGSTOP)
            frozen.append(process.pid)
        return False

    run(crew, freeze_once)
    assert frozen
    (found,) = read_stored_study(storage, "again").confirmations
    assert found.reason == "it hung: no batch was over for 1 s"


@on_sqlite
def test_another_metric_than_accuracy_is_resampled_with_the_same_images_each_time(
    storage: Storage, tmp_path: Path
) -> None:
    opened(storage, {"candidates": 2, "seeds": 2}, trials=2, epochs=2, metric="macro-f1")
    work_here(storage, "again", tmp_path)
    study = read_stored_study(storage, "again")
    assert len(study.confirmations) == 4
    assert all(c.result.correct is None for c in study.confirmations)
    assert choice(study) in study.trials


@on_sqlite
@pytest.mark.parametrize(("timeout", "share"), [(1000, None), (20, 0.25)])
def test_time_is_kept_to_confirm_but_never_more_than_a_quarter_of_the_timeout(
    timeout: int, share: float | None, storage: Storage, tmp_path: Path
) -> None:
    opened(storage, {"candidates": 20, "seeds": 10}, trials=1, epochs=1, timeout=timeout)
    work_here(
        storage, "again", tmp_path, stopped=lambda: progress_of(storage, "again").complete > 0
    )
    (trial,) = read_stored_study(storage, "again").trials
    with storage.ledger.engine.connect() as connection:
        kept_s = connection.execute(select(studies.c.confirm_s)).scalar_one()
    whole_s = 200 * trial.user_attrs["duration_s"] * 1.05  # one worker
    assert kept_s == pytest.approx(whole_s if share is None else share * timeout)
