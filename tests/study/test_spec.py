"""The study as a value: durations, what makes scores comparable, and the config of a trial."""

from __future__ import annotations

import json
from typing import Any

import optuna
import pytest
from pydantic import ValidationError

from hpsearch.study.axes import Fixed
from hpsearch.study.config import TrialConfig
from hpsearch.study.durations import seconds
from hpsearch.study.limits import STORED
from hpsearch.study.spec import StudySpec, config_from

FULL: dict[str, Any] = {
    "name": "full-1.0",
    "data": {
        "source": "mnist",
        "root": "somewhere",
        "image_size": 16,
        "on_broken": "skip",
        "download": True,
        "split": {"train": 0.7, "test": 0.3, "validation": "official", "seed": 3},
    },
    "space": {
        "family": ["alexnet", "resnet"],
        "filters": {"alexnet": {"low": 16, "high": 64, "step": 8}, "resnet": [4, 8]},
        "kernel_size": {"low": 3, "high": 7},
        "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
        "dropout": {"low": 0.0, "high": 0.5, "step": 0.25},
        "flip": [True, False],
        "activation": ["relu", "gelu"],
        "shift": 1,
    },
    "search": {
        "sampler": {"name": "gp", "startup_trials": 4},
        "pruner": "none",
        "epochs": 3,
        "trials": 7,
        "timeout": "1h30m",
        "seed": 5,
        "precision": "fp32",
    },
}


def spec_with(section: str, **changes: Any) -> StudySpec:
    """Return the full study with some keys of a section replaced."""
    return StudySpec.model_validate({**FULL, section: {**FULL[section], **changes}})


@pytest.mark.parametrize(
    ("written", "length_s"),
    [
        (90, 90.0),
        (0.5, 0.5),
        ("90s", 90.0),
        ("30m", 1800.0),
        ("1h30m", 5400.0),
        ("1h 30m", 5400.0),
        ("2d", 172800.0),
        (" 1.5H ", 5400.0),
    ],
)
def test_a_duration_is_read_in_the_units_people_write(written: object, length_s: float) -> None:
    assert seconds(written) == length_s


@pytest.mark.parametrize(
    "written",
    ["soon", "", "90", "1m30", "30m soon", "1h-30m", True, None, [], "5 parsecs", "1h30"],
    ids=str,
)
def test_a_duration_that_cannot_be_read_says_how_to_write_one(written: object) -> None:
    with pytest.raises(ValueError, match="is not a duration; write 90s, 30m or 1h30m"):
        seconds(written)


@pytest.mark.parametrize("written", [0, -5, "0s", -0.5])
def test_a_duration_that_is_not_above_0_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="is not a duration above 0"):
        seconds(written)


@pytest.mark.parametrize("written", [float("nan"), float("inf")])
def test_a_duration_without_an_end_is_refused(written: float) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        seconds(written)


@pytest.mark.parametrize(
    "written", [FULL, {"name": "short", "data": {"source": "digits"}}], ids=["full", "short"]
)
def test_a_study_stored_as_json_and_read_again_is_the_same_study(written: dict[str, Any]) -> None:
    spec = StudySpec.model_validate(written)
    stored = json.loads(json.dumps(spec.model_dump(mode="json")))
    again = StudySpec.model_validate(stored)
    assert again == spec
    assert again.identity() == spec.identity()


def test_the_identity_is_flat_and_can_be_stored_as_json() -> None:
    identity = StudySpec.model_validate(FULL).identity()
    assert json.loads(json.dumps(identity)) == identity
    assert identity["name"] == "full-1.0"
    assert identity["data.split.validation"] == "official"
    assert identity["space.dropout"] == {"low": 0.0, "high": 0.5, "step": 0.25}
    assert identity["search.sampler.name"] == "gp"
    assert identity["search.epochs"] == 3


