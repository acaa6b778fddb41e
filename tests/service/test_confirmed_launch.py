"""Confirming from a launch: killed in the middle of it, and what the report says of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import select
from test_launch import children, needs_proc, spec, wait_for

from hpsearch.errors import StorageError, StudyNotFoundError
from hpsearch.reports.finalists import confirm_json, confirm_section
from hpsearch.reports.formats import as_json, markdown
from hpsearch.search.finalists import choice, plan
from hpsearch.search.progress import Progress, progress_of
from hpsearch.search.stored_study import read_stored_study
from hpsearch.service.launch import Watcher, launch
from hpsearch.storage.schema import FINALIST, confirmations, leases
from hpsearch.storage.storage import Storage, open_storage
from hpsearch.study.spec import StudySpec

STUDY = """
name: killed
data: {source: digits}
space: {filters: [8, 16], layers: 1, units1: 16, units2: 16}
search: {trials: 2, epochs: 12, sampler: grid, pruner: none, precision: fp32}
confirm: {candidates: 2, seeds: 2}
"""


def confirming(confirm: Any, **search: Any) -> StudySpec:
    written = spec(**search).model_dump(mode="json") | {"confirm": confirm}
    return StudySpec.model_validate(written)


def start(folder: Path) -> subprocess.Popen[str]:
    (folder / "killed.yaml").write_text(STUDY)
    return subprocess.Popen(
        [sys.executable, "-m", "hpsearch", "launch", "killed.yaml", "--workers", "2"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def stand(folder: Path) -> tuple[int, int]:
    """Return how many trainings of finalists have ended, and how many workers are at."""
    try:
        storage = open_storage(f"sqlite:///{folder}/runs/hpsearch.db", create=False)
    except StorageError:
        return 0, 0  # the launch has not come so far
    try:
        confirm = progress_of(storage, "killed").confirm
        return (0, 0) if confirm is None else (confirm.ended, len(confirm.running))
    except StudyNotFoundError:
        return 0, 0
    finally:
        storage.close()


def rows(storage: Storage) -> dict[tuple[int, int], tuple[str, float]]:
    with storage.ledger.engine.connect() as connection:
        found = connection.execute(select(confirmations)).all()
    return {(row.slot, row.repeat): (row.result, row.ended_at) for row in found}


@needs_proc
def test_a_launch_that_is_killed_while_finalists_train_repeats_none_and_opens_once(
    tmp_path: Path,
) -> None:
    launched = start(tmp_path)
    wait_for(lambda: stand(tmp_path) >= (1, 1))
    workers = children(launched.pid)
    launched.kill()
    launched.communicate(timeout=30)
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 30)
    storage = open_storage(f"sqlite:///{tmp_path}/runs/hpsearch.db", create=False)
    before = rows(storage)
    assert 1 <= len(before) < 4
    again = start(tmp_path)
    _, words = again.communicate(timeout=200)
    assert again.returncode == 0, words
    after = rows(storage)
    assert len(after) == 4
    assert {key: after[key] for key in before} == before, "what had ended was left alone"
    study = read_stored_study(storage, "killed")
    assert len(study.trials) == 2 and plan(study).ended == plan(study).of == 4
    (opening,) = storage.openings.of(study.fingerprint)
    found = choice(study)
    assert found is not None and opening.trial_number == found.number
    with storage.ledger.engine.connect() as connection:
        begun = connection.execute(select(leases).where(leases.c.kind == FINALIST)).all()
    assert len(begun) == 4
    storage.close()


def test_a_launch_confirms_tells_how_far_it_is_and_reports_what_came_of_it(tmp_path: Path) -> None:
    seen: list[Progress] = []
    url = f"sqlite:///{tmp_path}/db.sqlite"
    asked = confirming({"candidates": 2, "seeds": 2}, trials=2, epochs=1)
    outcome = launch(asked, url, runs=tmp_path, workers=2, watcher=Watcher(searching=seen.append))
    last = seen[-1].confirm
    assert last is not None and (last.ended, last.of) == (4, 4)
    section = confirm_section(outcome.report.study)
    assert section is not None and section.table is not None
    assert [row[-1] for row in section.table.rows].count("chosen") == 1
    assert section.title in markdown(outcome.report)
    data = confirm_json(outcome.report.study)
    assert data is not None and outcome.report.final is not None
    assert data["chosen"] == outcome.report.final.trial
    assert as_json(outcome.report)["confirm"] == data
    assert [len(f["scores"]) for f in data["finalists"]] == [2, 2]
    assert launch(asked, url, runs=tmp_path, workers=2).already_done
    more = confirming({"candidates": 2, "seeds": 3}, trials=2, epochs=1)
    again = launch(more, url, runs=tmp_path, workers=2)
    assert not again.already_done, "more seeds were asked for"
    assert len(again.report.study.confirmations) in (5, 6)
    assert again.report.openings == 1
