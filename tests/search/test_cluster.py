"""Workers on a real Ray cluster of one node, whatever happens to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from made_studies import open_leases
from optuna.trial import TrialState
from undisturbed import assert_undisturbed, digits_spec

from hpsearch.data.prepare import prepare
from hpsearch.errors import StorageError, StudyNotFoundError
from hpsearch.search.storage import open_storage
from hpsearch.search.studies import read_stored_study

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
