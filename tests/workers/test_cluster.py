"""Workers on a real Ray cluster of one node or two, whatever happens to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from fixtures_storage import on_postgres
from made_studies import open_leases
from optuna.trial import TrialState
from undisturbed import assert_undisturbed, digits_spec

from hpsearch.data.prepare import prepare
from hpsearch.errors import StorageError, StudyNotFoundError
from hpsearch.search.stored_study import read_stored_study
from hpsearch.storage.storage import open_storage

STUDY = """
name: on-ray
data: {source: digits}
space: {filters: [4, 8], layers: [1, 2], units1: 16, units2: 16}
search: {trials: 4, epochs: 40, pruner: none, sampler: random, precision: fp32}
confirm: {candidates: 2, seeds: 2}
"""
PATIENCE_S = 240


def reported(url: str) -> int:
    """How many epochs the study has reported; 0 before it exists."""
    try:
        storage = open_storage(url, create=False)
    except StorageError:
        return 0
    try:
        trials = read_stored_study(storage, "on-ray").trials
        return sum(len(t.intermediate_values) for t in trials)
    except StudyNotFoundError:
        return 0
    finally:
        storage.close()


def workers_of_ray(place: Path) -> list[int]:
    """Return the worker programs that Ray started for the study below a folder."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_text().split("\0")
        except OSError:
            continue
        if "worker" in command and "--search-only" in command and str(place) in " ".join(command):
            found.append(int(folder.name))
    return found


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_a_study_on_ray_is_complete_though_one_of_its_workers_was_killed(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY)
    url = f"sqlite:///{tmp_path}/hpsearch.db"
    launched = subprocess.Popen(
        [sys.executable, "-m", "hpsearch", "launch", "study.yaml", "--on", "ray",
         "--workers", "2", "--storage", url, "--runs", str(tmp_path / "runs")],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + PATIENCE_S
        while reported(url) < 4:
            assert launched.poll() is None, launched.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        victims = workers_of_ray(tmp_path)
        assert len(victims) == 2
        os.kill(victims[0], signal.SIGKILL)
        _, said = launched.communicate(timeout=PATIENCE_S)
    finally:
        launched.kill()
        launched.communicate()
    assert launched.returncode == 0, said
    storage = open_storage(url, create=False)
    study = read_stored_study(storage, "on-ray")
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 4
    assert open_leases(storage, "on-ray") == 0
    assert len(study.confirmations) == 4 and all(c.reason is None for c in study.confirmations)
    assert len(storage.openings.of(study.fingerprint)) == 1
    assert (tmp_path / "runs/on-ray/model.safetensors").exists()
    assert_undisturbed(storage, "on-ray", prepare(digits_spec("any").data).folder)
    storage.close()
    assert workers_of_ray(tmp_path) == []


LONG = """
name: on-ray
data: {source: digits}
space: {filters: [4, 8], layers: [1, 2], units1: 16, units2: 16}
search: {trials: 8, epochs: 150, pruner: none, sampler: random, precision: fp32}
"""


def below(pid: int) -> Iterator[int]:
    """Yield the processes that a process has started, and those that they have."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            yield int(folder.name)
            yield from below(int(folder.name))


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@on_postgres
def test_a_study_on_two_nodes_is_complete_though_one_of_them_is_lost(
    storage_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    (tmp_path / "study.yaml").write_text(LONG)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    lost = cluster.add_node(num_cpus=1)
    assert cluster.head_node is not None
    nodes = [n.all_processes["raylet"][0].process.pid for n in (cluster.head_node, lost)]
    launched = subprocess.Popen(
        [sys.executable, "-m", "hpsearch", "launch", "study.yaml", "--on", "ray", "--address",
         cluster.address, "--workers", "2", "--storage", storage_url, "--runs",
         str(tmp_path / "runs")],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + PATIENCE_S
        storage = open_storage(storage_url)
        while reported(storage_url) < 20 or len(storage.leases.unfinished("on-ray")[0]) < 2:
            assert launched.poll() is None, launched.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        at_work = set(workers_of_ray(tmp_path))
        assert all(at_work & set(below(node)) for node in nodes), "a worker on each node"
        for pid in (nodes[1], *below(nodes[1])):
            os.kill(pid, signal.SIGKILL)
        cluster.remove_node(lost, allow_graceful=False)
        _, said = launched.communicate(timeout=2 * PATIENCE_S)
    finally:
        launched.kill()
        launched.communicate()
        cluster.shutdown()
    assert launched.returncode == 0, said
    study = read_stored_study(storage, "on-ray")
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 8
    assert sorted(t.user_attrs["slot"] for t in study.trials) == list(range(8))
    assert open_leases(storage, "on-ray") == 0
    assert len(storage.openings.of(study.fingerprint)) == 1
    assert_undisturbed(storage, "on-ray", prepare(digits_spec("any").data).folder)
    storage.close()
    assert workers_of_ray(tmp_path) == []
