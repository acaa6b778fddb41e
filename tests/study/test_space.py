"""The space: asked of a live trial, read back from a stored one, its defaults and its grid."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, get_args

import optuna
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hpsearch.study import config
from hpsearch.study.axes import FAMILY_NAMES, Choice, Fixed, FloatRange, IntRange
from hpsearch.study.config import OWN_VALUES, has
from hpsearch.study.space import Space

WHOLE = {
    "filters": (1, 2048),
    "layers": (1, 8),
    "units1": (1, 8192),
    "units2": (1, 8192),
    "batch_size": (1, 65536),
    "convolutions": (1, 8),
    "reduction": (1, 64),
    "blocks": (1, 48),
    "squeeze": (1, 256),
    "patience": (0, 1000),
    "shift": (0, 64),
}
REAL = {
    "body_rate": ("1e-6", "1"),
    "dropout": ("0", "0.95"),
    "learning_rate": ("1e-8", "10"),
    "weight_decay": ("0", "10"),
    "label_smoothing": ("0", "0.9"),
}
NAMES = {
    "activation": get_args(config.Activation),
    "pooling": get_args(config.Pooling),
    "block": get_args(config.Block),
    "squeeze_where": get_args(config.SqueezeWhere),
    "backbone": get_args(config.Backbone),
    "unfreeze": get_args(config.Unfreeze),
    "optimizer": get_args(config.Optimizer),
    "schedule": get_args(config.Schedule),
}
SWITCHES = ("batch_norm", "flip")


@st.composite
def whole_ranges(draw: st.DrawFn, low: int, high: int, most: int = 10**6) -> dict[str, Any]:
    """Draw a range of whole numbers that is spaced by a step, or evenly, or logarithmically."""
    start = draw(st.integers(low, high - 1))
    step = draw(st.integers(1, high - start))
    count = draw(st.integers(1, min((high - start) // step, most)))
    written: dict[str, Any] = {"low": start, "high": start + count * step, "step": step}
    if most == 10**6 and start > 0 and draw(st.booleans()):
        del written["step"]
        written["log"] = True
    return written


@st.composite
def real_ranges(draw: st.DrawFn, low: str, high: str, stepped: bool) -> dict[str, Any]:
    """Draw a range of real numbers, in decimal steps where it is `stepped`."""
    if stepped:
        grain = (Decimal(high) - Decimal(low)) / 1000
        start = draw(st.integers(0, 900))
        step = draw(st.integers(1, 20))
        count = draw(st.integers(1, min((1000 - start) // step, 5)))
        first, width = Decimal(low) + start * grain, step * grain
        return {
            "low": float(first),
            "high": float(first + count * width),
            "step": float(width),
        }
    ends = st.floats(float(low), float(high), allow_subnormal=False)
    lower, upper = sorted((draw(ends), draw(ends)))
    written: dict[str, Any] = {"low": lower, "high": upper}
    if lower > 0 and draw(st.booleans()):
        written["log"] = True
    return written


def lists(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(values, min_size=1, max_size=4, unique=True)


def axes(name: str, finite: bool) -> st.SearchStrategy[Any]:
    """Draw what a study file may say for one hyperparameter, family by family or for all."""
    if name in WHOLE:
        low, high = WHOLE[name]
        plain = st.one_of(
            st.integers(low, high),
            lists(st.integers(low, high)),
            whole_ranges(low, high, most=4 if finite else 10**6),
        )
    elif name in REAL:
        low_text, high_text = REAL[name]
        numbers = st.floats(float(low_text), float(high_text), allow_subnormal=False)
        plain = st.one_of(numbers, lists(numbers), real_ranges(low_text, high_text, stepped=True))
        if not finite:
            plain |= real_ranges(low_text, high_text, stepped=False)
    elif name == "kernel_size":
        odd = st.integers(0, 7).map(lambda i: 2 * i + 1)
        ranges = st.tuples(odd, odd).map(lambda ends: {"low": min(ends), "high": max(ends)})
        plain = odd | lists(odd) | ranges
    elif name in SWITCHES:
        plain = st.booleans() | lists(st.booleans())
    else:
        plain = st.sampled_from(NAMES[name]) | lists(st.sampled_from(NAMES[name]))
    having = sorted(OWN_VALUES.get(name, FAMILY_NAMES))
    return plain | st.fixed_dictionaries(dict.fromkeys(having, plain))


@st.composite
def spaces(draw: st.DrawFn, finite: bool = False) -> dict[str, Any]:
    """Draw the `space` section of a study file; the grid of a `finite` one is small."""
    families = draw(st.sampled_from(FAMILY_NAMES) | lists(st.sampled_from(FAMILY_NAMES)))
    searched = [families] if isinstance(families, str) else families
    names = [
        name
        for name in (*WHOLE, *REAL, *NAMES, *SWITCHES, "kernel_size")
        if any(has(family, name) for family in searched)
    ]
    chosen = draw(st.lists(st.sampled_from(names), unique=True, max_size=3 if finite else 8))
    written = {name: draw(axes(name, finite)) for name in chosen}
    return {"family": families, **written}


def new_study(seed: int = 0) -> optuna.Study:
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))


@settings(max_examples=150)
@given(spaces(), st.integers(0, 2**31))
def test_a_stored_trial_gives_the_values_that_the_live_one_gave(
    written: dict[str, Any], seed: int
) -> None:
    space, study = Space.model_validate(written), new_study(seed)
    trial = study.ask()
    picked = space.pick_all(trial)
    assert space.pick_all(study.trials[0]) == picked
    assert set(picked) == {n for n in Space.model_fields if has(picked["family"], n)}
    for name, value in picked.items():
        _, axis = space.axis_of(name, picked["family"])
        assert lies_in(axis, value), f"{name}: {value} is not in {axis}"


def lies_in(axis: object, value: Any) -> bool:
    if isinstance(axis, IntRange):
        return bool(axis.low <= value <= axis.high and (value - axis.low) % axis.step == 0)
    if isinstance(axis, FloatRange):
        steps = 0.0 if axis.step is None else (value - axis.low) / axis.step
        return bool(axis.low <= value <= axis.high and abs(steps - round(steps)) < 1e-6)
    assert isinstance(axis, Fixed | Choice)
    return value in axis.points()


@settings(max_examples=150)
@given(spaces())
def test_default_params_lie_inside_the_space(written: dict[str, Any]) -> None:
    space = Space.model_validate(written)
    for family in space.families():
        params = space.default_params(family)
        study = new_study()
        study.enqueue_trial(params)
        trial = study.ask()
        picked = space.pick_all(trial)  # optuna warns, and so fails, where one lies outside
        assert picked["family"] == family
        assert trial.params == params
        for name, value in picked.items():
            assert lies_in(space.axis_of(name, family)[1], value), f"{name}: {value}"


def test_defaults_inside_the_space_are_kept_and_others_moved_to_its_edge() -> None:
    space = Space.model_validate(
        {
            "filters": {"low": 16, "high": 32},
            "units1": {"low": 64, "high": 256, "step": 64},
            "learning_rate": {"low": 1e-2, "high": 1e-1, "log": True},
            "optimizer": ["sgd", "adam"],
            "activation": ["relu", "gelu"],
        }
    )
    assert space.default_params("alexnet") == {
        "filters": 32,
        "units1": 128,
        "learning_rate": 1e-2,
        "optimizer": "sgd",
        "activation": "gelu",
    }


@settings(max_examples=100)
@given(spaces(finite=True))
def test_a_grid_has_as_many_distinct_points_as_it_says(written: dict[str, Any]) -> None:
    space = Space.model_validate(written)
    points = list(space.grid())
    assert len(points) == space.grid_size()
    assert len({json.dumps(point, sort_keys=True) for point in points}) == len(points)


@settings(max_examples=40)
@given(spaces(finite=True))
@example({"dropout": {"low": 0.1, "high": 0.3, "step": 0.1}})
def test_the_points_of_a_grid_can_be_given_to_trials(written: dict[str, Any]) -> None:
    space, study = Space.model_validate(written), new_study()
    points = list(space.grid())
    for point in (points[0], points[len(points) // 2], points[-1]):
        study.enqueue_trial(point)
        trial = study.ask()
        space.pick_all(trial)  # optuna warns, and so fails, where a value lies outside
        assert trial.params == point


@settings(max_examples=100)
@given(spaces())
def test_a_space_written_down_and_read_again_is_the_same_space(written: dict[str, Any]) -> None:
    space = Space.model_validate(written)
    notation = json.loads(json.dumps(space.notation()))
    assert Space.model_validate(notation) == space


def test_a_grid_counts_the_axes_of_each_family_by_themselves() -> None:
    space = Space.model_validate(
        {
            "family": ["alexnet", "resnet"],
            "filters": {"alexnet": [16, 32, 64], "resnet": 8},
            "flip": [True, False],
        }
    )
    assert space.grid_size() == 3 * 2 + 2
    assert {"family": "resnet", "flip": True} in list(space.grid())
    assert {"family": "alexnet", "alexnet.filters": 64, "flip": False} in list(space.grid())


def test_a_space_with_nothing_to_search_has_a_grid_of_one_point() -> None:
    assert Space().grid_size() == 1
    assert list(Space().grid()) == [{}]


def test_a_continuous_axis_has_no_grid_and_is_named() -> None:
    space = Space.model_validate(
        {
            "dropout": {"low": 0.0, "high": 0.5},
            "learning_rate": {"alexnet": {"low": 1e-3, "high": 1e-2}, "resnet": 1e-3},
            "filters": [16, 32],
        }
    )
    assert space.grid_size() is None
    assert space.continuous() == ["dropout", "learning_rate"]


def test_a_continuous_axis_of_a_family_that_is_not_searched_does_no_harm() -> None:
    space = Space.model_validate(
        {"family": "resnet", "dropout": {"alexnet": {"low": 0.0, "high": 0.5}, "resnet": 0.1}}
    )
    assert space.grid_size() == 1
    assert space.continuous() == []


def test_each_family_stores_its_own_values_under_its_own_name() -> None:
    space = Space.model_validate(
        {
            "family": ["alexnet", "resnet"],
            "filters": {"alexnet": {"low": 32, "high": 96}, "resnet": {"low": 4, "high": 8}},
        }
    )
    for family, low, high in (("alexnet", 32, 96), ("resnet", 4, 8)):
        study = new_study()
        study.enqueue_trial({"family": family})
        trial = study.ask()
        picked = space.pick_all(trial)
        assert set(trial.params) == {"family", f"{family}.filters"}
        filters = picked["filters"]
        assert isinstance(filters, int) and low <= filters <= high


def test_only_axes_that_vary_count_as_searched() -> None:
    space = Space.model_validate({"filters": [16, 32], "layers": 2, "flip": [True]})
    assert set(space.searched()) == {"filters"}


def test_a_family_for_which_nothing_is_said_is_named() -> None:
    with pytest.raises(ValidationError, match="filters: nothing is said for the family resnet"):
        Space.model_validate({"family": ["alexnet", "resnet"], "filters": {"alexnet": 16}})


def test_the_family_cannot_depend_on_the_family() -> None:
    with pytest.raises(ValidationError, match="write one name or a list of names"):
        Space.model_validate({"family": {"alexnet": "alexnet"}})


def test_every_value_of_a_trial_config_that_training_needs_has_an_axis() -> None:
    told_elsewhere = {
        "task", "metric", "epochs", "early_stopping", "seed", "micro_batches", "precision",
        "threads", "data", "pretrained", "epoch_images",
    }  # fmt: skip
    assert set(Space.model_fields) == set(config.TrialConfig.model_fields) - told_elsewhere


# Axes that only some families have


def test_an_axis_that_a_family_does_not_have_is_not_sampled_for_it() -> None:
    space = Space.model_validate(
        {
            "family": ["alexnet", "vgg", "senet", "pretrained"],
            "filters": {"alexnet": [16, 32], "vgg": 8, "senet": [4, 8]},
            "convolutions": [1, 2],
            "squeeze": {"low": 2, "high": 16, "log": True},
            "backbone": ["resnet18", "resnet34"],
            "dropout": [0.0, 0.5],
        }
    )
    sampled = {
        "alexnet": {"alexnet.filters"},
        "vgg": {"convolutions"},
        "senet": {"senet.filters", "squeeze"},
        "pretrained": {"backbone"},
    }
    for family, own in sampled.items():
        study = new_study()
        study.enqueue_trial({"family": family})
        trial = study.ask()
        space.pick_all(trial)
        assert set(trial.params) == {"family", "dropout"} | own
        assert set(space.default_params(family)) == {"family", "dropout"} | own


def test_a_grid_has_no_points_that_differ_in_what_their_family_does_not_have() -> None:
    space = Space.model_validate(
        {
            "family": ["alexnet", "vgg", "resnet"],
            "convolutions": [1, 2, 3],
            "block": ["basic", "bottleneck"],
            "blocks": [1, 2],
        }
    )
    assert space.grid_size() == 1 + 3 + 2 * 2
    assert {"family": "alexnet"} in list(space.grid())


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ({"convolutions": 2}, "convolutions: alexnet has no such axis, but vgg; leave it out"),
        (
            {"family": ["vgg", "googlenet"], "kernel_size": 3},
            "kernel_size: vgg or googlenet has no",
        ),
        (
            {"family": ["resnet", "vgg"], "blocks": {"resnet": 1, "vgg": 2}},
            "blocks: vgg has no such axis; leave it out",
        ),
        (
            {"family": ["resnet", "senet", "vgg"], "blocks": {"resnet": 1}},
            "blocks: nothing is said for the family senet",
        ),
    ],
    ids=str,
)
def test_an_axis_of_other_families_is_an_error_that_says_whose_it_is(
    written: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        Space.model_validate(written)


def test_a_space_written_down_leaves_out_what_its_families_do_not_have() -> None:
    notation = Space.model_validate({"family": ["alexnet", "vgg"]}).notation()
    assert notation["convolutions"] == 2
    assert notation["kernel_size"] == 3
    assert not {"blocks", "squeeze", "backbone"} & notation.keys()


# Axes that nothing reads beside the values of others

IDLE_AT_TIMES: dict[str, Any] = {
    "schedule": ["plateau", "step", "constant"],
    "patience": [1, 3],
    "factor": [0.1, 0.5],
}


def picked_beside(space: Space, **params: Any) -> tuple[dict[str, Any], set[str]]:
    """Return what a trial with these parameters picks, and the parameters that it is asked for."""
    study = new_study()
    study.enqueue_trial(params)
    trial = study.ask()
    return space.pick_all(trial), set(trial.params)


@pytest.mark.parametrize(
    ("schedule", "asked"),
    [("plateau", {"patience", "factor"}), ("step", {"factor"}), ("constant", set())],
)
def test_what_a_schedule_does_not_read_is_not_sampled(schedule: str, asked: set[str]) -> None:
    space = Space.model_validate(IDLE_AT_TIMES)
    picked, params = picked_beside(space, schedule=schedule)
    assert params == asked | {"schedule"}
    if "patience" not in asked:
        assert picked["patience"] == 1, "the point nearest to the default, 2"
    if "factor" not in asked:
        assert picked["factor"] == 0.1


def test_what_is_frozen_or_has_one_stage_asks_for_nothing_more() -> None:
    frozen = Space.model_validate(
        {"family": "pretrained", "unfreeze": ["none", "last"], "body_rate": [0.01, 0.1]}
    )
    assert picked_beside(frozen, unfreeze="none")[1] == {"unfreeze"}
    assert picked_beside(frozen, unfreeze="last")[1] == {"unfreeze", "body_rate"}
    staged = Space.model_validate(
        {"family": "senet", "layers": [1, 2], "squeeze_where": ["all", "last"]}
    )
    assert picked_beside(staged, layers=1)[1] == {"layers"}
    assert picked_beside(staged, layers=2)[1] == {"layers", "squeeze_where"}


def test_a_stored_trial_that_was_asked_for_more_keeps_what_it_had() -> None:
    space = Space.model_validate(IDLE_AT_TIMES)
    stored = optuna.trial.create_trial(
        state=optuna.trial.TrialState.RUNNING,
        params={"schedule": "constant", "patience": 3, "factor": 0.5},
        distributions={
            name: optuna.distributions.CategoricalDistribution(options)
            for name, options in IDLE_AT_TIMES.items()
        },
    )
    picked = space.pick_all(stored)
    assert (picked["patience"], picked["factor"]) == (3, 0.5)


def test_a_grid_has_no_two_points_that_nothing_tells_apart() -> None:
    space = Space.model_validate(IDLE_AT_TIMES)
    points = list(space.grid())
    assert len(points) == space.grid_size() == 4 + 2 + 1
    assert points[-1] == {"schedule": "constant"}
    whole = list(space.grid(with_idle=True))
    assert len(whole) == space.grid_size(with_idle=True) == 12
    read = [{n: v for n, v in p.items() if n in q} for p in whole for q in points if p | q == p]
    assert [p for i, p in enumerate(read) if p not in read[:i]] == points, "in the same order"


def test_a_default_that_nothing_reads_is_not_given() -> None:
    assert Space.model_validate(IDLE_AT_TIMES).default_params("alexnet") == {
        "schedule": "plateau",
        "patience": 1,
        "factor": 0.1,
    }
    one_cycle = IDLE_AT_TIMES | {"schedule": ["plateau", "one-cycle"]}
    assert Space.model_validate(one_cycle).default_params("alexnet") == {"schedule": "one-cycle"}
