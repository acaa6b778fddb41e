"""The seal as its users see it: who may open it again, and what is said from then on."""

from __future__ import annotations

from typing import Any

import pytest
from fixtures_storage import on_sqlite
from search.made_studies import PREPARED, enter, run_trial, spec_of

from hpsearch.errors import SealError
from hpsearch.results.formats import as_json
from hpsearch.results.report import make_report
from hpsearch.results.seal import seal_of
from hpsearch.results.seal_words import config_words, history_json, result_words, seal_lines
from hpsearch.search.storage import Storage

pytestmark = on_sqlite
CONFIG: dict[str, Any] = {"family": "alexnet", "layers": 2, "filters": 8, "optimizer": "sgd",
          "learning_rate": 0.01, "seed": 5, "metric": "accuracy"}  # fmt: skip
RESULT: dict[str, Any] = {
    "trial": 0,
    "config": CONFIG,
    "validation": {"accuracy": 0.75, "interval": [0.5, 0.9], "images": 20, "loss": 1.0},
}


def open_seal(storage: Storage, study: str = "made", trial: int = 0, measured: bool = True) -> int:
    made = storage.openings.write(study, PREPARED.fingerprint, trial, "me", "why", CONFIG)
    if measured:
        storage.openings.write_result(made, RESULT | {"trial": trial})
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
