"""Launches that are killed, put to sleep and cut off while they confirm, train and measure.

Each study is concluded all the same, by one opening, as if nothing had happened to it.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty import HERE, LAUNCH, files, told
from fixtures_storage import Server, locked, on_postgres, on_sqlite
from made_studies import rewind
from sqlalchemy import select
from undisturbed import freeze

from hpsearch.storage.leases import LEASE_S
from hpsearch.storage.schema import FINAL, TRIAL, leases
from hpsearch.storage.storage import Storage, open_storage

STUDY = """name: small
data: {source: digits}
space: {filters: 4, layers: 1, learning_rate: [1.0e-4, 1.0e-2], dropout: 0.3}
search: {trials: 2, epochs: EPOCHS, pruner: none, sampler: random, precision: fp32, seed: 1}
confirm: {candidates: 1, seeds: 2}
"""
RESULTS = {"best.yaml", "mistakes.png", "model.safetensors", "report.md", "trials.csv"}
ASLEEP_S = LEASE_S + 30
EPOCHS = 30

Disturb = Callable[[Storage, list[int]], None]  # given the processes of a launch, its own first


def start(place: Path, url: str, epochs: int) -> subprocess.Popen[str]:
    """Start a launch of the study in a folder."""
    place.mkdir(exist_ok=True)
    (place / "small.yaml").write_text(STUDY.replace("EPOCHS", str(epochs)))
    environment = os.environ | {
        "PYTHONPATH": f"{HERE / 'faults'}:{HERE.parent.parent}",
        "OMP_NUM_THREADS": "1",
    }
    with (place / "said").open("a") as said:
        return subprocess.Popen([*LAUNCH, "--storage", url], cwd=place, env=environment,
                                stdout=subprocess.DEVNULL, stderr=said, text=True)  # fmt: skip


def tree(pid: int) -> list[int]:
    """Return a launch's process and those it started: workers, or those of a final."""
    servers = [child for child, command in children(pid) if "forkserver" in command]
    return [pid, *(child for server in servers for child, _ in children(server))]


