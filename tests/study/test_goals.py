"""Limits and goals of a search, as a study file writes them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from hpsearch.study.goals import Goals
from hpsearch.study.spec import StudySpec


def goals(**written: Any) -> Goals:
    return Goals.model_validate(written)


@pytest.mark.parametrize(
    ("written", "number"),
    [
        (500000, 500_000),
        (5e5, 500_000),
        ("500000", 500_000),
        ("500k", 500_000),
        ("500 K", 500_000),
        ("1.1M", 1_100_000),
        ("2G", 2_000_000_000),
    ],
)
def test_amounts_are_written_as_numbers_or_with_a_letter(written: Any, number: int) -> None:
    found = goals(constraints={"parameters": written, "flops": written}, max_parameters=written)
    assert (found.constraints.parameters, found.constraints.flops) == (number, number)
    assert found.max_parameters == number


@pytest.mark.parametrize("written", [0, -5, 1.5, "1.5", "20m", "many", True, "", float("nan")])
@pytest.mark.parametrize("key", ["parameters", "flops"])
def test_what_is_no_amount_is_refused_with_what_to_write(key: str, written: Any) -> None:
    with pytest.raises(ValidationError, match="is no amount; write a whole number above 0, as 5"):
        goals(constraints={key: written})


@pytest.mark.parametrize("written", [0, -1, "2ms", True, float("inf"), float("nan")])
def test_what_is_no_time_is_refused_with_what_to_write(written: Any) -> None:
    with pytest.raises(ValidationError, match=r"is no number of milliseconds; write 2 or 0\.5"):
        goals(constraints={"latency_ms": written})


def test_more_than_anybody_means_is_refused() -> None:
    for key, written in (("parameters", "1001G"), ("flops", 1e19), ("latency_ms", 1e7)):
        with pytest.raises(ValidationError, match="the most that can be asked for"):
            goals(constraints={key: written})


def test_max_parameters_is_another_name_of_the_constraint() -> None:
    assert goals(max_parameters=1000).most("parameters") == 1000
    assert goals(constraints={"parameters": "1k"}).most("parameters") == 1000
    assert goals(constraints={"parameters": "1k"}, max_parameters=1000).most("parameters") == 1000
    with pytest.raises(ValidationError, match=r"max_parameters is 500 and constraints.parameters"):
        goals(constraints={"parameters": "1k"}, max_parameters=500)


def test_limits_are_named_as_trials_record_what_they_take() -> None:
    assert goals().limits() == {}
    found = goals(constraints={"latency_ms": 0.5, "flops": "2k"}, max_parameters=9).limits()
    assert found == {"parameters": 9, "forward_flops": 2000, "latency_ms": 0.5}


def test_goals_may_change_between_launches() -> None:
    def identity(**search: Any) -> dict[str, Any]:
        written = {"name": "a", "data": {"source": "digits"}, "search": search}
        return StudySpec.model_validate(written).identity()

    assert identity(constraints={"latency_ms": 2}, also="flops") == identity()


def test_a_spec_with_goals_is_stored_and_read_again() -> None:
    search = {"constraints": {"parameters": "30k", "latency_ms": 2}, "also": "latency"}
    written = {"name": "a", "data": {"source": "digits"}, "search": search}
    spec = StudySpec.model_validate(written)
    assert StudySpec.model_validate_json(spec.model_dump_json()) == spec


def test_a_goal_that_the_sampler_cannot_follow_is_a_warning() -> None:
    def warned(**search: Any) -> list[str]:
        written = {"name": "a", "data": {"source": "digits"}, "search": search}
        return StudySpec.model_validate(written).warnings()

    assert any("random proposes the same" in w for w in warned(also="flops", sampler="random"))
    assert warned(also="flops") == warned() == []
