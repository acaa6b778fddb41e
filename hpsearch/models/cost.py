"""What a network costs, known before it is trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from hpsearch.models.families import build_model
from hpsearch.models.head import ImageShape
from hpsearch.study.config import TrialConfig


@dataclass(frozen=True)
class Cost:
    """`parameters`: trainable numbers; `forward_flops`: of one image, a multiply-add counts 2."""

    parameters: int
    forward_flops: int


def cost(config: TrialConfig, shape: ImageShape, outputs: int) -> Cost:
    """Return the cost of a configuration's network; nothing is allocated for it."""
    with torch.device("meta"):
        model = build_model(config, shape, outputs).eval()
        image = torch.empty(1, shape.channels, shape.height, shape.width)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return Cost(parameters, counter.get_total_flops())