def children(pid: int) -> list[tuple[int, str]]:
    """Return the processes that one started and that go on, with their command lines."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            after = status.read_text().rpartition(")")[2].split()
            command = (status.parent / "cmdline").read_text()
        except OSError:
            continue  # it has ended
        if int(after[1]) == pid and after[0] != "Z":
            found.append((int(status.parent.name), command))
    return found


def concluding(storage: Storage) -> set[str]:
    """Return the kinds of what is begun, where the search is over; nothing before."""
    with storage.ledger.engine.connect() as connection:
        kinds = connection.execute(
            select(leases.c.kind).where(leases.c.study == "small", ~leases.c.done)
        ).scalars()
        found = set(kinds)
    return set() if TRIAL in found else found


def disturbed(place: Path, url: str, disturb: Disturb, times: int, epochs: int) -> int:
    """Launch a study, again where that ended, and disturb it; return how often it was."""
    storage = open_storage(url, gives_up=lambda: False)
    dice = random.Random(str(place))
    launch, done, due = start(place, url, epochs), 0, float("inf")
    try:
        while launch.poll() != 0:
            if launch.returncode is not None:
                rewind(storage, leases, "expires_at", 1000)  # its children died with it
                launch = start(place, url, epochs)
            elif done < times and concluding(storage):
                due = min(due, time.monotonic() + dice.uniform(0, 4))
                if time.monotonic() >= due:
                    disturb(storage, tree(launch.pid))
                    done, due = done + 1, float("inf")
            time.sleep(0.05)
    finally:
        launch.kill()
        launch.wait()
        storage.close()
    return done


@pytest.fixture(scope="module")
def in_peace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], dict[str, Any]]]:
    """Return what a study comes to, by its epochs, when nothing happens to it."""
    known: dict[int, dict[str, Any]] = {}

    def of(epochs: int) -> dict[str, Any]:
        if epochs not in known:
            place = tmp_path_factory.mktemp("peace")
            url = f"sqlite:///{place}/hpsearch.db"
            assert start(place, url, epochs).wait() == 0, (place / "said").read_text()
            known[epochs] = told(place, url)
        return known[epochs]

    yield of


def assert_as_in_peace(place: Path, url: str, peace: dict[str, Any]) -> None:
    """The same scores by one opening; every file there, and none that is half or left over."""
    found = told(place, url)
    (_,) = found["finals"]
    said = (place / "said").read_text()
    for what in ("state", "count", "trials", "confirmed", "finals", "best"):
        assert found[what] == peace[what], f"{what}: {said}"
    assert files(place / "runs" / "small") == RESULTS
    assert not list((place / "runs").rglob("*.ckpt"))


def kill(seed: int) -> Disturb:
    """Return what kills a process of a launch: the supervisor now and then, else a child."""
    dice = random.Random(seed)

    def one(_storage: Storage, pids: list[int]) -> None:
        victim = pids[0] if len(pids) == 1 or dice.random() < 0.25 else dice.choice(pids[1:])
        os.kill(victim, signal.SIGKILL)

    return one


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [1, 2])
def test_five_kills_in_confirmation_and_final(
    storage_url: str, tmp_path: Path, in_peace: Callable[[int], dict[str, Any]], seed: int
) -> None:
    place = tmp_path / str(seed)
    assert disturbed(place, storage_url, kill(seed), times=5, epochs=EPOCHS) == 5
    assert_as_in_peace(place, storage_url, in_peace(EPOCHS))


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@on_postgres
@pytest.mark.parametrize("seed", [1, 2])
def test_five_outages_in_confirmation_and_final(
    server: Server,
    tmp_path: Path,
    backend: str,
    in_peace: Callable[[int], dict[str, Any]],
    seed: int,
) -> None:
    def away(_storage: Storage, _pids: list[int]) -> None:
        server.stop()
        time.sleep(3)
        server.start()

    place = tmp_path / str(seed)
    assert disturbed(place, server.url, away, times=5, epochs=EPOCHS) == 5
    assert_as_in_peace(place, server.url, in_peace(EPOCHS))


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@on_sqlite
@pytest.mark.parametrize("seed", [1, 2])
def test_five_times_that_nobody_can_write_to_a_file(
    storage_url: str, tmp_path: Path, in_peace: Callable[[int], dict[str, Any]], seed: int
) -> None:
    def hold(storage: Storage, _pids: list[int]) -> None:
        with locked(storage):
            time.sleep(3)

    place = tmp_path / str(seed)
    assert disturbed(place, storage_url, hold, times=5, epochs=EPOCHS) == 5
    assert_as_in_peace(place, storage_url, in_peace(EPOCHS))


@pytest.mark.chaos
@pytest.mark.timeout(1800)
def test_a_final_that_sleeps_for_longer_than_its_lease_beside_another_launch(
    storage_url: str, tmp_path: Path, in_peace: Callable[[int], dict[str, Any]]
) -> None:
    storage = open_storage(storage_url)
    first = start(tmp_path, storage_url, EPOCHS)
    second = None
    asleep: list[int] = []
    try:
        kept = tmp_path / "runs" / "checkpoints" / "small"  # by every epoch of the choice
        while FINAL not in concluding(storage) or not list(kept.glob("final-*.ckpt")):
            assert first.poll() is None, (tmp_path / "said").read_text()
            time.sleep(0.05)
        asleep = tree(first.pid)  # a machine that is suspended: all of them
        for pid in asleep:
            freeze(pid, storage)
        slept = time.monotonic()
        second = start(tmp_path, storage_url, EPOCHS)
        assert second.wait(timeout=600) == 0, (tmp_path / "said").read_text()
        time.sleep(max(0.0, slept + ASLEEP_S - time.monotonic()))
        for pid in reversed(asleep):
            os.kill(pid, signal.SIGCONT)
        asleep = []
        assert first.wait(timeout=300) == 0, (tmp_path / "said").read_text()
    finally:
        for pid in asleep:
            os.kill(pid, signal.SIGCONT)
        for launch in (first, second):
            if launch is not None:
                launch.kill()
                launch.wait()
        storage.close()
    assert_as_in_peace(tmp_path, storage_url, in_peace(EPOCHS))