@pytest.mark.parametrize(
    ("section", "changes"),
    [
        ("search", {"trials": 1000}),
        ("search", {"timeout": None}),
        ("search", {"max_parameters": 1_000_000}),
        ("data", {"root": "elsewhere"}),
        ("data", {"download": False}),
    ],
    ids=str,
)
def test_budgets_and_the_place_of_the_data_may_change_between_launches(
    section: str, changes: dict[str, Any]
) -> None:
    changed = spec_with(section, **changes)
    assert changed != StudySpec.model_validate(FULL)
    assert changed.identity() == StudySpec.model_validate(FULL).identity()


def test_weights_change_the_identity_and_how_they_get_here_does_not() -> None:
    plain = StudySpec.model_validate(FULL)
    fetched, other = (
        StudySpec.model_validate({**FULL, "pretrained": written})
        for written in ({"download": True}, {"weights": "mine.pth"})
    )
    assert fetched.identity() == plain.identity()
    assert other.identity()["pretrained.weights"] == "mine.pth"


def test_a_study_of_before_there_were_blocks_is_the_same_study() -> None:
    identity = StudySpec.model_validate(FULL).identity()
    assert not {"space.block", "space.blocks"} & identity.keys()
    assert spec_with("space", blocks=1, block="basic").identity() == identity
    assert spec_with("space", blocks=[1, 2]).identity()["space.blocks"] == [1, 2]


def test_epochs_of_all_images_are_no_part_of_the_identity() -> None:
    whole = StudySpec.model_validate(FULL)
    assert "search.epoch_images" not in whole.identity()  # as in studies of before there was one
    assert spec_with("search", epoch_images=500).identity()["search.epoch_images"] == 500


def test_an_epoch_smaller_than_a_batch_is_said() -> None:
    written = {"name": "a", "data": {"source": "digits"}, "space": {"batch_size": [32, 128]}}
    said = [
        StudySpec.model_validate(written | {"search": {"epoch_images": n}}).warnings()
        for n in (100, 128)
    ]
    assert "no batch of 128" in said[0][0]
    assert not said[1]


def test_weights_are_told_to_the_trials_that_need_them() -> None:
    written = {
        "name": "photos",
        "data": {"source": "digits"},
        "space": {"family": ["alexnet", "pretrained"]},
        "pretrained": {"weights": "mine.pth"},
    }
    spec, study = StudySpec.model_validate(written), optuna.create_study()
    for family in ("alexnet", "pretrained"):
        study.enqueue_trial({"family": family})
        trial = study.ask()
        for name, value in (("seed", 0), ("precision", "fp32"), ("threads", 1)):
            trial.set_user_attr(name, value)
        config = config_from(spec, "abc", trial)
        told = config.pretrained.weights if family == "pretrained" else config.pretrained
        assert told == ("mine.pth" if family == "pretrained" else None)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("search", "epochs", 4),
        ("search", "epoch_images", 500),
        ("search", "seed", 6),
        ("search", "precision", "bf16"),
        ("search", "pruner", "median"),
        ("search", "sampler", "tpe"),
        ("data", "image_size", 28),
        ("data", "on_broken", "error"),
        ("data", "source", "kmnist"),
        ("data", "split", {"train": 0.7, "test": 0.3, "validation": "official", "seed": 4}),
        ("space", "shift", 2),
        ("space", "flip", True),
        ("space", "dropout", {"low": 0.0, "high": 0.5}),
    ],
    ids=str,
)
def test_what_changes_the_scores_changes_the_identity(section: str, key: str, value: Any) -> None:
    identity = StudySpec.model_validate(FULL).identity()
    changed = spec_with(section, **{key: value}).identity()
    assert changed != identity
    named = {name for name in identity | changed if identity.get(name) != changed.get(name)}
    assert all(name.startswith(f"{section}.{key}") for name in named)


