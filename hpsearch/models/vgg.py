"""VGG-style networks: blocks of stacked 3 x 3 convolutions, pooling between them, a 3-layer head.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR
2015. Kept: nothing but 3 x 3 kernels, filters that double from block to block up to eight times the
first block's, the head. Changed: batch normalisation can be added, pooling stands before the last
normalisation and activation of its block (max-pooling and ReLU commute, and it moves a quarter of
the bytes), and the first convolution strides over images of 64 pixels and more.
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

WIDEST = 8  # times the filters of the first block: 64 to 512 in the paper


class VGG(nn.Module):
    """`layers` blocks of `convolutions` 3 x 3 convolutions each; then the head.

    Takes `(N, channels, height, width)`, returns logits `(N, outputs)`.
    """

    def __init__(self, config: TrialConfig, shape: ImageShape, outputs: int) -> None:
        super().__init__()
        size, inputs, bias = after_stem(shape), 0, not config.batch_norm
        layers: list[nn.Module] = []
        for block in range(config.layers):
            filters = config.filters * min(2**block, WIDEST)
            for i in range(config.convolutions):
                layers.append(
                    convolution(inputs, filters, 3, size, bias)
                    if inputs
                    else stem(shape, filters, 3, bias)
                )
                if i == config.convolutions - 1:
                    layers.append(pool(config.pooling, *size))
                layers += [normalisation(filters, config), ACTIVATIONS[config.activation]()]
                inputs = filters
            size = pooled(size)
        average, size = shrunk(size)
        self.features = nn.Sequential(*layers, average)
        self.head = Head(inputs * size[0] * size[1], outputs, config)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.features(images)  # (N, filters * 2^(layers - 1), H / 2^layers, W / 2^layers)
        logits: Tensor = self.head(maps.flatten(1))
        return logits


def build(config: TrialConfig, shape: ImageShape, outputs: int) -> nn.Module:
    """Return a fresh VGG-style network with torch's default initial weights."""
    return VGG(config, shape, outputs)
