"""Axes: what may be written for one, and what it says when it cannot be used."""

from __future__ import annotations

from typing import Any

import optuna
import pytest

from hpsearch.study.axes import ByFamily, Choice, Fixed, FloatRange, IntRange, Kind, PlainAxis

COUNT = Kind(int, low=1, high=100)
ODD = Kind(int, low=1, high=15, odd=True)
RATE = Kind(float, low=1e-8, high=10)
NAME = Kind(str, allowed=("relu", "gelu", "silu"))
SWITCH = Kind(bool)


def problem(kind: Kind, written: object) -> str:
    """Return what the axis says about something that cannot be used."""
    with pytest.raises(ValueError) as caught:
        kind.axis(written)
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "written", "axis"),
    [
        (COUNT, 32, Fixed(32)),
        (COUNT, "32", Fixed(32)),
        (COUNT, 32.0, Fixed(32)),
        (COUNT, [16, 32], Choice((16, 32))),
        (COUNT, [16], Fixed(16)),
        (COUNT, {"low": 16, "high": 16}, Fixed(16)),
        (COUNT, {"low": 16, "high": 64}, IntRange(16, 64)),
        (COUNT, {"low": 16, "high": 64, "step": 8}, IntRange(16, 64, 8)),
        (COUNT, {"low": 16, "high": 64, "log": True}, IntRange(16, 64, log=True)),
        (ODD, {"low": 3, "high": 7}, IntRange(3, 7, 2)),
        (RATE, "1e-3", Fixed(0.001)),
        (RATE, {"low": "1e-4", "high": "1e-2", "log": "on"}, FloatRange(1e-4, 1e-2, log=True)),
        (RATE, {"low": 0.1, "high": 0.5, "step": 0.1}, FloatRange(0.1, 0.5, 0.1)),
        (NAME, ["relu", "gelu"], Choice(("relu", "gelu"))),
        (SWITCH, [True, False], Choice((True, False))),
        (
            COUNT,
            {"alexnet": {"low": 8, "high": 16}, "resnet": 4},
            ByFamily({"alexnet": IntRange(8, 16), "resnet": Fixed(4)}),
        ),
    ],
    ids=str,
)
def test_an_axis_is_read_as_it_is_written(kind: Kind, written: object, axis: object) -> None:
    assert kind.axis(written) == axis


@pytest.mark.parametrize("word", ["on", "On", "yes", "TRUE", "true", True])
def test_the_words_for_true_that_other_yaml_versions_know_are_true(word: object) -> None:
    assert SWITCH.value(word) is True


@pytest.mark.parametrize("word", ["off", "No", "false", False])
def test_the_words_for_false_that_other_yaml_versions_know_are_false(word: object) -> None:
    assert SWITCH.value(word) is False


def test_whole_numbers_come_back_as_int_and_real_ones_as_float() -> None:
    assert type(COUNT.value(32.0)) is int
    assert type(RATE.value(1)) is float


@pytest.mark.parametrize(
    ("kind", "written", "says"),
    [
        (COUNT, "wide", "'wide' is not a number"),
        (COUNT, None, "None is not a number"),
        (COUNT, True, "True is not a number"),
        (COUNT, 2.5, "2.5 is not a whole number"),
        (COUNT, float("nan"), "not a finite number"),
        (COUNT, 0, "0 is outside 1 to 100"),
        (COUNT, 101, "101 is outside 1 to 100"),
        (COUNT, [16, [32]], "[32] is not a number"),
        (ODD, 4, "4 is even; use an odd number, such as 5"),
        (ODD, [3, 4], "4 is even; use an odd number, such as 5"),
        (ODD, {"low": 2, "high": 6}, "2 is even; use an odd number, such as 3"),
        (ODD, {"low": 3, "high": 7, "step": 1}, "step 1 leads to even numbers; use an even step"),
        (NAME, "rellu", "unknown value 'rellu'; did you mean 'relu'?"),
        (NAME, "tanh", "unknown value 'tanh'; use one of relu, gelu, silu"),
        (NAME, {"low": 1, "high": 2}, "no order; write a list, such as [a, b]"),
        (SWITCH, "maybe", "'maybe' is neither true nor false"),
        (SWITCH, 2, "2 is neither true nor false"),
        (SWITCH, {"low": 0, "high": 1}, "no order; write a list, such as [a, b]"),
        (SWITCH, [True, "on"], "True stands twice in the list; name each value once"),
        (COUNT, [], "an empty list has nothing to pick from; name at least one value"),
        (COUNT, [16, 32, 16], "16 stands twice in the list; name each value once"),
        (COUNT, [16, "16"], "16 stands twice in the list; name each value once"),
        (COUNT, {}, "a range needs low and high; low is missing"),
        (COUNT, {"low": 16}, "a range needs low and high; high is missing"),
        (COUNT, {"low": 1, "high": 9, "stp": 2}, "unknown key 'stp' in a range; did you mean"),
        (COUNT, {"low": 1, "high": 9, "q": 2}, "unknown key 'q' in a range; use low, high"),
        (COUNT, {"low": 64, "high": 16}, "low 64 is above high 16; swap them"),
        (COUNT, {"low": 1, "high": 9, "step": 0}, "step is 0; use a step above 0"),
        (COUNT, {"low": 1, "high": 9, "step": 1.5}, "1.5 is not a whole number"),
        (COUNT, {"low": 1, "high": 9, "step": 3}, "not reached from 1 in steps of 3; use 7 or 10"),
        (COUNT, {"low": 1, "high": 9, "log": "maybe"}, "'maybe' is neither true nor false"),
        (RATE, {"low": 0.1, "high": 1, "log": True, "step": 0.1}, "not both; drop one"),
        (Kind(float), {"low": 0, "high": 1, "log": True}, "0 has no logarithm; start above 0"),
        (COUNT, {"alexnet": {"resnet": 3}}, "families stand inside a family"),
        (COUNT, {"alexnet": {"low": 9, "high": 3}}, "low 9 is above high 3; swap them"),
    ],
    ids=str,
)
def test_an_axis_that_cannot_be_used_says_what_is_wrong(
    kind: Kind, written: object, says: str
) -> None:
    assert says in problem(kind, written)


