"""Trials that take too much, hang or fail, and workers that are refused: with real processes."""

from __future__ import annotations

import dataclasses
import json
import operator
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from fixtures_storage import on_postgres, on_sqlite
from made_studies import open_leases, rewind
from made_workers import PATIENCE_S, crew_of, environment, run, work_here
from optuna.trial import TrialState, create_trial
from sqlalchemy import select
from undisturbed import assert_undisturbed, digits_spec, freeze, opened

from hpsearch.data.prepared import SearchData, load_search_data
from hpsearch.errors import StudyMismatchError
from hpsearch.machine.memory import MemoryWatch, give_back
from hpsearch.search import control, worker
from hpsearch.search.stored_study import read_stored_study
from hpsearch.search.worker import Worker
from hpsearch.storage import worker_registry as worker_list
from hpsearch.storage.checkpoints import Checkpoints
from hpsearch.storage.schema import leases
from hpsearch.storage.storage import Storage, open_storage
from hpsearch.storage.studies import STOPPED
from hpsearch.training.state import from_bytes
from hpsearch.workers import local as local_workers


@on_sqlite
def test_a_trial_that_needs_too_much_memory_is_infeasible_and_teaches_the_sampler(
    storage: Storage, tmp_path: Path
) -> None:
    space = {"batch_size": [16, 1439], "filters": 1024, "kernel_size": 7, "layers": 4}
    spec = digits_spec("huge", space=space, trials=1, epochs=1)
    opened(storage, spec)
    code = "import sys, test_service; test_service.with_little_memory(*sys.argv[1:])"
    subprocess.run(
        [sys.executable, "-c", code, storage.url.render_as_string(False), str(tmp_path)],
        check=True,
        env=environment(),
    )
    (trial,) = read_stored_study(storage, "huge").trials
    assert trial.state == TrialState.PRUNED
    assert trial.user_attrs["micro_batches"] > 1, "smaller parts were tried before"
    assert "out of memory" in trial.user_attrs["reason"]
    assert trial.constraints == {"memory": 1.0}


@on_sqlite
@pytest.mark.parametrize(
    ("what", "space", "search", "says"),
    [
        ("memory", {"filters": 2048, "kernel_size": 15, "layers": 8}, {}, "GiB of memory, and"),
        ("parameters", {"filters": 64}, {"max_parameters": 9_000}, "more than search.max_param"),
        (
            "flops",
            {"filters": 64},
            {"constraints": {"flops": "9k"}},
            "more than search.constraints",
        ),
        ("latency", {"filters": 64}, {"constraints": {"latency_ms": 1e-3}}, "ms for an image on"),
    ],
)
def test_what_cannot_be_trained_is_known_before_and_teaches_the_sampler(
    what: str, space: Any, search: Any, says: str, storage: Storage, tmp_path: Path
) -> None:
    spec = digits_spec(what, space={"batch_size": [16, 32], **space}, trials=2, epochs=1, **search)
    opened(storage, spec)
    work_here(storage, what, tmp_path)
    trials = read_stored_study(storage, what).trials
    assert len(trials) == 2
    for trial in trials:
        assert trial.state == TrialState.PRUNED
        assert says in trial.user_attrs["reason"]
        assert list(trial.constraints) == [what]
        assert trial.constraints[what] > 0
        assert trial.user_attrs["parameters"] > 9_000
        assert trial.user_attrs["forward_flops"] > 10_000
        assert "curve" not in trial.user_attrs, "nothing was trained"


def with_little_memory(url: str, place: str) -> None:
    """Work in a process that may take 600 MB more than it has, which the trial outgrows."""
    import resource

    storage = open_storage(url, create=False)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + 600 * 2**20,) * 2)
    work_here(storage, "huge", Path(place))
    storage.close()


