"""What fits a task and what does not, said where the study is read."""

from __future__ import annotations

from typing import Any, get_args

import optuna
import pytest
from pydantic import ValidationError

from hpsearch.errors import StudyFileError
from hpsearch.study.config import TrialConfig
from hpsearch.study.file import read_study
from hpsearch.study.spec import StudySpec, config_from
from hpsearch.study.tasks import (
    OTHER_NAMES,
    TASKS,
    WORDS,
    Loss,
    Metric,
    direction,
    key_of,
    rank,
    shown,
)


def study(task: str = "single-label", space: Any = None, **search: Any) -> StudySpec:
    """Return a study of a task; its data need not be there to be judged."""
    data: dict[str, Any] = {"source": "digits"}
    if task != "single-label":
        data = {"source": "arrays", "root": "made.npz", "task": task}
    return StudySpec.model_validate(
        {"name": "made", "data": data, "space": space or {}, "search": search}
    )


def picked(spec: StudySpec, **params: Any) -> TrialConfig:
    trial = optuna.trial.FixedTrial(params)
    for name, value in (("seed", 0), ("precision", "fp32"), ("threads", 1)):
        trial.set_user_attr(name, value)
    return config_from(spec, "abc", trial)


@pytest.mark.parametrize(
    ("task", "loss", "metric"),
    [
        ("single-label", "cross-entropy", "accuracy"),
        ("multi-label", "bce-with-logits", "macro-f1"),
        ("regression", "mse", "mse"),
    ],
)
def test_a_task_has_a_loss_and_a_metric_of_its_own(task: str, loss: str, metric: str) -> None:
    spec = study(task)
    config = picked(spec)
    assert (config.task, config.loss, config.metric) == (task, loss, metric)
    assert spec.metric == metric


def test_a_loss_may_be_searched_and_a_metric_named() -> None:
    spec = study("regression", {"loss": ["huber", "mae", "auto"]}, metric="r2")
    assert picked(spec, loss="huber").loss == "huber"
    assert picked(spec, loss="auto").loss == "mse"
    assert picked(spec, loss="mae").metric == "r2"
    identity = spec.identity()
    assert identity["search.metric"] == "r2"
    assert identity["space.loss"] == ["huber", "mae", "auto"]


def test_a_metric_is_not_searched() -> None:
    with pytest.raises(ValidationError, match="metric"):
        study(metric=["accuracy", "macro-f1"])
    with pytest.raises(ValidationError, match="metric"):
        study(space={"metric": "accuracy"})


