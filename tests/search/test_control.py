"""Orders to a study from outside."""

from __future__ import annotations

from pathlib import Path

import pytest
from fixtures_storage import on_sqlite
from made_studies import begin_trial, claimed, enter
from made_trainings import config

from hpsearch.errors import StudyNotFoundError, StudyStateError, UnreadableStudyError
from hpsearch.search import control
from hpsearch.search.stored_study import read_stored_study
from hpsearch.storage.checkpoints import Checkpoints
from hpsearch.storage.heartbeat import HeldLease
from hpsearch.storage.optuna_private import STUDIES
from hpsearch.storage.schema import studies
from hpsearch.storage.storage import Storage
from hpsearch.storage.studies import DONE, OPEN, PAUSED, STOPPED


def test_a_paused_study_gives_no_trial_away_until_it_is_resumed(storage: Storage) -> None:
    spec = enter(storage)
    control.pause(storage, spec.name)
    row = storage.ledger.study(spec.name)
    assert row is not None and row.state == PAUSED and row.note.startswith("by ")
    assert storage.leases.claim(spec.name, "worker") is None
    assert storage.ledger.waiting() == []
    control.resume(storage, spec.name)
    assert storage.leases.claim(spec.name, "worker") is not None


@on_sqlite
@pytest.mark.parametrize("order", [control.pause, control.stop])
def test_a_worker_at_a_trial_hears_of_it(order: object, storage: Storage) -> None:
    spec = enter(storage)
    lease = claimed(storage, spec)
    assert callable(order)
    order(storage, spec.name)
    with HeldLease(storage.leases, lease) as held:
        assert "the study is" in (held.why_stop() or "")


@on_sqlite
def test_finish_lets_those_at_work_end_and_none_begin(storage: Storage) -> None:
    spec = enter(storage)
    lease = claimed(storage, spec)
    control.finish(storage, spec.name)
    assert storage.leases.claim(spec.name, "another") is None
    with HeldLease(storage.leases, lease) as held:
        assert held.why_stop() is None
    (study,) = storage.ledger.waiting()
    assert not study.is_over
    storage.leases.finish(lease)
    (study,) = storage.ledger.waiting()
    assert study.is_over


def test_deleting_takes_trials_and_checkpoints_and_the_lease_of_who_is_at_it(
    storage: Storage, tmp_path: Path
) -> None:
    spec = enter(storage)
    lease = claimed(storage, spec)
    begin_trial(storage, spec, lease)
    place = Checkpoints(str(tmp_path / "checkpoints"), keep_free_bytes=0)
    place.save(spec.name, "000000", config(), b"content")
    control.delete(storage, spec.name, place)
    assert storage.study_names() == [] and place.size_bytes(spec.name) == 0
    assert storage.leases.renew(lease) is None
    enter(storage, spec)
    assert storage.load(spec.name).get_trials() == []


@pytest.mark.parametrize("name", ["../outside", "", "..", "a/../../outside"])
def test_deleting_a_name_that_leads_out_of_the_runs_removes_no_file(
    name: str, storage: Storage, tmp_path: Path
) -> None:
    enter(storage)
    with storage.ledger.engine.begin() as connection:
        connection.execute(studies.update().values(name=name))
        connection.execute(STUDIES.update().values(study_name=name))
    checkpoints = tmp_path / "runs/checkpoints"
    for folder in (checkpoints / "other", tmp_path / "outside", tmp_path / "runs/outside"):
        folder.mkdir(parents=True)
        (folder / "kept.txt").write_text("harmless")
    control.pause(storage, name)
    with pytest.raises(UnreadableStudyError, match="its spec is that of study 'made'"):
        read_stored_study(storage, name)
    control.delete(storage, name, Checkpoints(str(checkpoints)))
    assert storage.study_names() == []
    assert len(list(tmp_path.rglob("kept.txt"))) == 3


@on_sqlite
def test_a_study_that_is_done_takes_no_orders_and_an_unknown_one_is_named(
    storage: Storage,
) -> None:
    spec = enter(storage)
    storage.ledger.set_state(spec.name, DONE)
    for order in (control.pause, control.resume, control.stop, control.finish):
        with pytest.raises(StudyStateError, match="is done; launch it with more --trials"):
            order(storage, spec.name)
        with pytest.raises(StudyNotFoundError, match="studies here: made"):
            order(storage, "unknown")


@on_sqlite
def test_a_stopped_study_goes_on_when_it_is_resumed(storage: Storage) -> None:
    spec = enter(storage)
    control.stop(storage, spec.name)
    row = storage.ledger.study(spec.name)
    assert row is not None and row.state == STOPPED
    control.resume(storage, spec.name)
    row = storage.ledger.study(spec.name)
    assert row is not None and (row.state, row.note) == (OPEN, "")
