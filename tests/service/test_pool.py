"""A pool of workers: serves what is queued, answers to a stop at any time, costs little idle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from fixtures_storage import GUARDED_ROLE, PostgresServer, Server, on_postgres
from sqlalchemy import text

from hpsearch.data.prepare import prepare
from hpsearch.search.stored_study import read_stored_study
from hpsearch.service.queue import queue
from hpsearch.storage.storage import open_storage
from hpsearch.storage.studies import DONE
from hpsearch.study.file import read_study

WATCHED_S = 15

STUDY = """
name: tiny
data: {source: digits}
space: {filters: 8, layers: 1}
search: {trials: 1, epochs: 1}
"""


def test_a_stop_is_not_kept_waiting_by_data_that_another_process_prepares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.yaml").write_text(STUDY)
    spec = read_study(tmp_path / "tiny.yaml")
    storage = f"sqlite:///{tmp_path}/hpsearch.db"
    queue(spec, storage)
    key = prepare(spec.data).folder.name
    monkeypatch.setenv("HPSEARCH_CACHE", str(tmp_path / "cache"))  # of a machine without the data
    (tmp_path / "cache/prepared").mkdir(parents=True)
    with FileLock(tmp_path / f"cache/prepared/{key}.lock"):
        pool = subprocess.Popen(
            [sys.executable, "-m", "hpsearch", "worker", "--storage", storage],
            cwd=tmp_path,
            env=os.environ,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert pool.stderr is not None
        try:
            assert "preparing the data of study 'tiny'" in pool.stderr.readline()
            pool.send_signal(signal.SIGTERM)
            _, said = pool.communicate(timeout=10)
        finally:
            pool.kill()
            pool.communicate()
    assert pool.returncode == 0 and said == ""


TWO = """
name: {name}
data: {{source: digits}}
space: {{filters: [4, 8], layers: 1, units1: 16, units2: 16}}
search: {{trials: {trials}, epochs: {epochs}, pruner: none, sampler: random, precision: fp32}}
"""


def enter(folder: Path, url: str, name: str, trials: int, epochs: int, **options: Any) -> None:
    path = folder / f"{name}.yaml"
    path.write_text(TWO.format(name=name, trials=trials, epochs=epochs))
    queue(read_study(path), url, **options)


def pool(folder: Path, url: str, *flags: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "hpsearch", "worker", "--workers", "1", *flags],
        cwd=folder,
        env=os.environ | {"HPSEARCH_STORAGE": url},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_worker_serves_what_is_queued_by_priority_concludes_it_and_ends_when_idle(
    storage_url: str, tmp_path: Path
) -> None:
    enter(tmp_path, storage_url, "first", 2, 2, final=False)
    enter(tmp_path, storage_url, "urgent", 2, 2, priority=5)
    serving = pool(tmp_path, storage_url, "--until-idle", "--log", "json")
    _, said = serving.communicate(timeout=120)
    assert serving.returncode == 0, said
    events = [json.loads(line) for line in said.splitlines()]
    ended = [e["study"] for e in events if e.get("event") == "trial ended"]
    assert ended == ["urgent", "urgent", "first", "first"]
    storage = open_storage(storage_url, create=False)
    for name, openings in (("urgent", 1), ("first", 0)):
        row = storage.ledger.study(name)
        assert row is not None and row.state == DONE
        found = [o for o in storage.openings.of(row.fingerprint) if o.study == name]
        assert len(found) == openings
    assert storage.workers.present() == []
    storage.close()
    files = {path.name for path in (tmp_path / "runs/urgent").iterdir()}
    written = {"best.yaml", "model.safetensors", "report.md", "trials.csv"}
    assert files - {"mistakes.png"} == written
    assert not (tmp_path / "runs/first").exists()


def test_a_worker_that_is_terminated_keeps_its_trial_and_gives_it_back_in_time(
    storage_url: str, tmp_path: Path
) -> None:
    enter(tmp_path, storage_url, "long", 1, 3000)
    storage = open_storage(storage_url, create=False)
    serving = pool(tmp_path, storage_url)
    try:
        deadline = time.monotonic() + 60
        while not any(
            t.intermediate_values for t in storage.load("long").get_trials(deepcopy=False)
        ):
            assert time.monotonic() < deadline and serving.poll() is None
            time.sleep(0.1)
        began = time.monotonic()
        serving.send_signal(signal.SIGTERM)
        _, said = serving.communicate(timeout=20)
        assert time.monotonic() - began < 10
    finally:
        serving.kill()
        serving.communicate()
    assert serving.returncode == 0, said
    assert "given back: its worker was asked to stop" in said
    assert list((tmp_path / "runs/checkpoints/long").glob("*.ckpt"))
    study = read_stored_study(storage, "long")
    assert len(study.interrupted) == 1 and not study.held
    assert storage.leases.claim("long", "another") is not None, "it is free at once"
    storage.close()


@on_postgres
def test_a_worker_that_is_started_during_an_outage_waits_and_says_so_once(
    server: Server, tmp_path: Path, backend: str
) -> None:
    enter(tmp_path, server.url, "later", 1, 2, final=False)
    url = server.url
    server.stop()
    serving = pool(tmp_path, url, "--until-idle")
    try:
        time.sleep(12)
        assert serving.poll() is None, serving.communicate()
        status = [sys.executable, "-m", "hpsearch", "status", "--storage", url]
        other = subprocess.run(status, capture_output=True, text=True, timeout=60, check=False)
        server.start()
        _, said = serving.communicate(timeout=120)
    finally:
        serving.kill()
        serving.communicate()
    assert other.returncode == 1 and "does not answer" in other.stderr
    assert serving.returncode == 0, said
    assert said.count("waiting for it") == 1 and "Traceback" not in said
    assert "answers after" in said
    storage = open_storage(url, create=False)
    assert storage.row("later").state == DONE
    assert len(read_stored_study(storage, "later").trials) == 1
    storage.close()


@on_postgres
def test_a_worker_that_waits_for_a_database_ends_when_it_is_told_to(
    server: Server, tmp_path: Path, backend: str
) -> None:
    url = server.url
    server.stop()
    try:
        serving = pool(tmp_path, url)
        try:
            assert serving.stderr is not None
            assert "waiting for it" in serving.stderr.readline()
            serving.terminate()
            _, said = serving.communicate(timeout=10)
        finally:
            serving.kill()
            serving.communicate()
        assert (serving.returncode, said) == (0, "")
    finally:
        server.start()


def test_a_worker_that_a_server_turns_away_does_not_wait(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    for url, why in (
        (postgres_server.url("postgres", GUARDED_ROLE, "wrong"), "authentication failed"),
        (postgres_server.url("nowhere"), 'database "nowhere" does not exist'),
    ):
        serving = pool(tmp_path, url)
        try:
            _, said = serving.communicate(timeout=60)
        finally:
            serving.kill()
            serving.communicate()
        assert serving.returncode == 1
        assert why in said and "waiting for it" not in said


def test_a_worker_of_a_new_sqlite_file_makes_it_and_says_that_it_is_empty(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/not/there/yet.db"
    serving = pool(tmp_path, url, "--until-idle")
    try:
        _, said = serving.communicate(timeout=60)
    finally:
        serving.kill()
        serving.communicate()
    assert serving.returncode == 0, said
    assert "yet.db holds no study yet; it waits for one" in said
    assert (tmp_path / "not/there/yet.db").exists()


@on_postgres
def test_an_idle_worker_asks_the_database_less_than_once_a_second(
    server: Server, tmp_path: Path, backend: str
) -> None:
    open_storage(server.url).close()
    serving = pool(tmp_path, server.url)
    try:
        storage = open_storage(server.url, create=False)
        deadline = time.monotonic() + 60
        while len(storage.workers.present()) < 2:  # the supervisor, and the worker itself
            assert time.monotonic() < deadline
            time.sleep(0.2)
        engine = storage.ledger.engine.execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("ALTER SYSTEM SET log_statement = 'all'"))
            connection.execute(text("SELECT pg_reload_conf()"))
        storage.close()
        time.sleep(1)
        before = server.statements()
        time.sleep(WATCHED_S)
        asked = server.statements() - before
    finally:
        serving.terminate()
        serving.communicate(timeout=20)
    assert asked > 0, "a worker that asks nothing would never find work"
    assert asked / WATCHED_S < 1
