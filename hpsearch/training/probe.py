"""How long an epoch takes, from a few of its steps."""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from hpsearch.data.batches import Resident, batches_in_epoch, resident
from hpsearch.data.prepared import SearchData
from hpsearch.study.config import TrialConfig
from hpsearch.training.loop import predict, step
from hpsearch.training.state import begin

PROBE_S = 0.4  # in which steps are timed, at least
WARM_STEPS, MOST_STEPS = 2, 40
EVALUATED = 1000  # test images, at most


def epoch_s(
    config: TrialConfig, data: SearchData, device: torch.device, effort: float = 1.0
) -> float:
    """Return the seconds of an epoch of a configuration, evaluation included.

    Real steps on real batches are timed on the device, with whatever else runs on it meanwhile;
    with an `effort` below 1 for a shorter time.
    """
    train, test = resident(data.train, data, device), resident(data.test, data, device)
    taught = config.images_in_epoch(len(train))
    batches, size = batches_in_epoch(taught, config.batch_size), min(config.batch_size, taught)
    training = begin(config, data, device, batches)
    training.model.train()
    timed, began = 0, 0.0
    # Those of a whole pass: a short epoch may have fewer than are to be timed.
    for number, (images, targets) in enumerate(
        train.training_batches(size, config.shift, config.flip, seed=0)
    ):
        if number == WARM_STEPS:
            began = _now(device)
        step(training, config, images, targets)
        timed = number + 1 - WARM_STEPS
        if timed == MOST_STEPS or (timed >= 1 and _now(device) - began > effort * PROBE_S):
            break
    step_s = (_now(device) - began) / timed if timed > 0 else 0.0
    part = _first(test, round(effort * EVALUATED))
    predict(training.model, _first(test, 10), config)
    began = _now(device)
    predict(training.model, part, config)
    return batches * step_s + len(test) / len(part) * (_now(device) - began)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _first(split: Resident, count: int) -> Resident:
    return replace(split, images=split.images[:count], targets=split.targets[:count])
