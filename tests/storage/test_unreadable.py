"""A study that cannot be read: it is named, and neither blocks others nor escapes its orders."""

from __future__ import annotations

import dataclasses
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from damaged import DAMAGES, damage, newer_key, torn_attribute
from fixtures_storage import on_sqlite
from made_records import config_record
from made_studies import (
    PREPARED,
    begin_trial,
    claimed,
    enter,
    rewind,
    row_of,
    run_trial,
    spec_of,
    stored,
)
from undisturbed import digits_spec, opened

from hpsearch.errors import HpsearchError, UnreadableStudyError
from hpsearch.evaluation.seal import seal_of
from hpsearch.reports.status import standing_of
from hpsearch.search import control, worker
from hpsearch.search.stored_study import enter_study, read_stored_study
from hpsearch.search.worker import Worker
from hpsearch.storage.checkpoints import Checkpoints
from hpsearch.storage.schema import leases
from hpsearch.storage.storage import Storage
from hpsearch.storage.studies import PAUSED
from hpsearch.workers.local import LocalWorkers

PATIENCE_S = 120


@pytest.mark.parametrize("how", DAMAGES)
def test_a_study_that_cannot_be_read_says_why_and_the_others_are_listed(
    how: str, storage: Storage
) -> None:
    spoil, says = DAMAGES[how]
    for name in ("sound", "spoilt"):
        run_trial(storage, enter(storage, spec_of(name)))
    damage(storage, "spoilt", spoil)
    with pytest.raises(UnreadableStudyError) as raised:
        read_stored_study(storage, "spoilt")
    said = str(raised.value)
    assert said.startswith("study 'spoilt' cannot be read: ") and says in said
    assert "hpsearch delete" in said and len(said) < 600
    assert raised.value.version == row_of(storage, "spoilt").version
    assert (raised.value.version == "99.1") is (how == "newer key")
    standing = standing_of(storage)
    assert [p.study.spec.name for p, _ in standing.studies] == ["sound"]
    assert [(s.name, s.why) for s in standing.unreadable] == [("spoilt", said)]
    assert [s["name"] for s in standing.as_json()["unreadable"]] == ["spoilt"]


@pytest.mark.parametrize("how", DAMAGES)
def test_it_takes_orders_all_the_same(how: str, storage: Storage, tmp_path: Path) -> None:
    spec = enter(storage, spec_of("spoilt"))
    run_trial(storage, spec)
    storage.openings.write("spoilt", "a" * 64, 0, "me", "final choice", config_record(family="vgg"))
    damage(storage, "spoilt", DAMAGES[how][0])
    control.pause(storage, "spoilt")
    assert row_of(storage, "spoilt").state == PAUSED
    control.resume(storage, "spoilt")
    control.finish(storage, "spoilt")
    control.stop(storage, "spoilt")
    assert len(seal_of(storage, "spoilt").mine) == 1
    control.delete(storage, "spoilt", Checkpoints(str(tmp_path)))
    assert storage.study_names() == []
    enter(storage, spec)
    assert stored(storage, spec).trials == []
    assert len(seal_of(storage, "spoilt").deleted) == 1


@on_sqlite
def test_a_launch_of_its_file_is_told_so_and_changes_nothing(storage: Storage) -> None:
    spec = enter(storage, spec_of("spoilt"))
    damage(storage, "spoilt", newer_key)
    before = row_of(storage, "spoilt")
    with pytest.raises(UnreadableStudyError, match=r"written by hpsearch 99\.1; use that version"):
        enter_study(storage, spec, PREPARED)
    assert row_of(storage, "spoilt") == before


def test_the_error_reaches_another_process_whole() -> None:
    error = UnreadableStudyError("spoilt", "99.1", "its spec is no JSON")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert isinstance(error, HpsearchError)


def test_a_worker_serves_the_others_and_notes_once_what_it_passes_over(
    storage: Storage, tmp_path: Path
) -> None:
    for name in ("of-tomorrow", "torn", "sound"):  # the oldest are served first
        opened(storage, digits_spec(name, trials=2, epochs=1))
    begin_trial(storage, digits_spec("torn"), claimed(storage, digits_spec("torn"), "dead"))
    rewind(storage, leases, "expires_at", 100)
    damage(storage, "of-tomorrow", newer_key)
    damage(storage, "torn", torn_attribute)
    serving = subprocess.Popen(
        [sys.executable, "-m", "hpsearch", "worker", "--workers", "1", "--search-only"],
        cwd=tmp_path,
        env=os.environ | {"HPSEARCH_STORAGE": storage.url.render_as_string(False)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while len([t for t in read_stored_study(storage, "sound").trials if t.values]) < 2:
            assert serving.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(12)  # two more looks, in which nothing new is to be said
        notes = [w.note for w in storage.workers.present() if w.note]
    finally:
        serving.terminate()
        _, said = serving.communicate(timeout=30)
    assert serving.returncode == 0, said
    assert any("of-tomorrow: study 'of-tomorrow' cannot be read" in note for note in notes), notes
    assert any("torn: " in note for note in notes)
    told = [line for line in said.splitlines() if "passed over" in line]
    assert len(told) == 2, said
    assert "hpsearch 99.1" in said and "starting another" not in said


@on_sqlite
def test_a_study_that_can_be_read_again_is_served_again_and_no_longer_noted(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "TRY_AGAIN_S", 0.0)
    monkeypatch.setattr(worker, "IDLE_POLL_S", 0.1)
    monkeypatch.setattr(worker, "SEEN_EVERY_S", 0.0)
    spec = digits_spec("mended", trials=1, epochs=1)
    opened(storage, spec)
    sound = row_of(storage, "mended").spec_json
    damage(storage, "mended", newer_key)
    notes: list[str] = []

    def stopped() -> bool:
        notes.extend(w.note for w in storage.workers.present())
        if notes and notes[-1] and row_of(storage, "mended").spec_json != sound:
            storage.ledger.set_spec("mended", sound)
        ended = any(t.values for t in storage.load("mended").get_trials(deepcopy=False))
        return ended and not notes[-1]

    place = Checkpoints(str(tmp_path / "checkpoints"))
    device = torch.device("cpu")
    Worker("here", storage, device, 1, place, stopped, waits=True).work()
    assert any(note.startswith("mended: study 'mended' cannot be read") for note in notes)


@on_sqlite
def test_a_trial_that_cannot_be_ended_keeps_no_supervisor_from_the_others(
    storage: Storage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = enter(storage, spec_of("torn"))
    begin_trial(storage, spec, claimed(storage, spec, "hung"))
    (held,) = storage.leases.held_by(["hung"])
    damage(storage, "torn", torn_attribute)
    crew = LocalWorkers(storage, None, str(tmp_path))
    crew._fail(held.lease, "it hung")
    assert "the trial of slot 0 of 'torn' is not ended" in caplog.text
    damage(storage, "torn", newer_key)
    assert crew._hangs(held) is None
    assert crew._hangs(dataclasses.replace(held, idle_s=1e9)) is not None
    control.delete(storage, "torn", Checkpoints(str(tmp_path)))
    crew._fail(held.lease, "it hung")
