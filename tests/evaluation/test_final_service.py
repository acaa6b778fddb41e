"""A final that is disturbed: killed, asleep, cut off, beside others. It opens once all the same."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fixtures_storage import Server, on_postgres, on_sqlite
from made_finals import assert_concluded_once, measure, searched
from made_records import final_record
from made_studies import enter, rewind
from made_trainings import config

from hpsearch.errors import WorkerError
from hpsearch.reports.report import make_report
from hpsearch.service.conclude import write_results
from hpsearch.storage import schema as tables
from hpsearch.storage.leases import MAX_ATTEMPTS, LeaseLostError
from hpsearch.storage.retry import DATABASE_ERRORS
from hpsearch.storage.schema import FINAL
from hpsearch.storage.storage import Storage, open_storage
from hpsearch.storage.studies import DONE, OPEN, PAUSED


def disturb(at_epoch: int, with_pids: Callable[[list[int]], None]) -> Callable[[int, Any], None]:
    """Return what does something to the processes of a final once, when an epoch is over."""
    done: list[bool] = []
    before = set(multiprocessing.active_children())  # of other tests

    def finishing(_trial: int, epoch: dict[str, Any]) -> None:
        if not done and epoch["epoch"] >= at_epoch:
            done.append(True)
            ours = set(multiprocessing.active_children()) - before
            with_pids([p.pid for p in ours if p.pid is not None])

    return finishing


def killed(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgres", marks=pytest.mark.chaos)], indirect=True
)
def test_processes_that_are_killed_are_another_attempt_at_the_final(
    storage: Storage, tmp_path: Path
) -> None:
    prepared = searched(storage, tmp_path, epochs=12)
    assert measure(storage, tmp_path, prepared, finishing=disturb(2, killed))
    assert_concluded_once(storage, tmp_path)


@on_sqlite
def test_a_baseline_that_is_killed_is_trained_all_the_same(
    storage: Storage, tmp_path: Path
) -> None:
    prepared = searched(storage, tmp_path, epochs=12)
    begun: list[bool] = []

    def kill_the_baseline(pids: list[int]) -> None:
        begun.append(True)
        killed([max(pids)])

    finishing = disturb(1, kill_the_baseline)
    assert measure(storage, tmp_path, prepared, finishing=finishing)
    assert begun
    assert_concluded_once(storage, tmp_path)


@on_sqlite
def test_a_final_that_lost_its_lease_opens_nothing_and_writes_nothing(
    storage: Storage, tmp_path: Path
) -> None:
    prepared = searched(storage, tmp_path, epochs=12)
    other = open_storage(storage.url.render_as_string(False))
    won: list[Any] = []

    def take_over(_pids: list[int]) -> None:
        rewind(storage, tables.leases, "expires_at", 1000)
        won.append(other.leases.claim("small", "the winner", kind=FINAL))

    assert measure(storage, tmp_path, prepared, finishing=disturb(1, take_over)) is None
    assert won[0] is not None and won[0].attempts == 2
    assert make_report(storage, "small").seal.times == 0
    assert not list((tmp_path / "runs").rglob("*"))
    other.leases.give_back(won[0])
    assert measure(other, tmp_path, prepared)
    assert_concluded_once(storage, tmp_path)
    other.close()


@on_postgres
@pytest.mark.parametrize("begins", [0, 3])
def test_an_outage_of_twelve_seconds_in_the_final_is_waited_out(
    server: Server, tmp_path: Path, backend: str, begins: int
) -> None:
    storage = open_storage(server.url, gives_up=lambda: False)
    prepared = searched(storage, tmp_path)

    def away() -> None:
        server.stop()
        time.sleep(12)
        server.start()

    outage = threading.Thread(target=away)
    if begins == 0:
        assert measure(storage, tmp_path, prepared, begins=outage.start)
    else:  # its last epoch is over: opening, result and state find nobody
        finishing = disturb(begins, lambda _pids: outage.start())
        assert measure(storage, tmp_path, prepared, finishing=finishing)
    outage.join()
    assert_concluded_once(storage, tmp_path)
    storage.close()


@on_sqlite
def test_missing_results_are_written_again_or_named(storage: Storage, tmp_path: Path) -> None:
    prepared = searched(storage, tmp_path)
    assert measure(storage, tmp_path, prepared)
    written = {p.name: p.read_bytes() for p in (tmp_path / "runs").iterdir()}
    for name in ("best.yaml", "report.md", "trials.csv"):
        (tmp_path / "runs" / name).unlink()
    assert measure(storage, tmp_path, prepared) is False
    assert {p.name: p.read_bytes() for p in (tmp_path / "runs").iterdir()} == written
    assert not write_results(make_report(storage, "small"), tmp_path / "runs")
    place = tmp_path / "runs/.final-dead"  # its process died before they took their place
    place.mkdir()
    for name in ("model.safetensors", "mistakes.png"):
        (tmp_path / "runs" / name).rename(place / name)
    assert measure(storage, tmp_path, prepared) is False
    assert {p.name: p.read_bytes() for p in (tmp_path / "runs").iterdir()} == written
    (tmp_path / "runs/model.safetensors").unlink()
    measure(storage, tmp_path, prepared)
    (missing,) = write_results(make_report(storage, "small"), tmp_path / "runs")
    assert "model.safetensors is missing" in missing and "hpsearch train" in missing


@on_sqlite
def test_a_lease_is_given_back_where_the_end_of_a_final_cannot_be_written(
    storage: Storage, tmp_path: Path
) -> None:
    prepared = searched(storage, tmp_path, epochs=1)
    engine = storage.ledger.engine
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER never BEFORE UPDATE OF state ON hpsearch_studies "
            "WHEN NEW.state = 'done' BEGIN SELECT RAISE(ABORT, 'it cannot be written'); END"
        )
    with pytest.raises(DATABASE_ERRORS, match="it cannot be written"):
        measure(storage, tmp_path, prepared)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER never")
    assert measure(storage, tmp_path, prepared) is False, "nobody waits for a lease to run out"
    assert_concluded_once(storage, tmp_path)


# What the storage lets a final do


def test_a_final_is_taken_over_and_an_epoch_further_sets_its_attempts_back(
    storage: Storage,
) -> None:
    enter(storage)
    lease = None
    for attempt in range(1, MAX_ATTEMPTS + 1):
        lease = storage.leases.claim("made", f"worker {attempt}", kind=FINAL)
        assert lease is not None and lease.attempts == attempt
        rewind(storage, tables.leases, "expires_at", 1000)
    assert lease is not None
    storage.leases.renew(lease, epochs=True)
    rewind(storage, tables.leases, "expires_at", 1000)
    again = storage.leases.claim("made", "another", kind=FINAL)
    assert again is not None and again.attempts == 2
    assert not storage.leases.conclude(lease, DONE)
    storage.leases.give_back(again)
    storage.ledger.set_state("made", PAUSED)
    assert storage.leases.claim("made", "third", kind=FINAL) is None
    storage.ledger.set_state("made", OPEN)
    assert storage.leases.claim("made", "third", kind=FINAL) is not None


@on_sqlite
def test_a_final_on_which_processes_keep_dying_stops_with_that_reason(
    storage: Storage, tmp_path: Path
) -> None:
    prepared = searched(storage, tmp_path)
    for n in range(MAX_ATTEMPTS):
        assert storage.leases.claim("small", f"dead {n}", kind=FINAL) is not None
        storage.leases.expire_worker(f"dead {n}")
    with pytest.raises(WorkerError, match="5 processes died on the final of study 'small'"):
        measure(storage, tmp_path, prepared)


def test_an_opening_is_written_once_by_whoever_has_the_lease(storage: Storage) -> None:
    enter(storage)
    lost = storage.leases.claim("made", "first", kind=FINAL)
    assert lost is not None
    about: tuple[Any, ...] = ("a" * 64, 0, "me", "final choice", config())
    opening = storage.openings.open(lost, "key", 0, *about)
    assert opening is not None
    assert storage.openings.open(lost, "key", 0, *about) == opening, "tried again after an outage"
    assert storage.openings.open(lost, "other", 0, *about) is None, "somebody opened meanwhile"
    storage.leases.expire_worker("first")
    assert storage.leases.claim("made", "second", kind=FINAL) is not None
    writes: tuple[Callable[[], object], ...] = (
        lambda: storage.openings.open(lost, "key", opening, *about),
        lambda: storage.openings.write_result(opening, final_record(), lost),
        lambda: storage.openings.go_on(lost),
    )
    for write in writes:
        with pytest.raises(LeaseLostError):
            write()
    (kept,) = storage.openings.of("a" * 64)
    assert kept.key == "key" and not kept.measured
