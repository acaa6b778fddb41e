"""The table of families: to add one, write its module and name it here and in `study/config.py`."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from hpsearch.models import alexnet, resnet
from hpsearch.models.head import ImageShape
from hpsearch.study.config import Family, TrialConfig

FAMILIES: dict[Family, Callable[[TrialConfig, ImageShape, int], nn.Module]] = {
    "alexnet": alexnet.build,
    "resnet": resnet.build,
}


def build_model(config: TrialConfig, shape: ImageShape, outputs: int) -> nn.Module:
    """Return a fresh network: `(N, channels, height, width)` in, logits `(N, outputs)` out."""
    return FAMILIES[config.family](config, shape, outputs)
