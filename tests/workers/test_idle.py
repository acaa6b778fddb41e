"""Workers that wait for work: what they hold meanwhile, and that they find it."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest
from fixtures_storage import on_sqlite
from made_workers import PATIENCE_S
from undisturbed import digits_spec, opened

from hpsearch.search.stored_study import read_stored_study
from hpsearch.storage.storage import Storage
from hpsearch.storage.worker_registry import ListedWorker
from hpsearch.workers.local import LocalWorkers

WITHOUT_TORCH_BYTES = 185 * 2**20  # 0.3 of what it took with torch


def resident_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} has no memory")


def the_worker(storage: Storage) -> ListedWorker:
    """Return the one worker, once it is in the list."""
    deadline = time.monotonic() + PATIENCE_S
    while not (present := storage.workers.present()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (found,) = present
    return found


@on_sqlite
def test_a_worker_that_waits_has_not_loaded_torch_and_runs_what_comes(
    storage: Storage, tmp_path: Path
) -> None:
    crew = LocalWorkers(storage, None, str(tmp_path / "checkpoints"), 1, waits=True)
    crew.start()
    try:
        waiting = the_worker(storage)
        assert "libtorch" not in Path(f"/proc/{waiting.pid}/maps").read_text()
        assert resident_bytes(waiting.pid) < WITHOUT_TORCH_BYTES
        assert (waiting.device, waiting.version.split()[2]) == ("cpu", "torch")
        opened(storage, digits_spec("late", trials=1, epochs=1))
        deadline = time.monotonic() + PATIENCE_S
        while not any(t.state.is_finished() for t in read_stored_study(storage, "late").trials):
            assert crew.look() and time.monotonic() < deadline
            time.sleep(0.05)
        assert the_worker(storage).pid == waiting.pid, "the same process"
    finally:
        crew.stop()


@on_sqlite
def test_a_worker_that_waits_ends_at_once_when_it_is_asked_to_and_leaves_the_list(
    storage: Storage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    crew = LocalWorkers(storage, None, str(tmp_path / "checkpoints"), 1, waits=True)
    crew.start()
    the_worker(storage)
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        crew.stop()
    assert time.monotonic() - began < 5
    assert not storage.workers.present() and not caplog.records
