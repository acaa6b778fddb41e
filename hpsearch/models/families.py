"""The table of families: to add one, write its module and name it here and in `study/config.py`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from hpsearch.data.prepared import SearchData
from hpsearch.models import alexnet, googlenet, pretrained, resnet, senet, vgg
from hpsearch.models.layers import ImageShape
from hpsearch.models.randomness import DrawingFrom
from hpsearch.study.config import Family, TrialConfig

FAMILIES: dict[Family, Callable[[TrialConfig, ImageShape, int], nn.Module]] = {
    "alexnet": alexnet.build,
    "vgg": vgg.build,
    "googlenet": googlenet.build,
    "resnet": resnet.build,
    "senet": senet.build,
    "pretrained": pretrained.build,
}


def build_model(config: TrialConfig, shape: ImageShape, outputs: int) -> nn.Module:
    """Return a network: `(N, channels, height, width)` in, logits `(N, outputs)` out.

    Its weights are drawn from a generator of its own, seeded with the configuration's seed; a
    pretrained one's too: see `initial_model`.
    """
    with DrawingFrom(torch.Generator().manual_seed(config.seed)):
        return FAMILIES[config.family](config, shape, outputs)


def initial_model(config: TrialConfig, data: SearchData) -> nn.Module:
    """Return the network of a configuration as its training begins, pretrained weights in place.

    Raises WeightsError where those are missing.
    """
    model = build_model(config, ImageShape(*data.image_shape), len(data.outputs))
    if isinstance(model, pretrained.PretrainedNet):
        model.load(config, data.mean, data.std)
    return model
