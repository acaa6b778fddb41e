"""Small trainings, for tests of the loop and of what it leaves behind."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from made_configs import config_with

from hpsearch.data.prepared import Labelled, SearchData
from hpsearch.study.config import TrialConfig
from hpsearch.study.data import DataReference
from hpsearch.training.state import Epoch

CPU = torch.device("cpu")
BATCHES = 10  # in an epoch of `striped` with batches of 16

Scores = tuple[float, ...]


TRAINED: dict[str, Any] = {
    "filters": 8,
    "units1": 16,
    "units2": 16,
    "dropout": 0.2,
    "learning_rate": 0.01,
    "batch_size": 16,
    "patience": 1,
    "flip": True,
    "shift": 1,
    "epochs": 3,
    "seed": 7,
    "data": DataReference(source="digits", fingerprint="none"),
}


def config(**changes: Any) -> TrialConfig:
    """Return a configuration of a small training with some values replaced."""
    return config_with(**TRAINED | changes)


def striped() -> SearchData:
    """Two classes that are easy to tell apart: horizontal and vertical stripes, with noise."""
    rng = np.random.default_rng(0)
    targets = np.arange(200) % 2
    lines = (np.arange(8) % 2 * 200).astype(np.uint8)
    images = np.where(targets[:, None, None] == 0, lines[None, :, None], lines[None, None, :])
    noisy = (images + rng.integers(0, 50, (200, 8, 8))).astype(np.uint8)[..., None]
    return SearchData(
        train=Labelled(noisy[:160], targets[:160]),
        test=Labelled(noisy[160:], targets[160:]),
        task="single-label",
        outputs=("horizontal", "vertical"),
        mean=(float(noisy.mean()),),
        std=(float(noisy.std()),),
        fingerprint="stripes",
    )


def scores_of(epoch: Epoch) -> Scores:
    """Return what an epoch came to, without how long it took."""
    return epoch.train_loss, epoch.train_metric, epoch.test_loss, epoch.test_metric


def after(asks: int) -> Callable[[], bool]:
    """Return what interrupts a training when it has asked so many times whether to stop."""
    asked = itertools.count()
    return lambda: next(asked) >= asks
