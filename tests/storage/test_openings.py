"""Openings of the seal, as they are kept."""

from fixtures_storage import on_sqlite
from made_records import final_record
from made_studies import enter

from hpsearch.storage.storage import Storage

RESULT = final_record(trial=4)


def test_an_opening_is_on_record_before_its_result_and_with_it(storage: Storage) -> None:
    made = storage.openings.write("digits", "a" * 64, 4, "me@here", "final choice")
    (before,) = storage.openings.of("a" * 64)
    assert (before.id, before.study, before.trial_number) == (made, "digits", 4)
    assert (before.who, before.why, before.result) == ("me@here", "final choice", None)
    storage.openings.write_result(made, RESULT)
    (after,) = storage.openings.of("a" * 64)
    assert after.result == RESULT and after.opened_at == before.opened_at


@on_sqlite
def test_openings_are_found_by_the_data_whoever_opened_it_oldest_first(storage: Storage) -> None:
    for study, fingerprint in (("one", "a"), ("two", "a"), ("three", "b")):
        storage.openings.write(study, fingerprint * 64, 0, "me", "final choice")
    assert [o.study for o in storage.openings.of("a" * 64)] == ["one", "two"]


@on_sqlite
def test_deleting_a_study_does_not_seal_its_data_again(storage: Storage) -> None:
    spec = enter(storage)
    storage.openings.write(spec.name, "a" * 64, 0, "me", "final choice")
    storage.delete_study(spec.name)
    assert storage.study_names() == []
    assert [o.study for o in storage.openings.of("a" * 64)] == [spec.name]