@pytest.mark.parametrize(
    ("task", "space", "search", "said"),
    [
        (
            "multi-label", {"loss": "cross-entropy"}, {},
            "space.loss: cross-entropy does not fit a multi-label task: its softmax makes the "
            "outputs compete for one right class; use bce-with-logits or bce",
        ),
        (
            "single-label", {"loss": ["cross-entropy", "bce"]}, {},
            "space.loss: bce does not fit a single-label task: it asks every output for a yes or "
            "no of its own; use cross-entropy or nll",
        ),
        (
            "single-label", {"loss": {"alexnet": "mse"}}, {},
            "space.loss: mse does not fit a single-label task",
        ),
        (
            "regression", {}, {"metric": "accuracy"},
            "search.metric: accuracy does not fit a regression task: it counts images whose one "
            "class was predicted right; use mse or mae or r2",
        ),
        ("single-label", {}, {"metric": "mean-average-precision"}, "use accuracy or balanced-"),
        (
            "single-label", {"loss": "nll", "label_smoothing": [0, 0.1]}, {},
            "space.label_smoothing: label_smoothing is for cross-entropy alone, and the loss is "
            "nll; set it to 0",
        ),
        (
            "regression", {"label_smoothing": {"low": 0, "high": 0.1}}, {},
            "label_smoothing is for cross-entropy alone, and the loss is mse",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_task_is_said_before_any_data_is_read(
    task: str, space: Any, search: Any, said: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        study(task, space, **search)
    assert said in str(caught.value)


def test_every_loss_and_metric_fits_some_task_and_every_misfit_has_words() -> None:
    assert {loss for allowed in TASKS.values() for loss in allowed.losses} == set(get_args(Loss))
    assert {m for allowed in TASKS.values() for m in allowed.metrics} == set(get_args(Metric))
    for task, allowed in TASKS.items():
        for loss in set(get_args(Loss)) - set(allowed.losses):
            with pytest.raises(ValidationError, match=f"{loss} does not fit a {task} task: it"):
                study(task, {"loss": loss})
        for metric in set(get_args(Metric)) - set(allowed.metrics):
            with pytest.raises(ValidationError, match=f"{metric} does not fit a {task} task: it"):
                study(task, metric=metric)


@pytest.mark.parametrize("name", [name for name, _ in OTHER_NAMES])
def test_a_loss_by_another_name_says_what_it_is_called_here(name: str) -> None:
    with pytest.raises(ValidationError, match=f"unknown value '{name}'; .*use ") as caught:
        study(space={"loss": name})
    if "softmax" in name:
        assert "would be applied twice" in str(caught.value)


def test_a_study_file_says_in_one_line_what_does_not_fit(tmp_path: Any) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("name: s\ndata: {source: digits}\nspace: {loss: huber}\n")
    with pytest.raises(StudyFileError) as caught:
        read_study(path)
    assert str(caught.value) == (
        f"{path}:3: space.loss: huber does not fit a single-label task: it measures how far "
        "numbers are apart; use cross-entropy or nll"
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"loss": "mse"}, "mse does not fit a single-label task"),
        ({"metric": "r2"}, "r2 does not fit a single-label task"),
        ({"task": "multi-label"}, "cross-entropy does not fit a multi-label task"),
        ({"loss": "nll", "label_smoothing": 0.1}, "label_smoothing is for cross-entropy alone"),
    ],
    ids=str,
)
def test_a_config_that_does_not_fit_its_task_is_refused(changes: Any, said: str) -> None:
    written = picked(study()).model_dump(mode="json") | changes
    with pytest.raises(ValidationError, match=said):
        TrialConfig.model_validate(written)


def test_a_config_of_before_there_were_tasks_is_still_read() -> None:
    written = picked(study()).model_dump(mode="json")
    for name in ("loss", "metric", "factor", "early_stopping"):
        del written[name]
    assert TrialConfig.model_validate(written) == picked(study())


# Which way is better


@pytest.mark.parametrize("metric", get_args(Metric))
def test_scores_are_sorted_the_way_their_metric_gets_better(metric: Metric) -> None:
    low_is_better = metric in ("mse", "mae")
    assert direction(metric) == ("minimize" if low_is_better else "maximize")
    assert (rank(metric, 0.1) < rank(metric, 0.2)) is low_is_better
    assert key_of(metric).isidentifier() and metric in WORDS


def test_shares_have_four_decimals_and_errors_the_digits_they_need() -> None:
    assert (shown("accuracy", 0.98765), shown("r2", -1.5)) == ("0.9877", "-1.5000")
    assert (shown("mse", 123456.7), shown("mae", 0.00012345)) == ("1.235e+05", "0.0001234")


# Patience


@pytest.mark.parametrize(
    ("space", "search", "said"),
    [
        ({}, {"epochs": 3}, []),  # nobody asked for a plateau
        ({"schedule": "plateau", "patience": 7}, {"epochs": 10}, []),
        (
            {"schedule": "plateau", "patience": 8}, {"epochs": 10},
            ["space.patience: 8 can never act: the plateau schedule lowers the rate after epoch 10 "
             "at the earliest, and trials have 10 epochs"],
        ),
        (
            {"schedule": ["constant", "plateau"], "patience": {"low": 1, "high": 9}},
            {"epochs": 5}, ["space.patience: 3 can never act"],
        ),
        ({"patience": 90}, {"early_stopping": 8, "epochs": 10}, []),
        (
            {}, {"early_stopping": {"patience": 9}, "epochs": 10},
            ["search.early_stopping: patience 9 can never act: it stops a trial after epoch 10 at "
             "the earliest, and trials have 10 epochs"],
        ),
        (
            {"schedule": "plateau", "patience": 3}, {"early_stopping": 3, "epochs": 20},
            ["search.early_stopping: patience 3 stops a trial before the plateau schedule with "
             "patience 3 lowers its rate; give it more"],
        ),
        ({"schedule": "plateau", "patience": 3}, {"early_stopping": 4, "epochs": 20}, []),
    ],
)  # fmt: skip
def test_patience_that_can_never_act_is_warned_of(space: Any, search: Any, said: list[str]) -> None:
    warnings = study(space=space, **search).warnings()
    assert len(warnings) == len(said)
    for got, expected in zip(warnings, said, strict=True):
        assert got.startswith(expected)


def test_early_stopping_is_off_unless_it_is_asked_for() -> None:
    assert picked(study()).early_stopping is None
    assert picked(study(early_stopping=4)).early_stopping == 4
    assert study(early_stopping=4) == study(early_stopping={"patience": 4})
    assert study(early_stopping=4).identity()["search.early_stopping.patience"] == 4
    for wrong in (0, True, {"patience": 1.5}, {"epochs": 3}, {}):
        with pytest.raises(ValidationError, match="early_stopping"):
            study(early_stopping=wrong)
