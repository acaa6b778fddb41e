"""Small trainings, for tests of the loop and of what it leaves behind."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import torch

from hpsearch.data.prepared import Labelled, SearchData
from hpsearch.study.config import TrialConfig, has
from hpsearch.study.data import DataReference
from hpsearch.training.state import Epoch

CPU = torch.device("cpu")
BATCHES = 10  # in an epoch of `striped` with batches of 16

Scores = tuple[float, ...]


def config(**changes: object) -> TrialConfig:
    """Return a small configuration with some values replaced, without those of other families."""
    values: dict[str, object] = {
        "family": "alexnet",
        "filters": 8,
        "layers": 2,
        "kernel_size": 3,
        "units1": 16,
        "units2": 16,
        "activation": "relu",
        "pooling": "max",
        "batch_norm": True,
        "convolutions": 2,
        "reduction": 2,
        "block": "basic",
        "blocks": 1,
        "squeeze": 4,
        "squeeze_where": "all",
        "backbone": "resnet18",
        "unfreeze": "none",
        "body_rate": 0.1,
        "pretrained": {},
        "dropout": 0.2,
        "optimizer": "adamw",
        "learning_rate": 0.01,
        "weight_decay": 0.01,
        "batch_size": 16,
        "schedule": "one-cycle",
        "patience": 1,
        "label_smoothing": 0.0,
        "flip": True,
        "shift": 1,
        "epochs": 3,
        "seed": 7,
        "precision": "fp32",
        "threads": 1,
        "data": DataReference(source="digits", fingerprint="none"),
    }
    values |= changes
    family = values["family"]
    return TrialConfig.model_validate({k: v for k, v in values.items() if has(family, k)})


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