@on_sqlite
def test_a_trial_past_its_time_is_pruned_with_a_reason(storage: Storage, tmp_path: Path) -> None:
    spec = digits_spec("slow", trials=1, epochs=5000, trial_timeout=1)
    opened(storage, spec)
    work_here(storage, "slow", tmp_path)
    (trial,) = read_stored_study(storage, "slow").trials
    assert trial.state == TrialState.PRUNED
    assert "longer than search.trial_timeout, 1.0 s" in trial.user_attrs["reason"]
    assert trial.constraints == {"trial_timeout": 1.0}
    assert Checkpoints(str(tmp_path / "checkpoints")).size_bytes("slow") == 0


@on_sqlite
def test_a_trial_that_hangs_is_ended_by_its_supervisor_and_the_study_goes_on(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_workers, "SUPERVISE_EVERY_S", 0.2)
    slow = {"batch_size": 1439, "layers": 3, "filters": 512}  # a batch takes seconds
    spec = digits_spec("hangs", space=slow, trials=1, epochs=50, stall_timeout=1)
    opened(storage, spec)
    crew = crew_of(storage, "hangs", tmp_path)
    crew.start()
    run(crew)
    (trial,) = read_stored_study(storage, "hangs").trials
    assert trial.state == TrialState.FAIL
    assert "it hung: no batch was over for 1 s" in trial.user_attrs["reason"]
    assert open_leases(storage, "hangs") == 0


@on_sqlite
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="stops a process")
def test_a_worker_process_that_gives_no_sign_of_life_is_replaced(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_workers, "SUPERVISE_EVERY_S", 0.2)
    monkeypatch.setattr(local_workers, "LOOKS_AT_SILENT", 40)
    monkeypatch.setattr(worker_list, "GONE_AFTER_S", 8.0)
    spec = digits_spec("frozen", trials=1, epochs=40)
    prepared = opened(storage, spec)
    crew = crew_of(storage, "frozen", tmp_path)
    crew.start()
    stopped: list[int] = []

    def freeze_once() -> bool:
        trials = read_stored_study(storage, "frozen").trials
        if not stopped and trials and trials[0].intermediate_values:
            (process,) = crew._alive.values()
            assert process.pid is not None
            os.kill(process.pid, signal.SIGSTOP)
            stopped.append(process.pid)
        return False

    run(crew, freeze_once)
    assert stopped
    (trial,) = read_stored_study(storage, "frozen").trials
    assert trial.state == TrialState.FAIL and "no sign of life" in trial.user_attrs["reason"]
    assert_undisturbed(storage, "frozen", prepared)


