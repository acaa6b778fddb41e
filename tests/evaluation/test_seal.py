"""The seal as its users see it: who may open it again, and what is said from then on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fixtures_storage import on_sqlite
from made_records import config_record, final_record
from made_studies import PREPARED, enter, run_trial, spec_of

from hpsearch.data.prepared import Contents, Prepared
from hpsearch.errors import SealError, StudyMismatchError, StudyNotFoundError
from hpsearch.evaluation.seal import seal_before, seal_of
from hpsearch.reports.formats import as_json
from hpsearch.reports.report import make_report
from hpsearch.reports.seal import config_words, history_json, result_words, seal_lines
from hpsearch.search.stored_study import enter_study
from hpsearch.storage.schema import openings
from hpsearch.storage.storage import Storage
from hpsearch.study.spec import StudySpec

pytestmark = on_sqlite
CONFIG: dict[str, Any] = {"family": "alexnet", "layers": 2, "filters": 8, "optimizer": "sgd",
          "learning_rate": 0.01, "seed": 5, "metric": "accuracy"}  # fmt: skip
RESULT: dict[str, Any] = {
    "config": CONFIG,
    "validation": {"accuracy": 0.75, "interval": [0.5, 0.9], "images": 20, "loss": 1.0},
}


def open_seal(storage: Storage, study: str = "made", trial: int = 0, measured: bool = True) -> int:
    made = storage.openings.write(
        study, PREPARED.fingerprint, trial, "me", "why", config_record(**CONFIG)
    )
    if measured:
        storage.openings.write_result(made, final_record(**RESULT, trial=trial))
    return made


def words(storage: Storage, study: str = "made") -> str:
    return " ".join(seal_lines(seal_of(storage, study)))


def test_a_first_opening_needs_no_asking_and_is_said_to_be_the_only_one(storage: Storage) -> None:
    enter(storage)
    assert seal_of(storage, "made").to_go_on_with(0, open_again=False) is None
    assert "still sealed" in words(storage)
    open_seal(storage)
    assert words(storage) == "Validation was opened once."


def test_a_second_opening_asks_to_be_asked_for_and_every_report_says_so(storage: Storage) -> None:
    enter(storage)
    open_seal(storage)
    with pytest.raises(SealError, match="--open-again opens it once more"):
        seal_of(storage, "made").to_go_on_with(1, open_again=False)
    assert seal_of(storage, "made").to_go_on_with(1, open_again=True) is None
    open_seal(storage, trial=1)
    assert "opened 2 times: optimistic (2 by this study)" in words(storage)


def test_an_opening_that_was_not_measured_goes_on_for_the_same_trial_alone(
    storage: Storage,
) -> None:
    enter(storage)
    made = open_seal(storage, trial=3, measured=False)
    seal = seal_of(storage, "made")
    going_on = seal.to_go_on_with(3, open_again=False)
    assert going_on is not None and going_on.id == made
    with pytest.raises(SealError, match="for trial 3 and not measured"):
        seal.to_go_on_with(4, open_again=False)
    assert "not measured to the end" in words(storage)


def test_deleting_and_making_a_study_anew_does_not_seal_its_data_again(storage: Storage) -> None:
    spec = enter(storage)
    run_trial(storage, spec)
    open_seal(storage)
    storage.delete_study("made")
    enter(storage)
    run_trial(storage, spec)
    seal = seal_of(storage, "made")
    assert (len(seal.mine), len(seal.deleted), seal.result) == (0, 1, None), "not this one's"
    with pytest.raises(SealError, match="deleting a study does not undo it"):
        seal.to_go_on_with(0, open_again=False)
    assert "opened once before: optimistic (1 by study 'made' that is deleted)" in words(storage)
    assert make_report(storage, "made").final is None
    open_seal(storage)
    assert "opened 2 times: optimistic" in words(storage)


def test_another_name_does_not_help_either(storage: Storage) -> None:
    enter(storage, spec_of("old"))
    open_seal(storage, "old")
    storage.delete_study("old")
    enter(storage, spec_of("new"))
    with pytest.raises(SealError, match="of study 'old'"):
        seal_of(storage, "new").to_go_on_with(0, open_again=False)


def test_studies_that_are_there_open_the_same_data_each_and_all_reports_count_them(
    storage: Storage,
) -> None:
    for name in ("one", "two"):
        run_trial(storage, enter(storage, spec_of(name)))
    assert seal_of(storage, "one").to_go_on_with(0, open_again=False) is None
    open_seal(storage, "one")
    assert "has to be asked for with --open-again" in words(storage, "two")
    with pytest.raises(SealError, match=r"for trial 0 of study 'one' on 20\d\d-\d\d-\d\d"):
        seal_of(storage, "two").to_go_on_with(0, open_again=False)
    assert seal_of(storage, "two").to_go_on_with(0, open_again=True) is None
    open_seal(storage, "two")
    assert "opened 2 times: optimistic (1 by this study, 1 by study 'two')" in words(storage, "one")
    assert "second test split" in words(storage, "one")
    told = as_json(make_report(storage, "two"))
    assert told["final"]["trial"] == 0
    assert (told["openings"], told["openings_by_others"], told["openings_in_all"]) == (1, 1, 2)


def test_the_history_tells_who_when_what_why_and_what_came_of_it(storage: Storage) -> None:
    enter(storage)
    open_seal(storage)
    open_seal(storage, trial=1, measured=False)
    (first, whose), (second, _) = seal_of(storage, "made").history()
    assert whose == "this study" and first.who == "me" and first.opened_at > 1.7e9
    assert config_words(second) == ": alexnet, 2 x 8 filters, sgd 0.01, seed 5"
    assert result_words(first) == ["validation accuracy 0.7500 (95 % interval 0.5000 - 0.9000)"]
    assert result_words(second) == ["none: the measurement did not end"]
    told = history_json(storage.row("made"), seal_of(storage, "made"))
    assert [o["trial_number"] for o in told["openings"]] == [0, 1]
    assert told["openings"][0]["config"] == CONFIG


# Examples


def known(sealed: Iterable[int], searched: Iterable[int] = range(180), name: str = "a") -> Prepared:
    """Return prepared data of which the examples are these numbers."""
    contents = Contents(np.array([*searched], np.uint64), np.array([*sealed], np.uint64))
    totals = (len(contents.searched) - 20, 20, len(contents.sealed))
    return replace(PREPARED, fingerprint=name * 64, contents=contents, totals=totals)


def made(storage: Storage, name: str, prepared: Prepared, **more: Any) -> StudySpec:
    spec = spec_of(name).model_copy(update=more)
    enter_study(storage, spec, prepared)
    run_trial(storage, spec)
    return spec


def opened(storage: Storage, name: str, prepared: Prepared) -> None:
    one = storage.openings.write(
        name, prepared.fingerprint, 0, "me", "why", config_record(**CONFIG)
    )
    storage.openings.write_result(one, final_record(**RESULT))


def test_pictures_that_another_study_has_seen_are_counted_whatever_it_made_of_them(
    storage: Storage,
) -> None:
    mine = known(range(1000, 1160))
    made(storage, "mine", mine)
    theirs = known(range(1022, 1200), name="b")
    made(storage, "cifar", theirs)
    assert "still sealed" in words(storage, "mine")
    opened(storage, "cifar", theirs)
    seal = seal_of(storage, "mine")
    assert (seal.seen, seal.sealed, seal.needs_asking) == (138, 160, True)
    said = words(storage, "mine")
    assert "once before: optimistic (1 by study 'cifar', which showed 138 of its 160)" in said
    assert "seen 138 of 160 (86 %) of its examples" in said
    with pytest.raises(SealError, match=r"138 of the 160 examples .* of study 'cifar' on 20"):
        seal.to_go_on_with(0, open_again=False)
    third = known(range(1000, 1030), name="c")
    made(storage, "third", third)
    opened(storage, "third", third)
    assert seal_of(storage, "mine").seen == 160, "of the union, each example once"
    told = as_json(make_report(storage, "mine"))
    assert [look["shown"] for look in told["looks"]] == [138, 30]


def test_what_a_deleted_study_has_shown_stays_shown(storage: Storage) -> None:
    theirs = known(range(1000, 1010), name="b")
    made(storage, "gone", theirs)
    opened(storage, "gone", theirs)
    storage.delete_study("gone")
    made(storage, "mine", known(range(1005, 1025)))
    assert "by study 'gone' that is deleted, which showed 5 of its 20" in words(storage, "mine")


def test_other_pictures_leave_the_seal_closed(storage: Storage) -> None:
    theirs = known(range(2000, 2020), name="b")
    made(storage, "other", theirs)
    opened(storage, "other", theirs)
    made(storage, "mine", known(range(1000, 1020)))
    assert "still sealed" in words(storage, "mine")
    assert seal_of(storage, "mine").to_go_on_with(0, open_again=False) is None


def test_openings_that_recorded_no_examples_count_whole_and_that_is_said(storage: Storage) -> None:
    mine, other = known(range(1000, 1020)), known(range(1000, 1020), name="b")
    for name, prepared in (("same", mine), ("other", other)):
        enter_study(storage, spec_of(name), replace(prepared, contents=None))
        opened(storage, name, prepared)
    made(storage, "mine", mine)
    said = words(storage, "mine")
    assert "once before: optimistic (1 by study 'same')" in said
    assert "1 opening(s) by others did not record which examples they showed" in said
    assert "1 opening(s) of other data did not record" in said and "is not known" in said


def test_a_study_of_an_older_version_records_its_examples_when_it_is_resumed(
    storage: Storage,
) -> None:
    mine = known(range(1000, 1020))
    enter_study(storage, spec_of("mine"), replace(mine, contents=None))
    assert storage.ledger.study("mine").sealed_examples is None  # type: ignore[union-attr]
    theirs = known(range(1000, 1005), name="b")
    made(storage, "other", theirs)
    opened(storage, "other", theirs)
    assert "still sealed" in words(storage, "mine")
    enter_study(storage, spec_of("mine"), mine)
    assert seal_of(storage, "mine").seen == 5


# Continuing


def test_a_study_that_continues_another_has_one_seal_with_it_and_with_all_before(
    storage: Storage,
) -> None:
    first = known(range(1000, 1020))
    made(storage, "small", first)
    opened(storage, "small", first)
    second = known(range(1000, 1020), name="b")  # at another size
    made(storage, "middle", second, continues="small")
    made(storage, "big", second, continues="middle")
    said = words(storage, "big")
    assert "once before: optimistic (1 by study 'small', which this one continues)" in said
    assert "second test split" not in said, "these studies do not compete"
    with pytest.raises(SealError):
        seal_of(storage, "big").to_go_on_with(0, open_again=False)
    enter_study(storage, spec_of("big"), second)  # the key may go: what it did stays
    assert "which this one continues" in words(storage, "big")
    with storage.openings.engine.begin() as connection:
        connection.execute(openings.delete())
    storage.delete_study("middle")  # and so may the other study
    made(storage, "big", second, continues="middle")


def test_sealed_examples_that_taught_in_a_study_that_this_one_starts_from_are_a_leak(
    storage: Storage,
) -> None:
    data = known(range(175, 195))  # five pictures that lie in both parts
    made(storage, "old", data)
    spec = spec_of("new")
    search = spec.search.model_copy(update={"warm_start": "old"})
    enter_study(storage, spec.model_copy(update={"search": search}), data)
    said = words(storage, "new")
    assert "Leak: 5 of 20 (25 %) of the sealed examples taught or selected in study 'old'" in said
    assert "which this one continues" not in said


def test_a_study_that_is_deleted_can_be_continued_by_what_it_opened(storage: Storage) -> None:
    old = known(range(1000, 1020))
    made(storage, "old", old)
    opened(storage, "old", old)
    storage.delete_study("old")
    made(storage, "new", known(range(1000, 1020), name="b"), continues="old")
    assert "by study 'old', which this one continues" in words(storage, "new")
    with pytest.raises(StudyMismatchError, match="20 of its 20 examples were not in it"):
        made(storage, "wrong", known(range(3000, 3020), name="c"), continues="old")


def test_only_a_study_of_the_same_examples_can_be_continued(storage: Storage) -> None:
    made(storage, "old", known(range(1000, 1020)))
    moved = known([*range(1001, 1020), 5], [*range(5), *range(6, 180), 1000], "b")
    with pytest.raises(StudyMismatchError, match="1 of its 20 examples were not in it") as error:
        made(storage, "new", moved, continues="old")
    assert "train and test: 1 of its 180 examples" in str(error.value)
    with pytest.raises(StudyMismatchError, match="train: was 160 examples, now 161"):
        made(storage, "new", known(range(1000, 1020), range(181), "c"), continues="old")
    assert storage.study_names() == ["old"]


def test_a_study_that_is_not_there_cannot_be_continued(storage: Storage) -> None:
    made(storage, "old", known(range(1000, 1020)))
    with pytest.raises(StudyNotFoundError, match="no study 'odl'; studies here: old"):
        made(storage, "new", known(range(1000, 1020)), continues="odl")


def test_no_study_goes_back_to_itself(storage: Storage) -> None:
    data = known(range(1000, 1020))
    made(storage, "one", data)
    made(storage, "two", data, continues="one")
    with pytest.raises(StudyMismatchError, match="goes back to 'one' itself"):
        enter_study(storage, spec_of("one").model_copy(update={"continues": "two"}), data)
    with pytest.raises(ValueError, match="does not continue itself"):
        StudySpec.model_validate(spec_of("one").model_dump() | {"continues": "one"})


def test_sealed_examples_that_taught_in_a_continued_study_are_a_leak(storage: Storage) -> None:
    data = known(range(175, 195))  # five pictures that lie in both parts
    made(storage, "old", data)
    made(storage, "new", data, continues="old")
    said = words(storage, "new")
    assert "Leak: 5 of 20 (25 %) of the sealed examples taught or selected in study 'old'" in said
    opened(storage, "new", data)
    assert "opened once: optimistic" in words(storage, "new")
    assert not seal_of(storage, "new").is_honest


def test_a_seal_is_known_before_a_study_is_entered(storage: Storage) -> None:
    data = known(range(1000, 1020))
    made(storage, "old", data)
    opened(storage, "old", data)
    new = known(range(1010, 1030), name="b")
    before = seal_before(storage, spec_of("new"), new)
    made(storage, "new", new)
    assert before == seal_of(storage, "new") and before.seen == 10