def test_two_ways_to_write_the_same_study_have_the_same_identity() -> None:
    terse = {"name": "a", "data": {"source": "digits"}, "search": {"sampler": "random"}}
    wordy = {
        "name": "a",
        "data": {"source": "digits", "split": {"train": 0.8, "test": 0.1}},
        "space": {"family": ["alexnet"], "filters": "48", "flip": "off"},
        "search": {"sampler": {"name": "random"}, "pruner": {"name": "median"}},
    }
    first, second = StudySpec.model_validate(terse), StudySpec.model_validate(wordy)
    assert first.identity() == second.identity()


def test_a_study_cannot_be_changed_once_it_is_read() -> None:
    spec = StudySpec.model_validate(FULL)
    for model, name, value in ((spec, "name", "other"), (spec.search, "epochs", 100)):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(model, name, value)


def test_a_grid_smaller_than_the_wish_bounds_the_trials() -> None:
    written = {
        "name": "grid",
        "data": {"source": "digits"},
        "space": {"filters": [16, 32], "layers": [1, 2, 3]},
        "search": {"sampler": "grid", "trials": 50},
    }
    assert StudySpec.model_validate(written).trial_budget() == 6
    written["search"] = {"sampler": "grid", "trials": 4}
    assert StudySpec.model_validate(written).trial_budget() == 4
    written["search"] = {"sampler": "random", "trials": 50}
    assert StudySpec.model_validate(written).trial_budget() == 50


def test_a_grid_on_a_continuous_axis_names_the_axis() -> None:
    with pytest.raises(ValidationError, match="grid needs lists or steps; learning_rate is"):
        spec_with("search", sampler="grid")


def test_a_stored_trial_gives_the_config_that_the_live_one_gave() -> None:
    spec = StudySpec.model_validate(FULL)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=2))
    for seed in range(10):
        trial = study.ask()
        for name, value in (("seed", seed), ("precision", "bf16"), ("threads", 2)):
            trial.set_user_attr(name, value)
        live = config_from(spec, "abc", trial)
        assert config_from(spec, "abc", study.trials[-1]) == live
        assert (live.seed, live.precision, live.threads, live.epochs) == (seed, "bf16", 2, 3)
        assert live.data.fingerprint == "abc"
        assert live.data.image_size == 16


def trial_config(**changes: Any) -> TrialConfig:
    """Return the config of a trial of a plain study, with some values replaced."""
    spec = StudySpec.model_validate({"name": "a", "data": {"source": "digits"}})
    trial = optuna.create_study().ask()
    for name, value in (("seed", 1), ("precision", "fp32"), ("threads", 1)):
        trial.set_user_attr(name, value)
    written = config_from(spec, "abc", trial).model_dump(mode="json")
    return TrialConfig.model_validate({**written, **changes})


def test_a_config_stored_as_json_and_read_again_is_the_same_config() -> None:
    config = trial_config()
    assert TrialConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("family", "lenet"),
        ("filters", 0),
        ("dropout", 1.0),
        ("learning_rate", 0),
        ("precision", "fp16"),
        ("momentum", 0.9),
    ],
)
def test_a_config_that_no_training_could_follow_is_refused(key: str, value: object) -> None:
    with pytest.raises(ValidationError, match=key):
        trial_config(**{key: value})


def test_a_config_with_an_even_kernel_is_refused_as_it_is_in_a_study_file() -> None:
    with pytest.raises(ValidationError, match="kernel_size"):
        trial_config(kernel_size=4)


# The final


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"final": {"train_on": "train+test", "temperature": True}}, "final.temperature is fitted"),
        (
            {"final": {"train_on": "train+test"}, "search": {"early_stopping": 2}},
            "search.early_stopping watches test",
        ),
        (
            {"final": {"train_on": "train+test"}, "space": {"schedule": ["step", "plateau"]}},
            "schedule: plateau watches test",
        ),
        (
            {
                "final": {"temperature": True},
                "data": {"source": "arrays", "root": "a.npz", "task": "regression"},
            },
            "a regression has none",
        ),
        ({"final": {"train_on": "all"}}, "train"),
    ],
)
def test_a_final_that_would_need_test_images_it_teaches_is_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        StudySpec.model_validate({"name": "made", "data": {"source": "digits"}} | changes)


