"""A training under way, as a value that can be put away and taken up again."""

from __future__ import annotations

import io
import math
import zipfile
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from hpsearch.data.prepared import SearchData
from hpsearch.models.families import initial_model
from hpsearch.models.randomness import draw_from
from hpsearch.study.config import TrialConfig
from hpsearch.study.tasks import rank
from hpsearch.training.averaging import Averaged
from hpsearch.training.overfitting import turning_point
from hpsearch.training.schedules import RateSchedule, optimizer_for, schedule_for
from hpsearch.training.tasks import LearningTask, check_outputs, task_for

State = dict[str, Any]  # tensors and plain data, nothing that would have to be unpickled as code

FORMAT = 3
PREDICTED = "told"  # the key of `Training.predicted`, as format 3 has it
LONGEST_SAID = 100  # characters of what torch says of broken bytes


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to. `number` counts from 1; `test_metric`, on **test**, selects."""

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


@dataclass
class Training:
    """A training between two batches: all that is needed to go on as if nothing had happened.

    The order of images and their augmentation are functions of seed and epoch, so the number of
    batches that are over says where they stand; only dropout's generator has a state to keep. It
    is the training's own: nobody else draws from it, and it draws from nobody else's.

    Under early stopping (`config.early_stopping`) `best` holds the weights of the epoch with the
    best test metric, of equals the one with the lowest test loss, then the first. Under `averaging`
    scores are those of `averaged`, and so are the weights in the end.
    """

    config: TrialConfig
    task: LearningTask
    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: RateSchedule
    device: torch.device
    randomness: torch.Generator  # of whatever draws while the network learns
    images: int  # that it is taught
    batches_in_epoch: int
    sums: Tensor  # (2,): loss and metric of the epoch at hand, each summed over images
    predicted: list[tuple[Tensor, Tensor]] = field(default_factory=list)  # of metrics not summed
    epochs: list[Epoch] = field(default_factory=list)  # those that are over
    batches: int = 0  # of the epoch at hand that are over
    seen: int = 0  # images of the epoch at hand
    elapsed_s: float = 0.0  # spent on the epoch at hand before it was interrupted
    generator: Tensor | None = None  # state of `randomness`, where an epoch was interrupted
    best: dict[str, Tensor] | None = None
    averaged: Averaged | None = None

    def note(self, loss: Tensor, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch to what the epoch at hand comes to; nothing waits for the device."""
        metric = self.task.summed_metric(outputs, targets)
        if metric is None:
            self.predicted.append((outputs, targets))
            metric = torch.zeros_like(loss)
        self.sums += torch.stack((loss * len(targets), metric))

    def train_scores(self) -> tuple[float, float]:
        """Return the mean loss and the metric on train of the epoch at hand, while it learned."""
        loss, metric = (self.sums / self.seen).tolist()
        return loss, self.task.metric(*self._all_predicted()) if self.predicted else metric

    def _all_predicted(self) -> tuple[Tensor, Tensor]:
        outputs, targets = zip(*self.predicted, strict=True)
        return torch.cat(outputs), torch.cat(targets)

    def end_epoch(self, epoch: Epoch) -> None:
        """Note an epoch that is over, and begin the next."""
        self.epochs.append(epoch)
        if self.config.early_stopping is not None and self.result is epoch:
            self.best = {n: tensor.clone() for n, tensor in self.scored.state_dict().items()}
        self.sums.zero_()
        self.predicted.clear()
        self.batches, self.seen, self.elapsed_s, self.generator = 0, 0, 0.0, None

    @property
    def scored(self) -> nn.Module:
        """The network whose scores count: the mean of the weights, where they are averaged."""
        return self.model if self.averaged is None else self.averaged.model

    def after_step(self, images: int) -> None:
        """Note a batch that is over, and take its weights into the mean."""
        self.schedule.after_batch()
        self.seen += images
        self.batches += 1
        if self.averaged is not None:
            self.averaged.update(len(self.epochs) * self.batches_in_epoch + self.batches)

    @property
    def result(self) -> Epoch:
        """The epoch that counts: under early stopping the best one so far, else the last."""
        if self.config.early_stopping is None:
            return self.epochs[-1]
        metric = self.config.metric
        return min(self.epochs, key=lambda e: (_or_worst(rank(metric, e.test_metric)), e.test_loss))

    @property
    def turned(self) -> bool:
        """Whether early stopping ends the training here."""
        if self.config.early_stopping is None:
            return False
        train, test = [e.train_loss for e in self.epochs], [e.test_loss for e in self.epochs]
        return turning_point(train, test, self.config.early_stopping) is not None

    def take_result(self) -> None:
        """Give the model the weights of the epoch that counts."""
        if self.best is not None:
            self.model.load_state_dict(self.best)
        elif self.averaged is not None:
            self.model.load_state_dict(self.averaged.model.state_dict())

    def set_generator(self, seed: int) -> None:
        """Set dropout's generator for the epoch at hand: to its seed, or to where it stopped."""
        if self.generator is None:
            self.randomness.manual_seed(seed)
        else:
            self.randomness.set_state(self.generator.cpu())

    def put_away(self, elapsed_s: float) -> Training:
        """Note where in its epoch a training stops; returns the training itself."""
        self.elapsed_s = elapsed_s
        self.generator = self.randomness.get_state() if self.batches else None
        return self

    def state(self) -> State:
        """Return everything that `restore` needs. Its tensors are the training's own."""
        return {
            "format": FORMAT,
            "images": self.images,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "batches": self.batches,
            "seen": self.seen,
            "sums": self.sums,
            PREDICTED: self._all_predicted() if self.predicted else None,
            "best": self.best,
            "averaged": None if self.averaged is None else self.averaged.model.state_dict(),
            "elapsed_s": self.elapsed_s,
            "generator": self.generator,
        }

    def restore(self, state: State) -> None:
        """Go on where another training of the same configuration was put away."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.epochs = [Epoch(**epoch) for epoch in state["epochs"]]
        self.batches, self.seen = state["batches"], state["seen"]
        self.sums.copy_(state["sums"])
        self.predicted = [] if state[PREDICTED] is None else [state[PREDICTED]]
        self.best = state["best"]
        if self.averaged is not None:
            self.averaged.model.load_state_dict(state["averaged"])
        self.elapsed_s = state["elapsed_s"]
        self.generator = state["generator"]


def begin(
    config: TrialConfig, data: SearchData, device: torch.device, batches_in_epoch: int
) -> Training:
    """Return a training of a configuration before its first batch."""
    task = task_for(config, data, device)
    model = initial_model(config, data)
    check_outputs(model)
    randomness = torch.Generator(device)
    draw_from(model, randomness)
    model = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = optimizer_for(config, model)
    schedule = schedule_for(config, optimizer, batches_in_epoch)
    precise = torch.float32 if device.type == "mps" else torch.float64  # which Apple's lack
    sums = torch.zeros(2, device=device, dtype=precise)
    return Training(
        config, task, model, optimizer, schedule, device, randomness, len(data.train),
        batches_in_epoch, sums, averaged=Averaged(model) if config.averaging == "ema" else None,
    )  # fmt: skip


def to_bytes(state: State) -> bytes:
    """Return a state as bytes."""
    out = io.BytesIO()
    torch.save(state, out)
    return out.getvalue()


def from_bytes(content: bytes, device: torch.device) -> State:
    """Return the state that `to_bytes` wrote; ValueError where it is no such state.

    Nothing in it is run: torch reads tensors and plain data alone (`weights_only`).
    """
    try:
        _check_sums(content)
        state = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    except Exception as error:  # whatever torch, zipfile or pickle make of broken bytes
        said = str(error).split("\n", maxsplit=1)[0][:LONGEST_SAID]  # torch advises for paragraphs
        raise ValueError(f"cannot be read: {type(error).__name__}: {said}") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ValueError("was written by another version")
    return {"averaged": None} | state  # which earlier versions did not have


def _check_sums(content: bytes) -> None:
    """Raise BadZipFile where a byte is not what was written; torch itself would not notice."""
    with zipfile.ZipFile(io.BytesIO(content)) as parts:
        broken = parts.testzip()
    if broken is not None:
        raise zipfile.BadZipFile(f"{broken} is damaged")


def _or_worst(number: float) -> float:
    return math.inf if math.isnan(number) else number
