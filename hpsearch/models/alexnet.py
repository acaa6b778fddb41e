"""AlexNet-style networks: convolution and pooling in turn, a large early kernel, a 3-layer head.

Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural
Networks", NeurIPS 2012. Kept: kernels that are larger early, overlapping nothing but the head of
three layers with dropout. Changed: every block has the same number of filters, batch
normalisation can be added, and pooling stands before normalisation and activation, which moves a
quarter of the bytes (max-pooling and ReLU commute).
"""

from __future__ import annotations

from torch import Tensor, nn

from hpsearch.models.layers import (
    ACTIVATIONS,
    Head,
    ImageShape,
    after_stem,
    convolution,
    normalisation,
    pool,
    pooled,
    shrunk,
    stem,
)
from hpsearch.study.config import TrialConfig


class AlexNet(nn.Module):
    """`layers` blocks of convolution, pooling, normalisation, activation; then the head.

    Takes `(N, channels, height, width)`, returns logits `(N, outputs)`.
    """

    def __init__(self, config: TrialConfig, shape: ImageShape, outputs: int) -> None:
        super().__init__()
        size, filters, bias = after_stem(shape), config.filters, not config.batch_norm
        blocks: list[nn.Module] = []
        for i in range(config.layers):
            blocks += [
                convolution(filters, filters, config.kernel_size, size, bias)
                if i
                else stem(shape, filters, config.kernel_size + 2, bias),
                pool(config.pooling, *size),
                normalisation(filters, config),
                ACTIVATIONS[config.activation](),
            ]
            size = pooled(size)
        average, size = shrunk(size)
        self.features = nn.Sequential(*blocks, average)
        self.head = Head(filters * size[0] * size[1], outputs, config)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.features(images)  # (N, filters, height / 2^layers, width / 2^layers)
        logits: Tensor = self.head(maps.flatten(1))
        return logits


def build(config: TrialConfig, shape: ImageShape, outputs: int) -> nn.Module:
    """Return a fresh AlexNet-style network with torch's default initial weights."""
    return AlexNet(config, shape, outputs)
