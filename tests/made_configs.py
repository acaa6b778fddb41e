"""Configurations for tests of networks."""

from __future__ import annotations

from typing import Any

from hpsearch.study.config import TrialConfig, has

PLAIN: dict[str, Any] = {
    "family": "alexnet",
    "filters": 4,
    "layers": 2,
    "kernel_size": 3,
    "units1": 8,
    "units2": 6,
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
    "dropout": 0.1,
    "optimizer": "adamw",
    "learning_rate": 3e-3,
    "weight_decay": 1e-2,
    "batch_size": 32,
    "schedule": "one-cycle",
    "patience": 2,
    "label_smoothing": 0.0,
    "flip": False,
    "shift": 0,
    "epochs": 1,
    "seed": 0,
    "precision": "fp32",
    "threads": 1,
    "data": {"source": "digits", "fingerprint": "abc"},
}


def config_with(**changes: Any) -> TrialConfig:
    """Return a small configuration with some values replaced, without those of other families."""
    values = {**PLAIN, **changes}
    family = values["family"]
    return TrialConfig.model_validate({k: v for k, v in values.items() if has(family, k)})
