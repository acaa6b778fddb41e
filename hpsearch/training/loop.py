"""The training loop: a generator of epochs that knows nothing of Optuna."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from hpsearch.data.batches import Resident, batches_in_epoch, resident
from hpsearch.data.passes import rows_of_epoch
from hpsearch.data.prepared import SearchData
from hpsearch.study.config import TrialConfig
from hpsearch.training.state import Epoch, State, Training, begin
from hpsearch.training.tasks import LearningTask

EVALUATED_AT_ONCE = 500  # images, and fewer where they are large: these pixels
EVALUATED_PIXELS = EVALUATED_AT_ONCE * 64 * 64


class Interrupted(Exception):
    """Training was asked to stop between two batches; `training` can go on from there."""

    def __init__(self, training: Training) -> None:
        super().__init__("asked to stop")
        self.training = training


def never() -> bool:
    """Return False: nothing asks this training to stop."""
    return False


def train(
    config: TrialConfig,
    data: SearchData,
    device: torch.device,
    interrupted: Callable[[], bool] = never,
    state: State | None = None,
) -> Iterator[tuple[Epoch, Training]]:
    """Yield every epoch of a training, and the training as that epoch left it.

    An epoch is a function of (data, seed, epoch number) and of the weights before it: the same
    config trained again on the same device with the same threads gives the same numbers. `state`
    goes on with a training begun elsewhere: its epochs are yielded again from memory, and all that
    follows is as if it had never been interrupted. Raises Interrupted soon after `interrupted()`
    turns true. When all is yielded, the model has the weights of the epoch that counts: the last
    one, or with early stopping the best, `training.result`.
    """
    train_split, test_split = (resident(s, data, device) for s in (data.train, data.test))
    batches = batches_in_epoch(config.images_in_epoch(len(train_split)), config.batch_size)
    training = begin(config, data, device, batches)
    if state is not None:
        training.restore(state)
        for epoch in tuple(training.epochs):
            yield epoch, training
    for number in range(len(training.epochs) + 1, config.epochs + 1):
        if training.turned:
            break
        started = time.perf_counter() - training.elapsed_s
        training.set_generator(epoch_seed(config.seed, number))
        training.model.train()
        for images, targets in itertools.islice(
            epoch_batches(config, train_split, number), training.batches, None
        ):
            if interrupted():
                raise Interrupted(training.put_away(time.perf_counter() - started))
            step(training, config, images, targets)
        outputs = predict(training.scored, test_split, config, interrupted)
        if outputs is None:
            raise Interrupted(training.put_away(time.perf_counter() - started))
        test_loss, test_metric = training.task.scores(outputs, test_split.targets)
        training.schedule.after_epoch(test_loss)
        train_loss, train_metric = training.train_scores()
        epoch = Epoch(
            number, train_loss, train_metric, test_loss, test_metric, time.perf_counter() - started
        )
        training.end_epoch(epoch)
        yield epoch, training
    training.take_result()


def epoch_batches(
    config: TrialConfig, split: Resident, number: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Return the batches of an epoch: of a pass, or of the part of a pass where it stands."""
    balanced = config.data.balance == "sampling"
    images = config.images_in_epoch(len(split))
    rows = None
    if images < len(split):
        # Images of a last, partial batch come in the next epoch: a short one would lose too many.
        taught = batches_in_epoch(images, config.batch_size) * min(config.batch_size, images)
        rows = rows_of_epoch(
            split, taught, number, lambda nth: epoch_seed(config.seed, -nth), balanced
        )
    seed = epoch_seed(config.seed, number)
    return split.training_batches(
        config.batch_size, config.shift, config.flip, seed, balanced, rows
    )


def step(training: Training, config: TrialConfig, images: Tensor, targets: Tensor) -> None:
    """Train on one batch `(N, C, H, W)`, in `config.micro_batches` parts where memory is short."""
    training.optimizer.zero_grad()
    parts = config.micro_batches
    for part, answers in zip(images.chunk(parts), targets.chunk(parts), strict=True):
        with autocast(config, images.device):
            outputs = training.model(part).float()  # (N, outputs)
        loss = training.task.loss(outputs, answers)
        (loss if parts == 1 else loss * (len(answers) / len(targets))).backward()
        training.note(loss.detach(), outputs.detach(), answers)
    training.optimizer.step()
    training.after_step(len(targets))


def epoch_seed(seed: int, number: int) -> int:
    """Return the seed of one epoch's shuffling, augmentation and dropout.

    Where a pass takes several epochs, its shuffling has the seed of its negative number.
    """
    return seed * 100_003 + number


def autocast(config: TrialConfig, device: torch.device) -> torch.autocast:
    """Return the context in which this configuration's forward passes run."""
    return torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16")


def predict(
    model: nn.Module,
    split: Resident,
    config: TrialConfig,
    interrupted: Callable[[], bool] = never,
) -> Tensor | None:
    """Return the outputs `(N, outputs)` for every image of a split, in fp32, in order.

    None where `interrupted()` turned true meanwhile.
    """
    model.eval()
    parts = []
    with torch.no_grad(), autocast(config, split.targets.device):
        for images, _ in split.ordered_batches(_evaluated_at_once(split)):
            if interrupted():
                return None
            parts.append(model(images).float())
    return torch.cat(parts)


def evaluate(
    model: nn.Module, split: Resident, config: TrialConfig, task: LearningTask
) -> tuple[float, float]:
    """Return the loss (without label smoothing) and the metric on a split."""
    return task.scores(outputs_of(model, split, config), split.targets)


def _evaluated_at_once(split: Resident) -> int:
    height, width = split.images.shape[1:3]
    return max(1, min(EVALUATED_AT_ONCE, EVALUATED_PIXELS // (height * width)))


def outputs_of(model: nn.Module, split: Resident, config: TrialConfig) -> Tensor:
    """Return the outputs `(N, outputs)` of a split, whatever else happens."""
    outputs = predict(model, split, config)
    assert outputs is not None
    return outputs