def test_what_is_asked_of_the_final_may_change_after_the_search() -> None:
    written = {"name": "made", "data": {"source": "digits"}}
    other = StudySpec.model_validate(written | {"final": {"baseline": False}})
    assert other.identity() == StudySpec.model_validate(written).identity()


@pytest.mark.parametrize(
    ("confirm", "trials", "candidates"),
    [
        (None, 19, 0),
        (None, 20, 3),
        ("none", 100, 0),
        ({"candidates": 0}, 100, 0),
        ({"candidates": 2}, 5, 2),
        ({"seeds": 5}, 40, 3),
    ],
)
def test_finalists_are_confirmed_from_twenty_trials_on_unless_the_study_says_otherwise(
    confirm: Any, trials: int, candidates: int
) -> None:
    written = {"name": "small", "data": {"source": "digits"}, "search": {"trials": trials}}
    spec = StudySpec.model_validate(written | ({} if confirm is None else {"confirm": confirm}))
    assert spec.candidates() == candidates
    assert StudySpec.model_validate_json(spec.model_dump_json()) == spec
    plain = StudySpec.model_validate(written | {"confirm": "none"})
    assert spec.identity() == plain.identity(), "scores are as comparable as before"


def test_a_stored_study_above_todays_limits_is_read_and_its_trials_are_too() -> None:
    stored = json.loads(spec_with("search", pruner="median").model_dump_json())
    stored["search"] |= {"epochs": 200_000, "trials": 2_000_000, "timeout": 1e9, "seed": 2**40}
    with pytest.raises(ValidationError, match="above 100,000"):
        StudySpec.model_validate(stored)
    spec = StudySpec.model_validate(stored, context=STORED)
    assert (spec.search.epochs, spec.search.trials) == (200_000, 2_000_000)
    assert StudySpec.model_validate_json(spec.model_dump_json(), context=STORED) == spec
    trial = optuna.trial.create_trial(
        value=0.5,
        params={"family": "alexnet", "alexnet.filters": 16, "kernel_size": 3,
                "learning_rate": 1e-3, "dropout": 0.25, "flip": True, "activation": "relu"},
        distributions={
            "family": optuna.distributions.CategoricalDistribution(("alexnet", "resnet")),
            "alexnet.filters": optuna.distributions.IntDistribution(16, 64, step=8),
            "kernel_size": optuna.distributions.IntDistribution(3, 7, step=2),
            "learning_rate": optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True),
            "dropout": optuna.distributions.FloatDistribution(0.0, 0.5, step=0.25),
            "flip": optuna.distributions.CategoricalDistribution((True, False)),
            "activation": optuna.distributions.CategoricalDistribution(("relu", "gelu")),
        },
        user_attrs={"seed": 2**40, "precision": "fp32", "threads": 1},
    )  # fmt: skip
    assert config_from(spec, "f" * 64, trial).epochs == 200_000


def test_where_trials_are_compared_early_their_scores_mean_something_early() -> None:
    def space_of(**written: Any) -> tuple[Any, ...]:
        spec = StudySpec.model_validate({"name": "a", "data": {"source": "digits"}, **written})
        again = StudySpec.model_validate_json(spec.model_dump_json())
        assert again.identity() == spec.identity()
        return spec.space.schedule, spec.space.averaging, len(spec.warnings())

    early = {"search": {"pruner": "promote"}}
    assert space_of() == (Fixed("one-cycle"), Fixed("none"), 0)
    assert space_of(**early) == (Fixed("warmup-constant"), Fixed("ema"), 0)
    said = {"space": {"schedule": "cosine", "averaging": "none"}}
    assert space_of(**early, **said) == (Fixed("cosine"), Fixed("none"), 1)
