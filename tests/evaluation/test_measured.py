"""What a network is worth on a split: scores, intervals and where it errs, for every task."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from made_configs import config_with
from made_records import final_record
from made_trainings import CPU
from sklearn import metrics as sklearn_metrics
from torch import Tensor

from hpsearch.data.prepared import Labelled, SearchData
from hpsearch.evaluation.intervals import wilson_interval
from hpsearch.evaluation.measures import gained, interval, measured
from hpsearch.reports.details import learning, overfitting_line, per_output
from hpsearch.storage.records import EpochRecord
from hpsearch.study.data import Task
from hpsearch.study.tasks import TASKS, Metric, default_loss, key_of
from hpsearch.training.tasks import task_for

IMAGES, OUTPUTS = 150, 3


def made(task: Task) -> tuple[Tensor, Tensor]:
    """Return outputs that tell something, and targets."""
    rng = np.random.default_rng(3)
    noise = rng.normal(size=(IMAGES, OUTPUTS))
    if task == "single-label":
        targets = rng.integers(0, OUTPUTS, IMAGES)
        outputs = noise + 1.5 * np.eye(OUTPUTS)[targets]
        return torch.tensor(outputs, dtype=torch.float32), torch.tensor(targets)
    if task == "multi-label":
        flags = rng.random((IMAGES, OUTPUTS)) < 0.3
        outputs, targets = noise + 2 * flags - 1, flags.astype(np.float32)
    else:
        standard = rng.normal(size=(IMAGES, OUTPUTS))
        outputs, targets = standard + noise / 3, (standard * [1, 10, 100] + 50).astype(np.float32)
    return torch.tensor(outputs, dtype=torch.float32), torch.tensor(targets)


def measure(task: Task, metric: Metric) -> tuple[dict[str, Any], Tensor, Tensor]:
    """Return what is measured, with outputs in their own units and targets."""
    outputs, targets = made(task)
    config = config_with(task=task, loss=default_loss(task), metric=metric)
    split = Labelled(np.zeros((IMAGES, 8, 8, 1), np.uint8), targets.numpy())
    data = SearchData(split, split, task, ("a", "b", "c"), (0.0,), (1.0,), "made")
    of = task_for(config, data, CPU)
    return measured(of, config, outputs, targets), of.predictions(outputs), targets


EVERY = [(task, metric) for task, allowed in TASKS.items() for metric in allowed.metrics]


@pytest.mark.parametrize(("task", "metric"), EVERY)
def test_what_is_measured_is_plain_data_with_an_interval_around_what_selects(
    task: Task, metric: Metric
) -> None:
    found, predictions, targets = measure(task, metric)
    assert json.loads(json.dumps(found)) == found | {"interval": list(found["interval"])}
    assert {key_of(m) for m in TASKS[task].metrics} <= found.keys()
    low, high = found["interval"]
    assert low < found[key_of(metric)] < high
    assert found["images"] == IMAGES
    assert found == measure(task, metric)[0], "the same resamples every time"
    assert tuple(found["interval"]) == interval(task, metric, predictions, targets)


@pytest.mark.parametrize(
    ("task", "metric"), [(t, m) for t, m in EVERY if m != "accuracy"]
)  # fmt: skip
def test_a_bootstrap_interval_is_that_of_resampled_images(task: Task, metric: Metric) -> None:
    """Resample the images themselves, one resample after the other, with scikit-learn's metric."""
    _, predictions, targets = measure(task, metric)
    of = {
        "balanced-accuracy": sklearn_metrics.balanced_accuracy_score,
        "macro-f1": lambda true, called: sklearn_metrics.f1_score(true, called, average="macro"),
        "mean-average-precision": sklearn_metrics.average_precision_score,
        "mse": sklearn_metrics.mean_squared_error,
        "mae": sklearn_metrics.mean_absolute_error,
        "r2": sklearn_metrics.r2_score,
    }[metric]
    if task == "single-label":
        predictions = predictions.argmax(1)
    elif metric == "macro-f1":
        predictions = (predictions >= 0).float()
    rng = np.random.default_rng(7)
    rows = [rng.integers(0, IMAGES, IMAGES) for _ in range(400)]
    scores = [of(targets.numpy()[row], predictions.numpy()[row]) for row in rows]
    expected = np.quantile(scores, [0.025, 0.975])
    around = interval(task, metric, *_again(task))
    width = expected[1] - expected[0]
    assert around == pytest.approx(tuple(expected), abs=0.15 * width)


def _again(task: Task) -> tuple[Tensor, Tensor]:
    _, predictions, targets = measure(task, TASKS[task].metrics[0])
    return predictions, targets


def test_an_accuracy_has_wilsons_interval() -> None:
    found, predictions, targets = measure("single-label", "accuracy")
    hits = int((predictions.argmax(1) == targets).sum())
    assert tuple(found["interval"]) == tuple(map(float, wilson_interval(hits, IMAGES)))


