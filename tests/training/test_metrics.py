"""Metrics agree with scikit-learn's, for all images and for weighted ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics
from torch import Tensor

from hpsearch.study.data import Task
from hpsearch.study.tasks import TASKS, Metric
from hpsearch.training.metrics import SCORERS, plain

Made = tuple[Tensor, Tensor, Tensor]


def made(task: Task, seed: int, images: int, outputs: int) -> Made:
    """Return outputs with ties, targets and weights `(3, N)`; every class and label has images."""
    rng = np.random.default_rng(seed)
    predictions = torch.tensor(rng.integers(-3, 4, (images, outputs)) / 2, dtype=torch.float32)
    if task == "single-label":
        targets = torch.tensor(rng.permutation(np.arange(images) % outputs))
    elif task == "multi-label":
        flags = rng.random((images, outputs)) < 0.4
        flags[0], flags[1] = True, False
        targets = torch.tensor(flags.astype(np.float32))
    else:
        numbers = rng.normal(size=(images, outputs)) * 3 + 1000
        targets, predictions = torch.tensor(numbers, dtype=torch.float32), predictions + 1000
    weights = rng.integers(0, 4, (3, images))
    weights[:, : min(images, 2 * outputs)] += 1
    return predictions, targets, torch.tensor(weights, dtype=torch.float64)


def expected(
    metric: Metric, task: Task, predictions: Tensor, targets: Tensor, weights: Tensor
) -> float:
    outputs, true, sample_weight = predictions.numpy(), targets.numpy(), weights.numpy()
    called = outputs.argmax(1) if task == "single-label" else (outputs >= 0)
    found: float
    if metric == "accuracy":
        found = sklearn_metrics.accuracy_score(true, called, sample_weight=sample_weight)
    elif metric == "balanced-accuracy":
        found = sklearn_metrics.balanced_accuracy_score(true, called, sample_weight=sample_weight)
    elif metric == "macro-f1":
        found = sklearn_metrics.f1_score(
            true, called, average="macro", sample_weight=sample_weight, zero_division=np.nan
        )
    elif metric == "mean-average-precision":
        found = sklearn_metrics.average_precision_score(true, outputs, sample_weight=sample_weight)
    else:
        of = {
            "mse": sklearn_metrics.mean_squared_error,
            "mae": sklearn_metrics.mean_absolute_error,
            "r2": sklearn_metrics.r2_score,
        }[metric]
        found = of(true.astype(float), outputs.astype(float), sample_weight=sample_weight)
    return found


EVERY = [(task, metric) for task, allowed in TASKS.items() for metric in allowed.metrics]


@pytest.mark.parametrize(("task", "metric"), EVERY)
@given(seed=st.integers(0, 10**6), images=st.integers(12, 60), outputs=st.integers(2, 5))
def test_every_metric_is_scikit_learns(
    task: Task, metric: Metric, seed: int, images: int, outputs: int
) -> None:
    predictions, targets, weights = made(task, seed, images, outputs)
    scorer = SCORERS[task, metric]
    got = scorer.whole(predictions, targets, weights)
    assert got.shape == (3,)
    for value, row in zip(got.tolist(), weights, strict=True):
        assert value == pytest.approx(expected(metric, task, predictions, targets, row), rel=1e-6)
    whole = scorer.whole(predictions, targets, plain(targets)).item()
    assert whole == pytest.approx(
        expected(metric, task, predictions, targets, torch.ones(images)), rel=1e-6
    )
    if scorer.summed is not None:
        assert scorer.summed(predictions, targets).item() / images == pytest.approx(whole, rel=1e-4)


def test_a_metric_that_is_a_sum_over_images_can_be_summed_over_batches() -> None:
    summable = {metric for (_, metric), scorer in SCORERS.items() if scorer.summed is not None}
    assert summable == {"accuracy", "mse", "mae"}


def test_classes_and_labels_without_images_are_left_out() -> None:
    predictions = torch.tensor([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0], [0.0, 1.0, -9.0]])
    targets = torch.tensor([0, 1, 1])
    once = plain(targets)
    assert (
        SCORERS["single-label", "balanced-accuracy"].whole(predictions, targets, once).item()
        == 0.75
    )
    labels = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    ranked = torch.tensor([[3.0, -1.0], [1.0, -2.0], [2.0, -3.0]])
    once = plain(labels)
    found = SCORERS["multi-label", "mean-average-precision"].whole(ranked, labels, once)
    assert found.item() == 1
    assert SCORERS["multi-label", "macro-f1"].whole(ranked, labels, once).item() == 0.8


def test_a_number_that_never_varies_has_no_share_of_variance_to_tell() -> None:
    same = torch.full((4, 1), 7.0)
    r2 = SCORERS["regression", "r2"].whole
    assert r2(same, same, plain(same)).item() == 1
    assert r2(same + 1, same, plain(same)).item() == 0
