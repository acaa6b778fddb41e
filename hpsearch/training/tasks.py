"""What a training is after: the loss that teaches it, and the metric that selects."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hpsearch.data.prepared import SearchData
from hpsearch.errors import DataError, HpsearchError
from hpsearch.study.config import TrialConfig
from hpsearch.study.data import Task
from hpsearch.study.tasks import Loss
from hpsearch.training.metrics import SCORERS, Scorer, plain

# Outputs (N, outputs), targets, weights of the outputs (outputs,) or None, label smoothing.
LossOf = Callable[[Tensor, Tensor, Tensor | None, float], Tensor]

SQUASHING = (nn.Softmax, nn.LogSoftmax, nn.Sigmoid, nn.LogSigmoid)


@dataclass(frozen=True)
class LearningTask:
    """The task of one training on one device.

    Networks put out `(N, outputs)` in fp32: logits of classes or labels, or numbers standardised as
    train's are. Targets are those of `Labelled`, numbers in their own units.
    """

    name: Task
    loss_of: LossOf
    scorer: Scorer
    smoothing: float = 0.0
    weights: Tensor | None = None  # (outputs,): of classes, or of the images that have a label
    units: tuple[Tensor, Tensor] | None = None  # mean and deviation of train's numbers (outputs,)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of a batch, a mean over its images."""
        return self.loss_of(outputs, self._standard(targets), self.weights, self.smoothing)

    def test_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss without label smoothing, comparable between trials."""
        return self.loss_of(outputs, self._standard(targets), self.weights, 0.0)

    def summed_metric(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        """Return the sum of the metric over images; None where it is no mean over images."""
        summed = self.scorer.summed
        return None if summed is None else summed(self.predictions(outputs), targets)

    def metric(self, outputs: Tensor, targets: Tensor) -> float:
        """Return the metric of all images."""
        return self.scorer.whole(self.predictions(outputs), targets, plain(targets)).item()

    def scores(self, outputs: Tensor, targets: Tensor) -> tuple[float, float]:
        """Return loss (without label smoothing) and metric of all images."""
        return self.test_loss(outputs, targets).item(), self.metric(outputs, targets)

    def predictions(self, outputs: Tensor) -> Tensor:
        """Return outputs as metrics take them: numbers in their own units, logits as they are."""
        return outputs if self.units is None else outputs * self.units[1] + self.units[0]

    def on(self, device: torch.device) -> LearningTask:
        """Return the same task on another device."""
        weights = None if self.weights is None else self.weights.to(device)
        units = None if self.units is None else (self.units[0].to(device), self.units[1].to(device))
        return dataclasses.replace(self, weights=weights, units=units)

    def _standard(self, targets: Tensor) -> Tensor:
        return targets if self.units is None else (targets - self.units[0]) / self.units[1]


def task_for(config: TrialConfig, data: SearchData, device: torch.device) -> LearningTask:
    """Return the task of a configuration; DataError where the data is for another one."""
    if data.task != config.task:
        raise DataError(
            f"the data is {data.task}, and the configuration is for a {config.task} task; write "
            f"task: {data.task}, with a loss and a metric of that task"
        )
    return LearningTask(
        config.task,
        LOSSES[config.loss],
        SCORERS[config.task, config.metric],
        config.label_smoothing,
        balancing_weights(data) if config.data.balance == "weights" else None,
        target_statistics(data) if data.task == "regression" else None,
    ).on(device)


def balancing_weights(data: SearchData) -> Tensor:
    """Return what makes every class, or both sides of every label, weigh the same `(outputs,)`.

    Of classes: images / (classes * images of the class), 1 in the mean over train. Of labels:
    images without / images with it. G. King and L. Zeng, "Logistic regression in rare events data",
    2001. What no image of train has keeps the weight 1.
    """
    targets, outputs = np.asarray(data.train.targets), len(data.outputs)
    images = len(targets)
    if data.task == "single-label":
        counts = np.bincount(targets, minlength=outputs)
        weights = images / (np.count_nonzero(counts) * np.maximum(counts, 1))
    else:
        counts = np.count_nonzero(targets > 0.5, axis=0)
        weights = (images - counts) / np.maximum(counts, 1)
    usable = (counts > 0) & (weights > 0)
    return torch.tensor(np.where(usable, weights, 1.0), dtype=torch.float32)


def target_statistics(data: SearchData) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation `(outputs,)` of train's numbers."""
    mean, std = data.target_mean, data.target_std
    if not mean:
        numbers = np.asarray(data.train.targets, dtype=np.float64)
        mean, std = tuple(numbers.mean(0).tolist()), tuple(numbers.std(0).tolist())
    usable = [deviation if deviation > 0 else 1.0 for deviation in std]
    return torch.tensor(mean, dtype=torch.float32), torch.tensor(usable, dtype=torch.float32)


def check_outputs(model: nn.Module) -> None:
    """Raise HpsearchError where a network ends in what its loss is about to apply itself."""
    *_, last = (m for m in model.modules() if not list(m.children()))
    if isinstance(last, SQUASHING):
        raise HpsearchError(
            f"the network ends in {type(last).__name__}, and every loss takes plain outputs and "
            "applies softmax or sigmoid itself; applied twice, gradients nearly vanish. Leave the "
            "last layer linear"
        )


def _cross_entropy(
    outputs: Tensor, targets: Tensor, weights: Tensor | None, smoothing: float
) -> Tensor:
    if weights is None:
        return functional.cross_entropy(outputs, targets, label_smoothing=smoothing)
    # torch's own mean divides by the weights in the batch: parts of a batch would not add up.
    return functional.cross_entropy(
        outputs, targets, weights, reduction="none", label_smoothing=smoothing
    ).mean()


def _nll(outputs: Tensor, targets: Tensor, weights: Tensor | None, smoothing: float) -> Tensor:
    logs = functional.log_softmax(outputs, 1)
    if weights is None:
        return functional.nll_loss(logs, targets)
    return functional.nll_loss(logs, targets, weights, reduction="none").mean()


def _bce_with_logits(
    outputs: Tensor, targets: Tensor, weights: Tensor | None, smoothing: float
) -> Tensor:
    return functional.binary_cross_entropy_with_logits(outputs, targets, pos_weight=weights)


def _bce(outputs: Tensor, targets: Tensor, weights: Tensor | None, smoothing: float) -> Tensor:
    each = None if weights is None else 1 + (weights - 1) * targets
    return functional.binary_cross_entropy(outputs.sigmoid(), targets, each)


def _mse(outputs: Tensor, targets: Tensor, weights: Tensor | None, smoothing: float) -> Tensor:
    return functional.mse_loss(outputs, targets)


def _huber(outputs: Tensor, targets: Tensor, weights: Tensor | None, smoothing: float) -> Tensor:
    """Squares up to one standard deviation, straight from there (P. J. Huber, 1964)."""
    return functional.huber_loss(outputs, targets)


def _mae(outputs: Tensor, targets: Tensor, weights: Tensor | None, smoothing: float) -> Tensor:
    return functional.l1_loss(outputs, targets)


LOSSES: dict[Loss, LossOf] = {
    "cross-entropy": _cross_entropy,
    "nll": _nll,
    "bce-with-logits": _bce_with_logits,
    "bce": _bce,
    "mse": _mse,
    "huber": _huber,
    "mae": _mae,
}