def test_classes_are_told_with_their_confusion() -> None:
    found, predictions, targets = measure("single-label", "accuracy")
    matrix = np.array(found["confusion"])
    assert matrix.sum() == IMAGES and np.trace(matrix) == round(found["accuracy"] * IMAGES)
    assert matrix.sum(1).tolist() == torch.bincount(targets).tolist()
    assert [row["images"] for row in found["per_class"]] == matrix.sum(1).tolist()
    expected = sklearn_metrics.log_loss(targets, predictions.double().softmax(1))
    assert found["loss"] == pytest.approx(expected, rel=1e-5)
    f1 = np.mean([row["f1"] for row in found["per_class"]])
    assert found["macro_f1"] == pytest.approx(f1)


def test_labels_are_told_one_by_one() -> None:
    found, predictions, targets = measure("multi-label", "macro-f1")
    assert [row["images"] for row in found["per_label"]] == targets.sum(0).tolist()
    for column, row in enumerate(found["per_label"]):
        true, score = targets[:, column].numpy(), predictions[:, column].numpy()
        assert row["precision"] == sklearn_metrics.precision_score(true, score >= 0)
        assert row["average_precision"] == pytest.approx(
            sklearn_metrics.average_precision_score(true, score)
        )
    mean = np.mean([row["average_precision"] for row in found["per_label"]])
    assert found["mean_average_precision"] == pytest.approx(mean)


def test_numbers_are_told_in_their_own_units() -> None:
    found, predictions, targets = measure("regression", "mae")
    assert "confusion" not in found
    for column, row in enumerate(found["per_number"]):
        true, number = targets[:, column].double().numpy(), predictions[:, column].double().numpy()
        assert row["mae"] == pytest.approx(sklearn_metrics.mean_absolute_error(true, number))
        assert row["r2"] == pytest.approx(sklearn_metrics.r2_score(true, number))
        assert row["residuals"]["0.5"] == pytest.approx(np.median(number - true), rel=1e-4)
        assert row["residuals"]["0.0"] == pytest.approx((number - true).min(), rel=1e-5)
    errors = [row["mae"] for row in found["per_number"]]
    assert errors[2] > 5 * errors[1] > 25 * errors[0]
    assert found["mae"] == pytest.approx(np.mean(errors))


@pytest.mark.parametrize(
    ("task", "titles"),
    [
        ("single-label", ["Classes on validation", "Confusion on validation"]),
        ("multi-label", ["Labels on validation"]),
        ("regression", ["Numbers on validation"]),
    ],
)
def test_the_report_tells_every_output_of_a_task(task: Task, titles: list[str]) -> None:
    found, _, _ = measure(task, TASKS[task].metrics[0])
    parts = per_output(final_record(validation=found, outputs=["a", "b", "c"]))
    assert [part.title for part in parts] == titles
    for part in parts:
        assert part.table is not None and len(part.table.rows) == OUTPUTS
        assert {len(row) for row in part.table.rows} == {len(part.table.header)}


# Learning curves


def epochs(*losses: tuple[float | None, float | None]) -> list[EpochRecord]:
    return [
        EpochRecord(epoch=number, train_loss=train, test_loss=test, train_metric=0.5,
                    test_metric=number / 10, duration_s=1.0)
        for number, (train, test) in enumerate(losses, start=1)
    ]  # fmt: skip


def test_the_report_says_where_overfitting_begins() -> None:
    curve = epochs((1.0, 1.0), (0.8, 0.7), (0.6, 0.8), (0.4, 0.9), (0.2, 1.1))
    assert overfitting_line(curve) == (
        "Overfitting from epoch 3 on: test loss rose from 0.7000 to 1.1000, while train loss fell "
        "from 0.8000 to 0.2000"
    )
    assert "lowest after epoch 4 of 4" in overfitting_line(
        epochs((1.0, 1.0), (0.8, 0.7), (0.6, 0.8), (0.4, 0.6))
    )
    assert "No overfitting seen" in overfitting_line(epochs((0.9, 0.9), (None, None)))


def test_the_curve_shows_the_first_the_lowest_the_best_and_the_last_epoch() -> None:
    curve = epochs((1.0, 1.0), (0.8, 0.7), (0.6, 0.8), (0.4, 0.9), (0.2, 1.1))
    part = learning("Learning curve", curve, "mse", 3)
    assert part.table is not None
    assert [row[0] for row in part.table.rows] == ["1", "2", "3", "5"]
    assert part.table.header[-1] == "test MSE" and part.table.rows[-1][-1] == "0.5"
    assert "weights and score are those of epoch 3" in part.lines[1]
    assert len(learning("Learning curve", curve, "mse", None).lines) == 1


# Two networks on the same images


def test_a_gain_is_the_difference_of_two_scores_and_surer_than_either() -> None:
    found, predictions, targets = measure("single-label", "accuracy")
    worse = predictions.clone()
    worse[:15] = predictions[:15].roll(1, 1)  # of fifteen images, another answer
    gain, bounds = gained("single-label", "accuracy", predictions, worse, targets)
    right = (predictions.argmax(1) == targets).double().mean()
    assert gain == pytest.approx(float(right - (worse.argmax(1) == targets).double().mean()))
    assert bounds is not None and bounds[0] < gain < bounds[1]
    assert bounds[1] - bounds[0] < found["interval"][1] - found["interval"][0]


def test_a_network_that_tells_the_same_has_gained_nothing_and_no_interval() -> None:
    _, predictions, targets = measure("regression", "mae")
    assert gained("regression", "mae", predictions, predictions, targets) == (0.0, None)