def test_a_negative_step_is_named_as_the_step() -> None:
    assert "step" in problem(COUNT, {"low": 1, "high": 9, "step": -2})


def test_a_misspelt_family_is_named_instead_of_the_one_that_is_right() -> None:
    says = problem(COUNT, {"alexnet": 16, "renset": 8})
    assert "'renset'" in says
    assert "resnet" in says


def test_a_number_too_large_for_a_float_is_an_error_like_any_other() -> None:
    assert "not a" in problem(COUNT, 10**400) or "outside" in problem(COUNT, 10**400)


def test_odd_numbers_on_a_logarithmic_scale_are_refused_before_anything_is_sampled() -> None:
    assert "log" in problem(ODD, {"low": 3, "high": 7, "log": True})


def test_a_real_range_whose_high_lies_off_its_steps_is_refused_like_a_whole_one() -> None:
    says = problem(RATE, {"low": 0.1, "high": 0.5, "step": 0.3})
    assert "not reached from 0.1" in says
    assert "0.4" in says
    assert "0.7" in says


@pytest.mark.parametrize(
    ("low", "high", "step", "points"),
    [
        (0.1, 0.3, 0.1, (0.1, 0.2, 0.3)),
        (0.0, 0.6, 0.2, (0.0, 0.2, 0.4, 0.6)),
        (0.1, 0.7, 0.1, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)),
    ],
)
def test_the_points_of_a_stepped_real_range_are_the_decimal_numbers_a_reader_expects(
    low: float, high: float, step: float, points: tuple[float, ...]
) -> None:
    assert FloatRange(low, high, step).points() == points


def test_points_cover_a_range_from_low_to_high() -> None:
    assert IntRange(16, 64, 16).points() == (16, 32, 48, 64)
    assert Choice(("a", "b")).points() == ("a", "b")
    assert Fixed(3).points() == (3,)
    assert FloatRange(0.0, 1.0).points() is None


@pytest.mark.parametrize(
    ("axis", "wanted", "nearest"),
    [
        (IntRange(16, 64, 16), 48, 48),
        (IntRange(16, 64, 16), 41, 48),
        (IntRange(16, 64, 16), 5, 16),
        (IntRange(16, 64, 16), 500, 64),
        (FloatRange(0.1, 0.5), 0.3, 0.3),
        (FloatRange(0.1, 0.5), 0.0, 0.1),
        (FloatRange(0.0, 1.0, 0.25), 0.3, 0.25),
        (FloatRange(0.0, 1.0, 0.25), 7.0, 1.0),
        (FloatRange(0.1, 0.3, 0.1), 0.3, 0.3),
        (Choice(("a", "b")), "b", "b"),
        (Choice(("a", "b")), "z", "a"),
        (Fixed(3), 9, 3),
    ],
)
def test_the_nearest_point_lies_in_the_axis(axis: PlainAxis, wanted: Any, nearest: Any) -> None:
    assert axis.nearest(wanted) == nearest


@pytest.mark.parametrize(
    "axis",
    [
        IntRange(16, 64, 8),
        IntRange(3, 15, 2),
        IntRange(1, 1000, log=True),
        FloatRange(1e-5, 1e-1, log=True),
        FloatRange(0.1, 0.7, 0.1),
        FloatRange(0.0, 0.4),
        Choice(("relu", "gelu")),
    ],
    ids=str,
)
def test_a_live_trial_is_asked_and_a_stored_one_is_read(axis: PlainAxis) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(20):
        trial = study.ask()
        value = axis.pick("x", trial)
        assert axis.pick("x", study.trials[-1]) == value
        assert trial.params == {"x": value}


def test_a_fixed_value_is_not_stored_as_a_parameter() -> None:
    trial = optuna.create_study().ask()
    assert Fixed(32).pick("filters", trial) == 32
    assert trial.params == {}


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        (COUNT, 32),
        (COUNT, [16, 32]),
        (COUNT, {"low": 16, "high": 64}),
        (COUNT, {"low": 16, "high": 64, "step": 8}),
        (COUNT, {"low": 16, "high": 64, "log": True}),
        (RATE, {"low": 0.0001, "high": 0.01, "log": True}),
        (RATE, {"low": 0.1, "high": 0.5, "step": 0.1}),
        (NAME, ["relu", "gelu"]),
        (COUNT, {"alexnet": {"low": 8, "high": 16, "step": 4}, "resnet": [4, 8]}),
    ],
    ids=str,
)
def test_an_axis_is_written_as_it_was_read(kind: Kind, written: object) -> None:
    assert kind.axis(written).notation() == written
