"""What limits a trial limits its final and the baseline beside it: time, memory, and hanging."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from fixtures_storage import on_sqlite
from made_finals import assert_concluded_once, measure, searched

from hpsearch.errors import HpsearchError
from hpsearch.evaluation import supervised
from hpsearch.evaluation.exported import read_exported
from hpsearch.reports.formats import markdown
from hpsearch.reports.report import Report, make_report
from hpsearch.search.attempt import MICRO_BATCHES
from hpsearch.storage.storage import Storage

pytestmark = on_sqlite
STALL_S = 8.0  # longer than what is between two batches on a busy machine


def measured(storage: Storage, place: Path) -> tuple[Report, dict[str, Any]]:
    report = make_report(storage, "small")
    assert report.final is not None and report.seal.times == 1
    return report, report.final.as_json()


def test_a_final_past_its_time_is_not_measured_and_says_which_limit_it_was(
    storage: Storage, tmp_path: Path
) -> None:
    prepared = searched(storage, tmp_path)
    row = storage.ledger.study("small")
    assert row is not None
    search = row.spec.search.model_copy(update={"trial_timeout": 1e-4})
    spec = row.spec.model_copy(update={"search": search})
    storage.ledger.begin_launch("small", spec.model_dump_json(), 2, None)
    with pytest.raises(HpsearchError, match=r"for the final: .* search.trial_timeout, 0.0001"):
        measure(storage, tmp_path, prepared)
    assert make_report(storage, "small").seal.times == 0
    storage.ledger.begin_launch("small", row.spec.model_dump_json(), 2, None)
    assert measure(storage, tmp_path, prepared), "with more time it begins again"
    assert_concluded_once(storage, tmp_path)


def test_a_baseline_past_its_time_is_named_and_the_choice_does_not_suffer(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervised, "RUN_BASELINE", "made_finals:late_baseline")
    prepared = searched(storage, tmp_path)
    assert measure(storage, tmp_path, prepared)
    report, final = measured(storage, tmp_path)
    assert "longer than search.trial_timeout" in final["baseline"]["failed"]
    assert "The default configuration could not be trained beside it" in markdown(report)
    assert final["test"]["accuracy"] == report.study.best().value  # type: ignore[union-attr]


def test_a_final_that_was_short_of_memory_is_trained_in_parts_and_says_so(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervised, "RUN_FINAL", "made_finals:final_short_of_memory")
    monkeypatch.setattr(supervised, "RUN_BASELINE", "made_finals:baseline_short_of_memory")
    prepared = searched(storage, tmp_path)
    assert measure(storage, tmp_path, prepared)
    report, final = measured(storage, tmp_path)
    assert final["config"]["micro_batches"] == final["baseline"]["in_parts"] == MICRO_BATCHES
    text = " ".join(markdown(report).split())
    assert f"memory was short, and a batch was trained in {MICRO_BATCHES} parts" in text
    assert f"Memory was short for the default configuration beside it: a batch was trained in " \
           f"{MICRO_BATCHES} parts" in text  # fmt: skip
    exported = read_exported(tmp_path / "runs/best.yaml")
    assert exported.config.micro_batches == MICRO_BATCHES
    assert exported.recorded.test_score("accuracy") == final["test"]["accuracy"]
    assert not list((tmp_path / "checkpoints").rglob("*.ckpt"))


def test_a_final_and_a_baseline_that_hang_are_ended_and_go_on(
    storage: Storage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prepared = searched(storage, tmp_path, stall_timeout=STALL_S, epochs=12)
    frozen: set[bool] = set()
    before = set(multiprocessing.active_children())  # of other tests

    def freeze_each(_trial: int, epoch: dict[str, Any]) -> None:
        of = bool(epoch.get("baseline"))  # the younger of the two processes
        if of not in frozen:
            frozen.add(of)
            ours = set(multiprocessing.active_children()) - before
            pids = sorted(p.pid for p in ours if p.pid is not None)
            os.kill(pids[-1 if of else 0], signal.SIGSTOP)

    assert measure(storage, tmp_path, prepared, finishing=freeze_each)
    assert frozen and "it hung: no batch was over for 8 s" in caplog.text
    assert_concluded_once(storage, tmp_path)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds a child of a child")
def test_a_baseline_that_hangs_after_the_choice_is_ended_and_goes_on(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervised, "trained_at_once", lambda _device: False)  # as on a GPU
    prepared = searched(storage, tmp_path, stall_timeout=STALL_S, epochs=12)
    frozen: list[int] = []
    before = set(multiprocessing.active_children())  # of other tests

    def freeze(_trial: int, epoch: dict[str, Any]) -> None:
        if not frozen and epoch.get("baseline"):
            (choice,) = set(multiprocessing.active_children()) - before
            children = Path(f"/proc/{choice.pid}/task/{choice.pid}/children").read_text().split()
            frozen.extend(map(int, children))
            for pid in frozen:
                os.kill(pid, signal.SIGSTOP)

    assert measure(storage, tmp_path, prepared, finishing=freeze)
    assert frozen
    assert_concluded_once(storage, tmp_path)
