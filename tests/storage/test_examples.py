"""Which examples the parts of a study's data hold, and what openings recorded of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_studies import PREPARED, row_of, spec_of
from sqlalchemy import func, select

from hpsearch.data.prepared import Contents, Prepared
from hpsearch.search.lineage import lineage
from hpsearch.search.stored_study import enter_study
from hpsearch.storage.schema import examples
from hpsearch.storage.storage import Storage

LARGEST = 2**64 - 1  # of a hash


def holding(searched: list[int], sealed: list[int]) -> Prepared:
    contents = Contents(np.array(searched, np.uint64), np.array(sealed, np.uint64))
    return replace(PREPARED, contents=contents)


def test_a_set_is_kept_once_whatever_its_order(storage: Storage) -> None:
    hashes = np.array([LARGEST, 3, 0, 3], np.uint64)
    digest = storage.examples.keep(hashes)
    assert storage.examples.keep(hashes[::-1]) == digest
    assert storage.examples.of(digest).tolist() == [0, 3, 3, LARGEST]
    assert storage.examples.keep(hashes[1:]) != digest
    with storage.examples.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(examples)).scalar_one() == 2
    with pytest.raises(KeyError):
        storage.examples.of("f" * 64)


def test_entering_a_study_keeps_the_examples_of_its_parts_and_its_openings_have_them(
    storage: Storage,
) -> None:
    enter_study(storage, spec_of("one"), holding([1, 2, 3], [8, 9]))
    row = row_of(storage, "one")
    assert row.searched_examples is not None and row.sealed_examples is not None
    assert storage.examples.of(row.searched_examples).tolist() == [1, 2, 3]
    assert storage.examples.of(row.sealed_examples).tolist() == [8, 9]
    first = storage.openings.write("one", PREPARED.fingerprint, 0, "me", "final choice")
    second = storage.openings.write("nobody", "b" * 64, 0, "me", "final choice")
    marks = storage.openings.marks()
    assert [(m.id, m.examples) for m in marks] == [(first, row.sealed_examples), (second, None)]
    assert [o.study for o in storage.openings.numbered([second, first])] == ["one", "nobody"]
    storage.delete_study("one")
    assert storage.examples.of(str(marks[0].examples)).tolist() == [8, 9], "they outlive it"


def test_what_was_recorded_when_a_study_was_entered_stays(storage: Storage) -> None:
    enter_study(storage, spec_of("one"), replace(PREPARED, contents=None))
    assert row_of(storage, "one").sealed_examples is None
    enter_study(storage, spec_of("one"), holding([1, 2], [8, 9]))
    recorded = row_of(storage, "one").sealed_examples
    assert recorded is not None
    enter_study(storage, spec_of("one"), holding([1, 2], [8, 10]))
    assert row_of(storage, "one").sealed_examples == recorded


def test_a_study_knows_what_it_goes_back_to_and_whether_it_may_open_again(
    storage: Storage,
) -> None:
    data = holding([1, 2, 3], [8, 9])
    enter_study(storage, spec_of("one"), data)
    for name, earlier in (("two", "one"), ("three", "two")):
        enter_study(storage, spec_of(name).model_copy(update={"continues": earlier}), data)
    assert lineage(storage, row_of(storage, "three").continues) == ["two", "one"]
    assert lineage(storage, row_of(storage, "one").continues) == []
    storage.delete_study("two")
    assert lineage(storage, "two") == ["two"]
    assert row_of(storage, "one").open_again is False
    storage.ledger.set_open_again("one", True)
    assert row_of(storage, "one").open_again is True
