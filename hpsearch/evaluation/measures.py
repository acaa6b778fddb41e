"""What a network is worth on one split: scores, how sure they are, and where it errs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from torch import Tensor

from hpsearch.evaluation.grouped import Scale, Weighed, group_count, grouped_interval
from hpsearch.evaluation.intervals import bootstrap_interval, wilson_interval
from hpsearch.study.config import TrialConfig
from hpsearch.study.data import Task
from hpsearch.study.tasks import TASKS, Metric, key_of
from hpsearch.training.metrics import SCORERS, average_precisions, drawn, plain
from hpsearch.training.tasks import LearningTask

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)

Interval = tuple[float, float]
Groups = NDArray[np.int64] | None  # `(N,)`, as in `Labelled`

SCALES: dict[Metric, Scale] = {"mse": "error", "mae": "error", "r2": "explained"}  # else shares


def measured(
    task: LearningTask, config: TrialConfig, outputs: Tensor, targets: Tensor, groups: Groups = None
) -> dict[str, Any]:
    """Return all that is to be said of outputs `(N, outputs)` and targets, as plain data.

    Number of images, and of groups where they come in such, loss, every metric of the task, the
    interval of the one that selects; and per class precision, recall, F1 and the confusion matrix
    (row i holds the images of class i, column j those that were called j), or per label the same
    scores and average precision, or per number its errors and the quantiles of its residuals
    (predicted minus true, in its own units).
    """
    outputs, targets = outputs.cpu(), targets.cpu()
    task = task.on(torch.device("cpu"))
    predictions = task.predictions(outputs)
    details = {
        "single-label": _of_classes,
        "multi-label": _of_labels,
        "regression": _of_numbers,
    }[task.name]
    return {
        **sizes(len(targets), groups),
        "loss": float(task.test_loss(outputs, targets)),
        **{key_of(m): _score(task.name, m, predictions, targets) for m in TASKS[task.name].metrics},
        "interval": interval(task.name, config.metric, predictions, targets, groups),
        **details(predictions, targets),
    }


def _score(task: Task, metric: Metric, predictions: Tensor, targets: Tensor) -> float:
    return float(SCORERS[task, metric].whole(predictions, targets, plain(targets)))


def sizes(images: int, groups: Groups) -> dict[str, int]:
    """Return how many images were measured, and of how many groups where they come in such."""
    count = group_count(groups)
    return {"images": images} | ({} if count is None else {"groups": count})


def interval(
    task: Task, metric: Metric, predictions: Tensor, targets: Tensor, groups: Groups = None
) -> Interval | None:
    """Return the 95 % interval of a metric: Wilson's for an accuracy, else a bootstrap's.

    Of images in groups it says how far the score holds for other groups, by `grouped_interval`.
    None where the images do not tell how sure a score is, as where nothing at all was predicted
    wrong, and with fewer than 10 groups.
    """
    predictions, targets = predictions.cpu(), targets.cpu()
    if groups is not None:
        scale = SCALES.get(metric, "share")
        return grouped_interval(_of_weights(task, metric, predictions, targets), groups, scale)
    if metric == "accuracy":
        low, high = wilson_interval(int((predictions.argmax(1) == targets).sum()), len(targets))
        return float(low), float(high)
    score = _of_resamples(_of_weights(task, metric, predictions, targets), len(targets))
    return bootstrap_interval(score, np.arange(len(targets)))


def gained(
    task: Task,
    metric: Metric,
    predictions: Tensor,
    instead: Tensor,
    targets: Tensor,
    groups: Groups = None,
) -> tuple[float, Interval | None]:
    """Return by how much one network's score is above another's, and the interval of that.

    Of the same images: what they have in common falls out of the difference. Of images in groups
    the interval is for other groups, and there is none with fewer than 10.
    """
    one, other = (_of_weights(task, metric, t.cpu(), targets.cpu()) for t in (predictions, instead))

    def difference(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return one(weights) - other(weights)

    n = len(targets)
    gain = float(difference(np.ones((1, n)))[0])
    if groups is not None:
        return gain, grouped_interval(difference, groups, "difference")
    return gain, bootstrap_interval(_of_resamples(difference, n), np.arange(n))


def _of_weights(task: Task, metric: Metric, predictions: Tensor, targets: Tensor) -> Weighed:
    """Return what gives a metric of weighed images: `(B, N)` to `(B,)`.

    Images are weighed, not copied: a resample is as cheap as its weights.
    """
    scorer = SCORERS[task, metric].whole

    def score(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        scores: NDArray[np.float64] = scorer(
            predictions, targets, torch.from_numpy(weights)
        ).numpy()
        return scores

    return score


def _of_resamples(
    score: Weighed, images: int
) -> Callable[[NDArray[np.int64]], NDArray[np.float64]]:
    """Return what gives a score of resamples `(B,)`; `rows` `(B, N)` says which images each has."""
    return lambda rows: score(drawn(torch.from_numpy(rows), images).numpy())


def _of_classes(predictions: Tensor, targets: Tensor) -> dict[str, Any]:
    called, true = predictions.argmax(1).numpy(), targets.numpy()
    classes = list(range(predictions.shape[1]))
    return {
        "confusion": confusion_matrix(true, called, labels=classes).tolist(),
        "per_class": _precision_and_recall(true, called, classes),
    }


def _of_labels(predictions: Tensor, targets: Tensor) -> dict[str, Any]:
    rows = _precision_and_recall(targets.numpy() > 0.5, predictions.numpy() >= 0, None)
    found = average_precisions(predictions, targets, plain(targets))[0].nan_to_num().tolist()
    return {
        "per_label": [
            row | {"average_precision": precision}
            for row, precision in zip(rows, found, strict=True)
        ]
    }


def _precision_and_recall(
    true: NDArray[Any], called: NDArray[Any], classes: list[int] | None
) -> list[dict[str, Any]]:
    scores = precision_recall_fscore_support(true, called, labels=classes, zero_division=0)
    return [
        {"precision": float(p), "recall": float(r), "f1": float(f), "images": int(n)}
        for p, r, f, n in zip(*scores, strict=True)
    ]


def _of_numbers(predictions: Tensor, targets: Tensor) -> dict[str, Any]:
    rows = []
    for output in range(predictions.shape[1]):
        one, true = predictions[:, output : output + 1], targets[:, output : output + 1]
        residuals = (one - true).double().numpy()
        scores = {
            key_of(m): _score("regression", m, one, true) for m in TASKS["regression"].metrics
        }
        found = np.quantile(residuals, QUANTILES).tolist()
        rows.append(scores | {"residuals": dict(zip(map(str, QUANTILES), found, strict=True))})
    return {"per_number": rows}
