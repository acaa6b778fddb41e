"""Networks trained again: for the final under its lease, or from an exported file alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hpsearch.data.batches import resident
from hpsearch.data.prepared import Labelled, SearchData, load_search_data
from hpsearch.errors import HpsearchError, RunsFolderError
from hpsearch.evaluation.exported import package_versions
from hpsearch.evaluation.final_order import Order
from hpsearch.evaluation.measures import interval, sizes
from hpsearch.evaluation.model_file import load_model, save_model
from hpsearch.machine.children import Tell, device_named
from hpsearch.machine.stopping import stop_signals
from hpsearch.search.attempt import Attempt, Held, device_name
from hpsearch.search.objective import recorded
from hpsearch.storage.final_record import TrainingRecord, TrainOn
from hpsearch.study.config import TrialConfig
from hpsearch.study.tasks import key_of
from hpsearch.training.loop import evaluate, outputs_of, train
from hpsearch.training.state import Epoch, Training
from hpsearch.training.tasks import LearningTask, task_for


@dataclass(frozen=True)
class Trained:
    """A trained network and its scores; `test_predictions` is None where test was taught, too."""

    config: TrialConfig
    model: nn.Module
    task: LearningTask
    device: torch.device
    scores: TrainingRecord
    test_predictions: Tensor | None = None


def train_again(
    tell: Tell,
    config: TrialConfig,
    prepared: Path,
    device_name: str,
    weights: Path | None,
    train_on: TrainOn = "train",
) -> dict[str, Any]:
    """Train a configuration to its end, tell every epoch, save the weights; return all scores."""
    data, device = load_search_data(prepared), device_named(device_name)
    for epoch, training in train(config, _taught(data, train_on), device):  # noqa: B007 - the last is kept
        tell(_epoch_record(epoch, train_on))
        if epoch.diverged:
            raise HpsearchError("the training diverged: its loss is no finite number any more")
    trained = scored(config, training, training.epochs, data, device, train_on)
    if weights is not None:
        save_model(weights, trained.model, config, data)
    return trained.scores.as_json()


@dataclass
class Beating:
    """Stands where a lease does in a process that holds none: says that batches are over."""

    beat: Any
    lost: bool = False

    def batch_over(self) -> None:
        self.beat.value += 1

    def epoch_over(self) -> None:
        """Nobody counts the attempts of what is trained beside."""

    def why_stop(self) -> str | None:
        return None


def train_for_final(
    tell: Tell, order: Order, data: SearchData, held: Held, stopped: Callable[[], bool]
) -> Trained | None:
    """Return a network of the final, trained to its end; None where it was interrupted.

    Raises HpsearchError where it cannot be trained, with the reason.
    """
    device, train_on = device_named(order.device), order.asked.train_on
    attempt = Attempt(
        _taught(data, train_on), device, held, order.kept(), order.lease.study, order.training,
        stopped, order.timeout_s, hear=lambda epoch: tell(_epoch_record(epoch, train_on)),
        keeps_last=True,
    )  # fmt: skip
    ended = attempt.train(order.config)
    if ended is None:
        return None
    if ended.training is None:
        if ended.infeasible is not None:
            attempt.drop(order.config)  # with more time or memory it is to begin again
        raise HpsearchError(f"trial {order.trial}, trained again for the final: {ended.reason}")
    return scored(ended.config, ended.training, ended.epochs, data, device, train_on)


def run_baseline(tell: Tell, order: Order, beat: Any, answer: Connection | None) -> Any:
    """Train the default configuration beside the choice, save it and say what it came to.

    That is its configuration and curve, or why there are none; `answer` hears of it, too. Runs in a
    process of its own, in which nothing else is trained.
    """
    stopped = stop_signals()
    try:
        data = load_search_data(order.prepared)
        trained = train_for_final(tell, order, data, Beating(beat), stopped)
        if trained is None:
            return None
        save_model(order.weights, trained.model, trained.config, data)
        found: Any = {"config": trained.config, "scores": trained.scores}
    except RunsFolderError:  # a disk was full: tried again, and nothing is said of the network
        if answer is not None:
            answer.send(None)
        raise
    except HpsearchError as error:  # the choice is not to suffer from it
        found = str(error)
    if answer is not None:
        answer.send(found)
    return found


def read_baseline(order: Order, found: dict[str, Any], data: SearchData) -> Trained:
    """Return the baseline that a process of its own has trained and saved."""
    config, device = found["config"], device_named(order.device)
    model = load_model(order.weights).model.to(device)
    return Trained(config, model, task_for(config, data, device), device, found["scores"])


def scored(
    config: TrialConfig,
    training: Training,
    epochs: Sequence[Epoch],
    data: SearchData,
    device: torch.device,
    train_on: TrainOn,
) -> Trained:
    """Return a training that has ended as a network with its scores on train and test."""
    task, key, result = training.task, key_of(config.metric), training.result
    taught = _taught(data, train_on)
    learned = evaluate(training.model, resident(taught.train, taught, device), config, task)
    on_test, predictions = None, None
    if train_on == "train":
        test = resident(data.test, data, device)
        predictions = task.predictions(outputs_of(training.model, test, config))
        groups = data.test.groups
        on_test = {
            **sizes(len(data.test), groups),
            "loss": result.test_loss,
            key: result.test_metric,
            "interval": interval(task.name, config.metric, predictions, test.targets, groups),
        }
    scores = TrainingRecord.model_validate(
        {
            "curve": [_epoch_record(epoch, train_on) for epoch in epochs],
            "epoch": result.number,
            "train_on": train_on,
            "device": device_name(device),
            "versions": package_versions(),
            "train": {"images": len(taught.train), "loss": learned[0], key: learned[1]},
            "test": on_test,
        }
    )
    return Trained(config, training.model, task, device, scores, predictions)


def _epoch_record(epoch: Epoch, train_on: TrainOn) -> dict[str, Any]:
    """Return an epoch as it is passed on; of images that were taught there is no test score."""
    unknown = {} if train_on == "train" else {"test_loss": None, "test_metric": None}
    return recorded(epoch) | unknown


def _taught(data: SearchData, train_on: TrainOn) -> SearchData:
    """Return data whose train split is what is taught; it is normalised as train alone is."""
    if train_on == "train":
        return data
    parts = (data.train, data.test)
    images = np.concatenate([part.images for part in parts])
    targets = np.concatenate([part.targets for part in parts])
    return dataclasses.replace(data, train=Labelled(images, targets))
