"""A budget of minutes or core-hours, as a study file writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpsearch.cli.options import spec_of
from hpsearch.errors import StudyFileError
from hpsearch.study.budget import PLANNED_PRUNER, PLENTY
from hpsearch.study.file import read_study
from hpsearch.study.limits import STORED
from hpsearch.study.searching import Search
from hpsearch.study.spec import StudySpec


def written(tmp_path: Path, search: str) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(f"name: timed\ndata: {{source: digits}}\nsearch: {search}\n")
    return path


def test_minutes_leave_trials_epochs_and_pruner_to_the_plan() -> None:
    search = Search.model_validate({"minutes": 20})
    assert search.is_planned
    assert search.plans_epochs
    assert search.pruner.name == PLANNED_PRUNER
    assert search.trials == PLENTY
    assert search.planned_s(cores=4) == 1200.0


def test_core_hours_are_shared_by_the_cores() -> None:
    search = Search.model_validate({"core_hours": 2})
    assert [search.planned_s(cores) for cores in (1, 2, 8)] == [7200.0, 3600.0, 900.0]


def test_what_is_written_beside_minutes_is_kept() -> None:
    kept = {"minutes": 20, "trials": 40, "epochs": 12, "pruner": "none"}
    search = Search.model_validate(kept)
    assert (search.trials, search.epochs, search.pruner.name) == (40, 12, "none")
    assert not search.plans_epochs


def test_a_study_without_minutes_is_as_it_was() -> None:
    search = Search.model_validate({"timeout": "20m"})
    assert not search.is_planned
    assert not search.plans_epochs
    assert (search.trials, search.epochs, search.pruner.name) == (50, 10, "median")
    assert search.planned_s(1) is None


@pytest.mark.parametrize(
    ("search", "wrong"),
    [
        ("{minutes: 20, timeout: 1h}", "minutes and timeout are budgets of one time"),
        ("{minutes: 20, core_hours: 1}", "minutes and core_hours are budgets of one time"),
        ("{core_hours: 20, timeout: 1h}", "core_hours and timeout are budgets of one time"),
        ("{minutes: 0}", "search.minutes: "),
        ("{minutes: -1}", "search.minutes: "),
        ("{core_hours: 0}", "search.core_hours: "),
        ("{minutes: .inf}", "search.minutes: "),
        ("{minutes: soon}", "search.minutes: "),
    ],
)
def test_budgets_that_cannot_be_meant_are_errors(tmp_path: Path, search: str, wrong: str) -> None:
    with pytest.raises(StudyFileError, match=r"study\.yaml:3: ") as error:
        read_study(written(tmp_path, search))
    assert wrong in str(error.value)


def test_another_time_is_the_same_study_and_other_epochs_are_not() -> None:
    def identity(**search: Any) -> dict[str, Any]:
        return StudySpec.model_validate(
            {"name": "timed", "data": {"source": "digits"}, "search": search}
        ).identity()

    assert identity(minutes=20) == identity(minutes=30) == identity(core_hours=1)
    assert identity(minutes=20) != identity(minutes=20, epochs=11)


def test_a_planned_study_is_read_back_as_it_was_stored(tmp_path: Path) -> None:
    spec = read_study(written(tmp_path, "{minutes: 20}"))
    planned = {"timeout": 1200.0, "epochs": 7}
    spec = spec.model_copy(update={"search": spec.search.model_copy(update=planned)})
    again = StudySpec.model_validate_json(spec.model_dump_json(), context=STORED)
    assert again == spec
    assert again.search.is_planned
    assert StudySpec.model_validate(spec.model_dump()) == spec


def test_flags_replace_the_time_of_a_file(tmp_path: Path) -> None:
    planned, timed = written(tmp_path, "{minutes: 20}"), tmp_path / "timed.yaml"
    timed.write_text(planned.read_text().replace("minutes: 20", "timeout: 1h, epochs: 12"))
    shorter = spec_of(planned, minutes=5).search
    assert (shorter.minutes, shorter.plans_epochs, shorter.trials) == (5, True, PLENTY)
    fewer = spec_of(planned, trials=9)
    assert (fewer.search.trials, fewer.search.minutes) == (9, 20)
    assert fewer.search.plans_epochs
    now_planned = spec_of(timed, minutes=5).search
    assert (now_planned.timeout, now_planned.minutes, now_planned.epochs) == (None, 5, 12)
    with pytest.raises(StudyFileError, match="--minutes"):
        spec_of(planned, timeout="5m")
    with pytest.raises(StudyFileError, match="one time"):
        spec_of(timed, timeout="5m", minutes=5)
    with pytest.raises(StudyFileError, match="minutes"):
        spec_of(timed, minutes=0)
