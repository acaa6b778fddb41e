"""A pool of workers answers to a stop at any time, while it prepares data too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from hpsearch.data.prepare import prepare
from hpsearch.results.queue import queue
from hpsearch.study.file import read_study

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
