"""Metrics of outputs and targets, on their device, for all images or for many resamples at once.

A metric takes outputs `(N, outputs)`, targets as in `Labelled` and weights `(B, N)` in float64: how
often each image counts in each of B samples. It returns `(B,)`. Outputs of a regression are in the
targets' own units. `plain` is the one sample in which every image counts once. They agree with
scikit-learn's of the same name and its `sample_weight`, but leave a class or label out of an
average where it would be 0 / 0; scikit-learn warns and counts 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hpsearch.study.data import Task
from hpsearch.study.tasks import Metric

Measure = Callable[[Tensor, Tensor, Tensor], Tensor]


def plain(targets: Tensor) -> Tensor:
    """Return weights `(1, N)` with which every image counts once."""
    return torch.ones(1, len(targets), dtype=torch.float64, device=targets.device)


def drawn(rows: Tensor, images: int) -> Tensor:
    """Return weights `(B, images)` of resamples: how often each image stands in `rows` `(B, N)`."""
    weights = torch.zeros(len(rows), images, dtype=torch.float64)
    return weights.scatter_add_(1, rows, torch.ones_like(rows, dtype=torch.float64))


def right(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return how many of `(N, outputs)` have their maximum at the target, as a scalar."""
    return (outputs.argmax(1) == targets).sum()


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the sum over images of the mean squared error over outputs, as a scalar."""
    return (outputs - targets).square().mean(1).sum()


def absolute_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the sum over images of the mean absolute error over outputs, as a scalar."""
    return (outputs - targets).abs().mean(1).sum()


def accuracy(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return the share of images with their maximum at the target."""
    return weights @ (outputs.argmax(1) == targets).double() / weights.sum(1)


def balanced_accuracy(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return the mean over classes of the share of their images that was predicted right."""
    correct, images, _ = _class_counts(outputs, targets, weights)
    return torch.nanmean(correct / images, 1)


def class_f1(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return the mean over classes of F1, 2 correct / (images of it + images called it)."""
    return _mean_f1(*_class_counts(outputs, targets, weights))


def label_f1(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return the mean over labels of F1, a label being predicted from a probability of 0.5 on."""
    predictions, true = (outputs >= 0).double(), targets.double()  # (N, labels)
    return _mean_f1(weights @ (predictions * true), weights @ true, weights @ predictions)


def _class_counts(
    outputs: Tensor, targets: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return for each class `(B, classes)` the images right, those it has, those predicted."""
    predictions = outputs.argmax(1)
    zeros = weights.new_zeros(len(weights), outputs.shape[1])
    correct = zeros.index_add(1, targets, weights * (predictions == targets))
    return correct, zeros.index_add(1, targets, weights), zeros.index_add(1, predictions, weights)


def _mean_f1(correct: Tensor, true: Tensor, predicted: Tensor) -> Tensor:
    # 0 / 0 where no image has it, and none is predicted to
    return torch.nanmean(2 * correct / (true + predicted), 1)


def mean_average_precision(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return the mean over labels of their average precision."""
    return torch.nanmean(average_precisions(outputs, targets, weights), 1)


def average_precisions(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return for each label `(B, labels)` its average precision, NaN where no image has it.

    The sum over thresholds of precision, times the recall gained there; images of equal output
    pass a threshold together.
    """
    weights = weights.float()  # counts are exact, and half as much to move
    found = []
    for output, true in zip(outputs.unbind(1), targets.unbind(1), strict=True):
        ranked, order = output.sort(descending=True, stable=True)  # (N,)
        ends = torch.cat((ranked[1:] != ranked[:-1], ranked.new_ones(1, dtype=torch.bool)))
        places = ends.nonzero()[:, 0]
        reached = true[order].cumsum(0)[places]
        places = places[reached.diff(prepend=reached.new_zeros(1)) > 0]  # where recall is gained
        ordered = weights[:, order]  # (B, N)
        correct = (ordered * true[order]).cumsum(1)[:, places]  # (B, thresholds)
        predicted = ordered.cumsum(1)[:, places]
        gained = correct.diff(dim=1, prepend=correct.new_zeros(len(correct), 1))
        precision = correct / predicted.clamp_min(0.5)  # none predicted, nothing gained
        found.append((gained * precision).sum(1) / gained.sum(1))
    return torch.stack(found, 1).double()


def mean_squared_error(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return the mean over images and outputs of the squared error."""
    errors = (outputs.double() - targets.double()).square().mean(1)
    return weights @ errors / weights.sum(1)


def mean_absolute_error(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return the mean over images and outputs of the absolute error."""
    errors = (outputs.double() - targets.double()).abs().mean(1)
    return weights @ errors / weights.sum(1)


def r2(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return the mean over outputs of the share of the variance that is predicted.

    An output that is one number in all images counts 1 where it is predicted exactly, else 0.
    """
    outputs, targets = outputs.double(), targets.double()
    targets = targets - (mean := targets.mean(0))  # centred, or the variance would be rounded away
    left = weights @ (outputs - mean - targets).square()  # (B, outputs)
    total = weights @ targets.square() - (weights @ targets).square() / weights.sum(1, keepdim=True)
    varies = total > 1e-12 * (weights @ targets.square())
    share = 1 - left / torch.where(varies, total, 1.0)
    return torch.where(varies, share, (left == 0).double()).mean(1)


@dataclass(frozen=True)
class Scorer:
    """A metric: `whole` of all images; `summed` where it is a mean over images of batch sums."""

    whole: Measure
    summed: Callable[[Tensor, Tensor], Tensor] | None = None


SCORERS: dict[tuple[Task, Metric], Scorer] = {
    ("single-label", "accuracy"): Scorer(accuracy, right),
    ("single-label", "balanced-accuracy"): Scorer(balanced_accuracy),
    ("single-label", "macro-f1"): Scorer(class_f1),
    ("multi-label", "macro-f1"): Scorer(label_f1),
    ("multi-label", "mean-average-precision"): Scorer(mean_average_precision),
    ("regression", "mse"): Scorer(mean_squared_error, squared_error),
    ("regression", "mae"): Scorer(mean_absolute_error, absolute_error),
    ("regression", "r2"): Scorer(r2),
}
