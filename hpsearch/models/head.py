"""What the families share: geometry rules, activations, pooling and the three-layer head."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from hpsearch.study.config import Activation, Pooling, TrialConfig

ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
}
POOLINGS: dict[Pooling, type[nn.MaxPool2d] | type[nn.AvgPool2d]] = {
    "max": nn.MaxPool2d,
    "average": nn.AvgPool2d,
}


@dataclass(frozen=True)
class ImageShape:
    """The shape of one image: `channels` x `height` x `width`, in pixels."""

    channels: int
    height: int
    width: int


def stem_stride(shape: ImageShape) -> int:
    """Return the stride of a network's first convolution: 1 below 64 pixels, 2, 4 from 160 on.

    AlexNet strides by 4 at 224 pixels; photos of that size would cost 16 times as much without.
    """
    side = min(shape.height, shape.width)
    return 1 if side < 64 else 2 if side < 160 else 4


def halved(size: int) -> int:
    """Return the length of an axis after one pooling; an axis below 4 pixels is not pooled.

    So no map ever vanishes: further blocks of a deep network keep the 2x2 or 3x3 map they have.
    """
    return size // 2 if size >= 4 else size


def pool(pooling: Pooling, height: int, width: int) -> nn.Module:
    """Return a pooling by 2 along every axis that is long enough (see `halved`)."""
    window = (2 if height >= 4 else 1, 2 if width >= 4 else 1)
    return nn.Identity() if window == (1, 1) else POOLINGS[pooling](window)


class Head(nn.Module):
    """features -> units1 -> units2 -> outputs, the three-layer head of AlexNet.

    Takes `(N, features)`, returns logits `(N, outputs)`.
    """

    def __init__(self, features: int, outputs: int, config: TrialConfig) -> None:
        super().__init__()
        activation = ACTIVATIONS[config.activation]
        self.layers = nn.Sequential(
            nn.Linear(features, config.units1),
            activation(),
            nn.Dropout(config.dropout),
            nn.Linear(config.units1, config.units2),
            activation(),
            nn.Dropout(config.dropout),
            nn.Linear(config.units2, outputs),
        )

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.layers(features)
        return logits
