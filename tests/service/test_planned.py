"""Studies whose budget is a time, from their launch to their final."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from hpsearch.reports.formats import as_json
from hpsearch.search.progress import progress_of
from hpsearch.service.launch import Outcome, Watcher, launch
from hpsearch.service.queue import queue
from hpsearch.storage.plan_record import plan_of
from hpsearch.storage.storage import opened_storage
from hpsearch.study.spec import StudySpec


def study(**search: Any) -> StudySpec:
    return StudySpec.model_validate(
        {
            "name": "timed",
            "data": {"source": "digits"},
            "space": {"filters": {"low": 4, "high": 16}, "layers": 1, "batch_size": 128},
            "search": {"precision": "fp32"} | search,
        }
    )


class Launched:
    """Launches of one study below a folder, and what they said."""

    def __init__(self, folder: Path) -> None:
        self.url, self.runs, self.said = f"sqlite:///{folder}/db.sqlite", folder / "runs", ""
        self.epochs: list[int] = []

    def __call__(self, spec: StudySpec, workers: int = 1) -> Outcome:
        watcher = Watcher(planned=self.hear)
        return launch(
            spec, self.url, runs=self.runs, workers=workers, device="cpu", watcher=watcher
        )

    def hear(self, spec: StudySpec, words: str) -> None:
        self.epochs.append(spec.search.epochs)
        self.said = words


def test_a_plan_is_made_once_said_and_kept(tmp_path: Path) -> None:
    launched = Launched(tmp_path)
    outcome = launched(study(minutes=10, trials=2))
    assert outcome.report.final is not None
    assert "Plan for 10 min with 1 worker(s): trials of " in launched.said
    with opened_storage(launched.url) as storage:
        plan, progress = plan_of(storage, "timed"), progress_of(storage, "timed")
    assert plan is not None
    assert plan.epochs == progress.study.spec.search.epochs == launched.epochs[0] > 1
    assert progress.timeout_s == 600
    assert progress.counts_trials, "two were asked for"
    again = launched(study(minutes=10, trials=2))
    assert again.already_done
    longer = launched(study(minutes=20, trials=3))
    assert launched.epochs == [plan.epochs] * 3
    assert "as before, trials of" in launched.said
    assert longer.report.progress.finished == 3


def test_a_study_is_planned_where_it_is_entered_for_others_to_serve(tmp_path: Path) -> None:
    launched = Launched(tmp_path)
    assert queue(study(minutes=5), launched.url, planned=launched.hear)
    with opened_storage(launched.url) as storage:
        row, progress = storage.row("timed"), progress_of(storage, "timed")
    assert row.timeout_s == 300
    assert row.final_s > 0
    assert row.confirm_s > 0, "their share is kept from the start"
    assert row.spec.search.epochs == launched.epochs[0]
    assert not progress.counts_trials
    assert progress.ended_words == "0 trials ended"
    assert not progress.final_is_due
    assert progress.time_left_s is not None
    assert 250 < progress.time_left_s <= 300


@pytest.mark.chaos
@pytest.mark.parametrize(("minutes", "workers"), [(1, 1), (1, 2), (3, 2)])
def test_a_launch_ends_in_its_time_with_a_final(tmp_path: Path, minutes: int, workers: int) -> None:
    launched, began = Launched(tmp_path), time.monotonic()
    outcome = launched(study(minutes=minutes), workers)
    assert time.monotonic() - began <= 60 * minutes + 5
    assert outcome.report.final is not None
    trials = as_json(outcome.report)["trials"]
    assert trials["complete"] >= 1
    assert trials["budget"] is None
