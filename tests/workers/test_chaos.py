"""Workers that are killed, servers that go away: nothing is lost, and nothing is counted twice.

The long runs are marked `chaos` and left out by default: pytest -m chaos
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from fixtures_storage import Server, on_postgres, on_sqlite
from made_studies import open_leases
from optuna.trial import TrialState
from optuna_dashboard import wsgi
from sqlalchemy import select
from undisturbed import assert_undisturbed, digits_spec, freeze, opened

from hpsearch.search.stored_study import read_stored_study
from hpsearch.storage.leases import LEASE_S, Lease
from hpsearch.storage.schema import leases
from hpsearch.storage.storage import Storage, open_storage
from hpsearch.workers.local import LocalWorkers


def assert_exactly(storage: Storage, name: str, trials: int) -> None:
    """As many trials as the budget, all of them ended, one for each slot, no lease left."""
    study = read_stored_study(storage, name)
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * trials
    assert sorted(t.user_attrs["slot"] for t in study.trials) == list(range(trials))
    assert open_leases(storage, name) == 0
    assert study.held == study.interrupted == frozenset()


def run_with_kills(
    storage: Storage,
    place: Path,
    trials: int,
    epochs: int,
    kills: int,
    workers: int,
    pause_s: float,
) -> int:
    """Run a study while workers are killed at random moments; return how many were."""
    spec = digits_spec("killed", trials=trials, epochs=epochs)
    prepared = opened(storage, spec)
    dice = random.Random(0)
    crew = LocalWorkers(storage, "killed", str(place / "checkpoints"), workers)
    crew.checkpoint_every_s = 0.0
    crew.start()
    killed, next_kill = 0, float("inf")
    try:
        while crew.look():
            time.sleep(0.02)
            if next_kill == float("inf") and storage.leases.unfinished("killed")[0]:
                next_kill = time.monotonic()  # the first trial has begun
            if killed < kills and time.monotonic() > next_kill:
                victim = dice.choice(list(crew._alive.values()))
                assert victim.pid is not None
                os.kill(victim.pid, signal.SIGKILL)
                killed += 1
                next_kill = time.monotonic() + dice.uniform(0, 2 * pause_s)
    finally:
        crew.stop()
    assert not crew.gave_up
    assert_exactly(storage, "killed", trials)
    assert_undisturbed(storage, "killed", prepared)
    return killed


def test_workers_killed_at_random_cost_no_trial_and_change_no_curve(
    storage: Storage, tmp_path: Path
) -> None:
    assert (
        run_with_kills(storage, tmp_path, trials=8, kills=4, workers=2, pause_s=0.5, epochs=40) == 4
    )


@pytest.mark.chaos
@pytest.mark.timeout(1800)
def test_fifty_kills_in_sixty_trials(storage: Storage, tmp_path: Path) -> None:
    assert run_with_kills(storage, tmp_path, 60, 30, kills=50, workers=4, pause_s=1.0) == 50


def holder(storage: Storage, lease: Lease) -> str:
    """Return which worker has the trial of a lease, or had it last."""
    mine = (leases.c.study == lease.study, leases.c.slot == lease.slot)
    with storage.ledger.engine.connect() as connection:
        return str(connection.execute(select(leases.c.worker).where(*mine)).scalar_one())


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="stops a process")
def test_workers_that_sleep_longer_than_a_lease_lose_it_and_nothing_else(
    storage: Storage, tmp_path: Path
) -> None:
    prepared = opened(storage, digits_spec("slept", trials=8, epochs=400))
    crew = LocalWorkers(storage, "slept", str(tmp_path / "checkpoints"), 3)
    crew.checkpoint_every_s = 0.0
    crew.start()
    asleep: dict[int, Lease] = {}  # by process, what it was at
    woken: list[Lease] = []
    began = time.monotonic()
    try:
        while crew.look():
            time.sleep(0.05)
            held = [h.lease for h in storage.leases.held_by(list(crew._alive))]
            if len(asleep) + len(woken) < 2 and len(held) == 3:
                awake = [h.worker for h in held if crew._alive[h.worker].pid not in asleep]
                pid = crew._alive[awake[0]].pid
                assert pid is not None
                freeze(pid, storage)
                now_held = storage.leases.held_by([awake[0]])
                if now_held:
                    asleep[pid] = now_held[0].lease
                else:  # it was between two trials
                    os.kill(pid, signal.SIGCONT)
            for pid, lease in list(asleep.items()):
                if holder(storage, lease) != lease.worker:  # a minute later, or more
                    os.kill(pid, signal.SIGCONT)
                    woken.append(asleep.pop(pid))
    finally:
        crew.stop()
    assert len(woken) == 2 and not crew.gave_up
    assert_exactly(storage, "slept", 8)
    assert time.monotonic() - began > LEASE_S
    assert_undisturbed(storage, "slept", prepared)


def run_with_outages(
    server: Server, place: Path, outages: int, outage_s: float, trials: int
) -> None:
    storage = open_storage(server.url, gives_up=lambda: False)
    spec = digits_spec("outage", trials=trials, epochs=30, space={"filters": 8, "layers": 2})
    prepared = opened(storage, spec)
    crew = LocalWorkers(storage, "outage", str(place / "checkpoints"), 2)
    crew.start()
    first = [p.pid for p in crew._alive.values()]
    try:
        for _ in range(outages):
            before = epochs(storage)
            while epochs(storage) < before + 3:
                assert crew.look()
                time.sleep(0.1)
            server.stop()
            time.sleep(outage_s)
            server.start()
        while crew.look():
            time.sleep(0.1)
            alive = [p.pid for p in crew._alive.values()]
            assert set(alive) <= set(first), "a worker died and was replaced"
    finally:
        crew.stop()
    assert not crew.gave_up
    assert_exactly(storage, "outage", trials)
    assert_undisturbed(storage, "outage", prepared)
    storage.close()


def epochs(storage: Storage) -> int:
    """How many epochs a study has reported."""
    study = storage.load("outage")
    return sum(len(t.intermediate_values) for t in study.get_trials(deepcopy=False))


@on_postgres
def test_workers_wait_for_a_database_that_restarts_in_the_middle_of_their_trials(
    server: Server, tmp_path: Path, backend: str
) -> None:
    run_with_outages(server, tmp_path, outages=1, outage_s=3, trials=2)


@pytest.mark.chaos
@on_postgres
def test_a_server_that_is_away_for_twenty_seconds_three_times(
    server: Server, tmp_path: Path, backend: str
) -> None:
    run_with_outages(server, tmp_path, outages=3, outage_s=20, trials=4)


@pytest.mark.chaos
@on_sqlite
def test_eight_workers_and_a_polling_dashboard_share_one_sqlite_file(
    storage: Storage, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = digits_spec("crowd", trials=40, epochs=5)
    opened(storage, spec)
    crew = LocalWorkers(storage, "crowd", str(tmp_path / "checkpoints"), 8)
    app = wsgi(storage.optuna)
    crew.start()
    answers: list[str] = []
    try:
        while crew.look():
            environ: dict[str, Any] = {}
            setup_testing_defaults(environ)
            environ["PATH_INFO"] = "/api/studies/1"
            environ["QUERY_STRING"] = "after=0"
            list(app(environ, lambda status, headers, *rest: answers.append(status)))
            time.sleep(0.05)
    finally:
        crew.stop()
    assert not crew.gave_up
    assert_exactly(storage, "crowd", 40)
    assert len(answers) > 100 and set(answers) == {"200 OK"}
    assert "locked" not in capfd.readouterr().err


@pytest.mark.chaos
@on_sqlite
def test_eight_launches_of_one_fresh_study_at_once_are_one_study(
    backend: str, tmp_path: Path
) -> None:
    (tmp_path / "same.yaml").write_text(
        "name: same\ndata: {source: digits}\nspace: {filters: [4, 8], layers: 1}\n"
        "search: {trials: 6, epochs: 2, pruner: none}\n"
    )
    launches = [
        subprocess.Popen(
            [sys.executable, "-m", "hpsearch", "launch", "same.yaml", "--workers", "1"],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(8)
    ]  # fmt: skip
    said = [launch.communicate(timeout=500)[1] for launch in launches]
    assert [launch.returncode for launch in launches] == [0] * 8, said
    storage = open_storage(f"sqlite:///{tmp_path}/runs/hpsearch.db", create=False)
    assert storage.study_names() == ["same"]
    assert_exactly(storage, "same", 6)
    study = read_stored_study(storage, "same")
    assert len(storage.openings.of(study.fingerprint)) == 1
    storage.close()
