"""The training loop: a generator of epochs that knows nothing of Optuna."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from hpsearch.data.batches import Resident, batches_in_epoch, resident
from hpsearch.data.prepared import SearchData
from hpsearch.models.families import build_model
from hpsearch.models.head import ImageShape
from hpsearch.study.config import TrialConfig
from hpsearch.training.schedules import optimizer_for, schedule_for

EVALUATION_BATCH = 500


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to. `number` counts from 1; `test_metric` is the accuracy on **test**."""

    number: int
    train_loss: float
    train_metric: float
    test_loss: float
    test_metric: float
    duration_s: float

    @property
    def diverged(self) -> bool:
        """Whether a loss is no finite number any more; further epochs cannot mend that."""
        return not (math.isfinite(self.train_loss) and math.isfinite(self.test_loss))


class Interrupted(Exception):
    """Training was asked to stop between two batches; the epoch at hand is lost, no earlier one."""


def never() -> bool:
    """Return False: nothing asks this training to stop."""
    return False


def train(
    config: TrialConfig,
    data: SearchData,
    device: torch.device,
    interrupted: Callable[[], bool] = never,
) -> Iterator[tuple[Epoch, nn.Module]]:
    """Yield every epoch of a training, and the model as that epoch left it.

    An epoch is a function of (data, seed, epoch number) and of the weights before it: the same
    config trained again on the same device with the same threads gives the same numbers. Raises
    Interrupted soon after `interrupted()` turns true.
    """
    torch.manual_seed(config.seed)
    channels, height, width = data.image_shape
    model = build_model(config, ImageShape(channels, height, width), len(data.classes))
    model = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    train_split, test_split = (resident(s, data, device) for s in (data.train, data.test))
    optimizer = optimizer_for(config, model)
    schedule = schedule_for(
        config, optimizer, batches_in_epoch(len(train_split), config.batch_size)
    )
    for number in range(1, config.epochs + 1):
        started = time.perf_counter()
        torch.manual_seed(epoch_seed(config.seed, number))  # dropout's generator
        model.train()
        sums = torch.zeros(2, device=device, dtype=torch.float64)  # loss, right answers
        seen = 0
        for images, targets in train_split.training_batches(
            config.batch_size, config.shift, config.flip, epoch_seed(config.seed, number)
        ):
            if interrupted():
                raise Interrupted
            with autocast(config, device):
                logits = model(images)  # (N, classes)
            loss = functional.cross_entropy(
                logits.float(), targets, label_smoothing=config.label_smoothing
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.after_batch()
            seen += len(targets)
            sums += torch.stack((loss.detach() * len(targets), right(logits, targets)))
        train_loss, train_metric = (sums / seen).tolist()
        test_loss, test_metric = evaluate(model, test_split, config)
        schedule.after_epoch(test_loss)
        duration_s = time.perf_counter() - started
        yield Epoch(number, train_loss, train_metric, test_loss, test_metric, duration_s), model


def epoch_seed(seed: int, number: int) -> int:
    """Return the seed of one epoch's shuffling, augmentation and dropout."""
    return seed * 100_003 + number


def autocast(config: TrialConfig, device: torch.device) -> torch.autocast:
    """Return the context in which this configuration's forward passes run."""
    return torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16")


def right(logits: Tensor, targets: Tensor) -> Tensor:
    """Return how many of `(N, classes)` logits have their maximum at the target, as a scalar."""
    return (logits.argmax(1) == targets).sum()


def predict(model: nn.Module, split: Resident, config: TrialConfig) -> Tensor:
    """Return the logits `(N, classes)` of every image of a split, in fp32, in order."""
    model.eval()
    with torch.no_grad(), autocast(config, split.images.device):
        parts = [model(images).float() for images, _ in split.ordered_batches(EVALUATION_BATCH)]
    return torch.cat(parts)


def evaluate(model: nn.Module, split: Resident, config: TrialConfig) -> tuple[float, float]:
    """Return the mean cross-entropy (without label smoothing) and the accuracy on a split."""
    logits = predict(model, split, config)
    loss = functional.cross_entropy(logits, split.targets).item()
    return loss, right(logits, split.targets).item() / len(split)
