"""Records: those of released versions are read under today's names, and what is wrong is named."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fixtures_storage import on_sqlite
from made_records import config_record, final_record
from made_studies import enter, run_trial, stored
from sqlalchemy import update

from hpsearch.errors import StudyFileError, UnreadableOpeningError, UnreadableStudyError
from hpsearch.evaluation.seal import seal_of
from hpsearch.reports.seal import config_words, history_json, result_words
from hpsearch.search.stored_study import read_stored_study
from hpsearch.storage.final_record import FinalRecord
from hpsearch.storage.records import ConfirmationRecord, TrialNotes, TrialRecord
from hpsearch.storage.schema import confirmations, openings
from hpsearch.storage.storage import Storage

RELEASED = Path(__file__).parent / "released"


@pytest.fixture(params=sorted(path.name for path in RELEASED.iterdir()))
def released(request: pytest.FixtureRequest) -> Iterator[sqlite3.Connection]:
    """A storage as a released version left it."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(gzip.decompress((RELEASED / request.param).read_bytes()).decode())
        yield connection


def test_a_released_versions_final_is_read_whole_under_todays_names(
    released: sqlite3.Connection,
) -> None:
    ((written,),) = released.execute("SELECT result FROM hpsearch_openings")
    final = FinalRecord.read(written, "what it showed")
    then = json.loads(written)
    assert final.validation.of("accuracy") == then["validation"]["accuracy"]
    assert final.outputs == list("0123456789") and final.config.family == "alexnet"
    then.setdefault("outputs", then.get("classes"))
    for mistake in then.get("mistakes", ()):
        mistake["predicted"] = mistake.pop("told")
    assert json.loads(final.written()) == then
    assert FinalRecord.read(final.written(), "again") == final


def test_a_released_versions_finalists_and_trials_are_read_whole(
    released: sqlite3.Connection,
) -> None:
    tables = {row[0] for row in released.execute("SELECT name FROM sqlite_master")}
    rows = (
        released.execute("SELECT result FROM hpsearch_confirmations").fetchall()
        if "hpsearch_confirmations" in tables
        else []
    )
    for (written,) in rows:
        again, then = ConfirmationRecord.read(written, "a training"), json.loads(written)
        then["correct"] = then.pop("hits")
        assert json.loads(again.written()) == then
    attributes: dict[int, dict[str, Any]] = {}
    for number, key, value in released.execute(
        "SELECT trial_id, key, value_json FROM trial_user_attributes"
    ):
        attributes.setdefault(number, {})[key] = json.loads(value)
    assert len(attributes) == 3
    for attrs in attributes.values():
        record = TrialRecord.model_validate(attrs)
        assert record.as_json() == attrs and record.epochs == 1
        assert (record.model_extra or {}).keys() == set()


def test_what_workers_write_to_a_trial_is_what_its_record_reads() -> None:
    read = {field.alias or name for name, field in TrialRecord.model_fields.items()}
    assert read == TrialNotes.__annotations__.keys()


def test_what_a_newer_version_wrote_besides_is_kept() -> None:
    final = final_record(forecast=3, train={"images": 9, "loss": 1.0, "accuracy": 0.5, "new": [1]})
    plain = json.loads(final.written())
    assert plain["forecast"] == 3 and plain["train"]["new"] == [1]
    assert FinalRecord.read(final.written(), "it") == final


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("{", "it: Invalid JSON"),
        ("[]", "it: Input should be"),
        ('{"trial": 0}', "it: curve: Field required"),
        (
            json.dumps(final_record().as_json() | {"outputs": 3}),
            "it: outputs: Input should be a valid array",
        ),
    ],
)
def test_a_record_that_is_wrong_says_where(written: str, says: str) -> None:
    with pytest.raises(StudyFileError) as raised:
        FinalRecord.read(written, "it")
    assert str(raised.value).startswith(says) and "\n" not in str(raised.value)


@on_sqlite
def test_a_finalists_record_that_cannot_be_read_makes_its_study_unreadable(
    storage: Storage,
) -> None:
    spec = enter(storage)
    run_trial(storage, spec)
    lease = storage.leases.claim("made", "worker", kind="finalist", slot=0)
    assert lease is not None
    assert storage.confirmations.write(lease, 0, ConfirmationRecord(reason="none"))
    assert stored(storage, spec).confirmations[0].reason == "none"
    with storage.ledger.engine.begin() as connection:
        connection.execute(update(confirmations).values(result='{"score": "good"}'))
    with pytest.raises(UnreadableStudyError, match="its trial 0, trained again with seed 1: score"):
        read_stored_study(storage, "made")


@on_sqlite
def test_an_opening_that_cannot_be_read_is_known_and_says_so(storage: Storage) -> None:
    enter(storage)
    config = config_record(family="vgg", layers=2, filters=8, optimizer="sgd", learning_rate=0.01)
    made = storage.openings.write("made", "a" * 64, 4, "me", "final choice", config)
    storage.openings.write_result(made, final_record(trial=4))
    with storage.ledger.engine.begin() as connection:
        connection.execute(update(openings).values(result='{"trial": 4}'))
    seal = seal_of(storage, "made")
    (opening,) = seal.mine
    assert opening.measured and "vgg, 2 x 8 filters" in config_words(opening)
    (line,) = result_words(opening)
    assert line.startswith("opening 1 of validation, by study 'made', cannot be read: what it")
    row = storage.row("made")
    (plain,) = history_json(row, seal)["openings"]
    assert plain["result"] == {"unreadable": line} and plain["config"]["family"] == "vgg"
    with pytest.raises(UnreadableOpeningError, match="Use the hpsearch that wrote it"):
        _ = seal.result