def spoil_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give this process data whose labels no network has an output for."""

    def spoilt(folder: Path) -> SearchData:
        data = load_search_data(folder)
        train = dataclasses.replace(data.train, targets=data.train.targets + 1000)
        return dataclasses.replace(data, train=train)

    monkeypatch.setattr(worker, "load_search_data", spoilt)


@on_sqlite
def test_three_failures_from_one_cause_stop_the_study_with_that_cause(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = digits_spec("broken", trials=50)
    opened(storage, spec)
    spoil_data(monkeypatch)
    work_here(storage, "broken", tmp_path)
    trials = read_stored_study(storage, "broken").trials
    assert [t.state for t in trials] == [TrialState.FAIL] * 3
    assert all("Traceback" in t.user_attrs["traceback"] for t in trials)
    row = storage.ledger.study("broken")
    assert row is not None and row.state == STOPPED
    assert "3 trials in a row failed: IndexError: Target 10" in row.note


@on_sqlite
def test_a_worker_without_the_data_of_its_study_says_so_and_runs_nothing(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(storage, digits_spec("elsewhere", trials=1))
    monkeypatch.setenv("HPSEARCH_CACHE", str(tmp_path / "empty"))
    with pytest.raises(StudyMismatchError, match="is not prepared on this machine"):
        work_here(storage, "elsewhere", tmp_path)
    assert read_stored_study(storage, "elsewhere").trials == []


@on_sqlite
def test_a_worker_of_another_version_goes_on_and_is_on_record(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = digits_spec("versions", trials=1, epochs=30)
    prepared = opened(storage, spec)
    asked = iter(range(10**9))
    work_here(storage, "versions", tmp_path, stopped=lambda: next(asked) > 60)
    (trial,) = read_stored_study(storage, "versions").trials
    monkeypatch.setattr("hpsearch.search.runner.version", lambda name: "99.0")
    work_here(storage, "versions", tmp_path)
    (trial,) = read_stored_study(storage, "versions").trials
    assert trial.state == TrialState.COMPLETE
    assert trial.user_attrs["torch"] != "99.0" and trial.user_attrs["torch_later"] == "99.0"
    assert_undisturbed(storage, "versions", prepared)


def test_a_trial_stopped_within_an_epoch_goes_on_there_at_another_worker(
    storage: Storage, tmp_path: Path
) -> None:
    spec = digits_spec("moved", trials=1, epochs=3)
    prepared = opened(storage, spec)
    asked = iter(range(10**9))
    work_here(storage, "moved", tmp_path, stopped=lambda: next(asked) > 20)
    (kept,) = (tmp_path / "checkpoints" / "moved").glob("*.ckpt")
    state = from_bytes(kept.read_bytes(), torch.device("cpu"))
    assert 0 < state["batches"] < 1439 // 128 + 1, "it was kept within an epoch"
    assert len(read_stored_study(storage, "moved").interrupted) == 1
    work_here(storage, "moved", tmp_path)
    assert_undisturbed(storage, "moved", prepared)
    assert not list((tmp_path / "checkpoints").rglob("*.ckpt")), "kept only as long as needed"


def test_without_its_checkpoint_a_trial_starts_again_and_repeats_itself(
    storage: Storage, tmp_path: Path
) -> None:
    spec = digits_spec("again", trials=1, epochs=3)
    prepared = opened(storage, spec)
    asked = iter(range(10**9))
    work_here(storage, "again", tmp_path, stopped=lambda: next(asked) > 20)
    shutil.rmtree(tmp_path / "checkpoints")
    work_here(storage, "again", tmp_path)
    (trial,) = read_stored_study(storage, "again").trials
    assert list(trial.intermediate_values) == [1, 2, 3]
    assert_undisturbed(storage, "again", prepared)


@on_sqlite
def test_a_worker_that_has_grown_asks_for_a_fresh_process(storage: Storage, tmp_path: Path) -> None:
    opened(storage, digits_spec("grows", trials=8, epochs=1))
    give_back()  # what earlier tests in this process have freed is no reserve for this one
    hoard: list[bytearray] = []

    def hoarding() -> None:
        hoard.append(bytearray(os.urandom(1) * (40 * 2**20)))

    worker = Worker(
        name="here",
        storage=storage,
        device=torch.device("cpu"),
        threads=1,
        checkpoints=Checkpoints(str(tmp_path)),
        stopped=lambda: False,
        progressed=hoarding,
        only="grows",
        memory=MemoryWatch(growth=1.01, settled_after=3),
    )
    assert worker.work() is False
    assert 3 < len(read_stored_study(storage, "grows").trials) < 8


@on_sqlite
def test_a_paused_study_lets_go_within_seconds_and_goes_on_where_it_was(
    storage: Storage, tmp_path: Path
) -> None:
    prepared = opened(storage, digits_spec("paused", trials=2, epochs=5000))
    crew = crew_of(storage, "paused", tmp_path, 2)
    crew.start()
    moments: list[float] = []
    epochs: list[int] = []

    def orders() -> bool:
        study = read_stored_study(storage, "paused")
        reached = [len(t.intermediate_values) for t in study.trials]
        if not moments and len(reached) == 2 and min(reached) > 0:
            control.pause(storage, "paused")
            moments.append(time.monotonic())
        elif len(moments) == 1 and not study.held:
            assert time.monotonic() - moments[0] < 10
            assert len(study.interrupted) == 2
            moments.append(time.monotonic())
            epochs.extend(reached)
            control.resume(storage, "paused")
        elif len(moments) == 2 and min(map(operator.sub, reached, epochs)) > 2:
            control.stop(storage, "paused")
            moments.append(time.monotonic())
        return False

    run(crew, orders)
    assert len(moments) == 3
    assert_undisturbed(storage, "paused", prepared)


@on_sqlite
def test_a_study_deleted_under_its_worker_costs_the_worker_nothing(
    storage: Storage, tmp_path: Path
) -> None:
    opened(storage, digits_spec("gone", trials=1, epochs=400))
    crew = crew_of(storage, "gone", tmp_path)
    crew.start()
    deleted: list[bool] = []

    def delete() -> bool:
        if not deleted and any(
            t.intermediate_values for t in read_stored_study(storage, "gone").trials
        ):
            control.delete(storage, "gone", Checkpoints(str(tmp_path / "checkpoints")))
            deleted.append(True)
        return False

    run(crew, delete)
    assert deleted and not crew.gave_up
    assert storage.study_names() == []


def test_a_study_made_anew_under_its_worker_has_its_own_trials_alone(
    storage: Storage, tmp_path: Path
) -> None:
    opened(storage, digits_spec("same", trials=1, epochs=5000, seed=1))
    crew = crew_of(storage, "same", tmp_path)
    crew.start()
    made: list[Path] = []

    def make_anew() -> bool:
        trials = read_stored_study(storage, "same").trials
        if not made and any(t.intermediate_values for t in trials):
            control.delete(storage, "same", Checkpoints(str(tmp_path / "checkpoints")))
            made.append(opened(storage, digits_spec("same", trials=3, epochs=40, seed=2)))
            work_here(storage, "same", tmp_path)
        return False

    run(crew, make_anew)
    assert made and not crew.gave_up
    study = read_stored_study(storage, "same")
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 3
    assert open_leases(storage, "same") == 0
    assert_undisturbed(storage, "same", made[0])


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="stops a process")
def test_a_worker_that_slept_longer_than_its_lease_writes_nothing_to_what_it_lost(
    storage: Storage, tmp_path: Path
) -> None:
    prepared = opened(storage, digits_spec("slept", trials=2, epochs=60))
    crew = crew_of(storage, "slept", tmp_path)
    crew.checkpoint_every_s = 0.0
    crew.start()
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not any(t.intermediate_values for t in read_stored_study(storage, "slept").trials):
            assert crew.look() and time.monotonic() < deadline
            time.sleep(0.05)
        (process,) = crew._alive.values()
        assert process.pid is not None
        freeze(process.pid, storage)
        rewind(storage, leases, "expires_at", 100)  # as if it had slept for so long
        taken = storage.leases.claim("slept", "awake")
        assert taken is not None and taken.slot == 0
        before = read_stored_study(storage, "slept").trials[0], kept(tmp_path)
        os.kill(process.pid, signal.SIGCONT)
        while len(read_stored_study(storage, "slept").trials) < 2:  # it goes on with another
            assert crew.look() and time.monotonic() < deadline
            time.sleep(0.05)
        assert read_stored_study(storage, "slept").trials[0] == before[0]
        assert {path: at for path, at in kept(tmp_path).items() if path in before[1]} == before[1]
        storage.leases.expire_worker("awake")
    except BaseException:
        crew.stop()
        raise
    run(crew)
    assert not crew.gave_up
    study = read_stored_study(storage, "slept")
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 2
    assert_undisturbed(storage, "slept", prepared)


def kept(place: Path) -> dict[str, int]:
    """Return when each checkpoint was written."""
    found = (place / "checkpoints").rglob("*.ckpt")
    return {path.name: path.stat().st_mtime_ns for path in found}


SKEWED = """
import sys, time
real = time.time
time.time = lambda: real() + float(sys.argv[3])
time.time_ns = lambda: int(1e9 * time.time())
from pathlib import Path
import test_service
from hpsearch.storage.storage import open_storage
storage = open_storage(sys.argv[1], create=False)
test_service.work_here(storage, "skewed", Path(sys.argv[2]))
storage.close()
"""


@on_postgres
def test_clocks_an_hour_apart_steal_no_live_lease(storage: Storage, tmp_path: Path) -> None:
    spec = digits_spec("skewed", trials=4, epochs=8)
    prepared = opened(storage, spec)
    url = storage.url.render_as_string(False)
    crew = [
        subprocess.Popen(
            [sys.executable, "-c", SKEWED, url, str(tmp_path), skew],
            env=environment(),
        )
        for skew in ("3600", "-3600")
    ]
    assert [worker.wait(PATIENCE_S) for worker in crew] == [0, 0]
    assert len(read_stored_study(storage, "skewed").trials) == 4
    with storage.ledger.engine.connect() as connection:
        assert list(connection.execute(select(leases.c.attempts)).scalars()) == [1] * 4
    assert_undisturbed(storage, "skewed", prepared)


@on_sqlite
def test_a_full_disk_under_the_checkpoints_is_a_warning_and_the_trial_goes_on(
    storage: Storage, tmp_path: Path
) -> None:
    unshare = shutil.which("unshare")
    small = tmp_path / "small"
    small.mkdir()
    mount = ["-rm", "sh", "-c", 'mount -t tmpfs -o size=64k none "$0" && exec "$@"', str(small)]
    if (
        unshare is None
        or subprocess.run([unshare, *mount, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no file system can be mounted here")
    spec = digits_spec("full", trials=1, epochs=3, space={"filters": 32, "layers": 2})
    prepared = opened(storage, spec)
    code = "import sys, test_service; test_service.work_on_a_full_disk(*sys.argv[1:])"
    ended = subprocess.run(
        [unshare, *mount, sys.executable, "-c", code,
         storage.url.render_as_string(False), str(small)],
        capture_output=True, text=True, check=False, env=environment(),
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "the trial goes on" in ended.stderr
    assert "No space left on device" in ended.stderr or "the disk is nearly full" in ended.stderr
    assert json.loads(ended.stdout) == [], "no broken file is left"
    (trial,) = read_stored_study(storage, "full").trials
    assert trial.state == TrialState.COMPLETE
    assert_undisturbed(storage, "full", prepared)


def work_on_a_full_disk(url: str, folder: str) -> None:
    """Be a worker whose checkpoints find no room, and print which files they left."""
    place = Path(folder)
    torch.set_num_threads(1)
    storage = open_storage(url, create=False)
    checkpoints = Checkpoints(str(place / "checkpoints"), every_s=0.0, keep_free_bytes=0)
    Worker("here", storage, torch.device("cpu"), 1, checkpoints, lambda: False, only="full").work()
    storage.close()
    print(json.dumps([str(p) for p in place.rglob("*") if p.is_file()]))


def test_a_trial_whose_worker_died_before_it_sampled_is_taken_over(
    storage: Storage, tmp_path: Path
) -> None:
    """Optuna's cache of the next worker has not read the trial, and has to before it samples."""
    prepared = opened(storage, digits_spec("unsampled", trials=1, epochs=1))
    lease = storage.leases.claim("unsampled", "dead")
    assert lease is not None
    attrs = {"slot": 0, "seed": 1, "precision": "fp32", "threads": 1, "torch": "any"}
    template = create_trial(state=TrialState.RUNNING, user_attrs=attrs)
    study_id = storage.optuna.get_study_id_from_name("unsampled")
    storage.leases.set_trial(lease, storage.optuna.create_new_trial(study_id, template))
    storage.leases.expire_worker("dead")
    fresh = open_storage(storage.url.render_as_string(False), create=False)
    work_here(fresh, "unsampled", tmp_path)
    fresh.close()
    (trial,) = read_stored_study(storage, "unsampled").trials
    assert trial.state == TrialState.COMPLETE, trial.user_attrs.get("reason")
    assert_undisturbed(storage, "unsampled", prepared)
